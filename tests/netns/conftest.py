"""What every test in namespaces needs: root, namespaces that end with the test, counting programs."""

import os

import pytest

from lib.netns import Namespace, veth
from lib.programs import CountingPrograms


@pytest.fixture(autouse=True)
def _root():
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: run as root")


@pytest.fixture
def namespace():
    with Namespace() as made:
        yield made


@pytest.fixture
def pair():
    """Two namespaces joined by a veth: here/xf0 and there/xf1."""
    with Namespace() as here, Namespace() as there:
        veth(here, "xf0", "192.0.2.1/24", there, "xf1", "192.0.2.2/24")
        yield here, there


@pytest.fixture
def left():
    with Namespace() as made:
        yield made


@pytest.fixture
def right():
    with Namespace() as made:
        yield made


@pytest.fixture
def wire(left, right):
    """`left` and `right` joined by a veth, a to b, both up and without addresses: only a test's frames pass."""
    veth(left, "a", None, right, "b", None)
    return left, right


@pytest.fixture
def programs():
    loaded = CountingPrograms()
    yield loaded
    loaded.close()
