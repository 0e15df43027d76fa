"""Two namespaces with a veth between them: `a` is sampled on the left, `b` sends on the right."""

from collections.abc import Iterator

import pytest

from lib.netns import Namespace, veth


@pytest.fixture
def left() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def right() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


@pytest.fixture
def pair(left: Namespace, right: Namespace) -> tuple[Namespace, Namespace]:
    """The left and the right namespace, with `a` and `b`, ends of one veth, up and without addresses."""
    veth(left, "a", None, right, "b", None)
    return left, right
