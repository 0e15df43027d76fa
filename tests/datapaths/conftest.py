"""Datapaths that take packets before the kernel's stack, beside xdpfix: `make test-vm` runs them in virtual machines.

Elsewhere they are skipped where the kernel refuses tracing programs (lockdown).
"""

import os
from collections.abc import Iterator

import pytest

from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.witness import Witness


@pytest.fixture(scope="session")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    """One for all: emulated, its start takes longer than most of the tests, and following is what it is for."""
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: run as root")
    with Witness(tmp_path_factory.mktemp("xdpfix")) as running:
        yield running
