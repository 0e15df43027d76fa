"""Fixtures of several files of unit tests."""

from pathlib import Path

import pytest

from lib.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def collector(authority: Authority) -> tuple[Path, Path]:
    return authority.issue("collector", "collector.test", "127.0.0.1")
