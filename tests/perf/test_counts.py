"""No way through xdpfix has become longer, nor shorter unnoticed: instructions counted, held to counts.toml."""

import os

import pytest

from lib.counts import Counts, here, judge, other
from tests.perf.counts import EXPECTED, measure
from tests.perf.programs import KERNEL

expected = Counts.read(EXPECTED)


@pytest.fixture(scope="module")
def found() -> Counts:
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")
    if reason := other(expected, here(KERNEL)):
        pytest.skip(reason)
    return measure()


@pytest.mark.parametrize("name", expected.counts)
def test_count(found: Counts, name: str) -> None:
    assert judge(name, found.counts.get(name), expected.counts[name]) == ""


def test_every_count_is_expected(found: Counts) -> None:
    assert sorted(found.counts) == sorted(expected.counts), "run `make counts` and look at its diff"
