"""What every test in namespaces needs: root, namespaces that end with the test, counting programs."""

import pytest

from lib.fixtures import _root, left, namespace, right, wire  # noqa: F401 - found by their names
from lib.netns import Namespace, veth
from lib.programs import CountingPrograms


@pytest.fixture
def pair():
    """Two namespaces joined by a veth: here/xf0 and there/xf1."""
    with Namespace() as here, Namespace() as there:
        veth(here, "xf0", "192.0.2.1/24", there, "xf1", "192.0.2.2/24")
        yield here, there


@pytest.fixture
def programs():
    loaded = CountingPrograms()
    yield loaded
    loaded.close()
