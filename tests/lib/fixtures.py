"""Fixtures of tests in namespaces: the conftest.py of tests/netns and tests/modules, and single files, import them."""

import os
from collections.abc import Iterator

import pytest

from lib.netns import Namespace, veth


@pytest.fixture(autouse=True, scope="module")
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: run as root")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.fixture
def left() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.fixture
def right() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.fixture
def wire(left: Namespace, right: Namespace) -> tuple[Namespace, Namespace]:
    """`left` and `right` joined by a veth, a to b, both up and without addresses: only a test's frames pass."""
    veth(left, "a", None, right, "b", None)
    return left, right
