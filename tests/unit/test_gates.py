"""What a gate has observed, read while its CPU draws: the words of one moment, not of two."""

from collections.abc import Iterable
from types import SimpleNamespace

import pytest

from sampler._native import ffi, lib
from sampler.kernel.gates import Gates

RARE = 10**9
# skip, drawn and behind of a gate that saw 100 packets, then 104: of these one was taken, with 3 behind it.
EARLY = (1, 101, 0)
HIT = (0, 101, 3)
DRAWN = (0, 101 + RARE, 3)
LATE = (RARE, 101 + RARE, 3)
TORN = (1, 101 + RARE, 3)


def observed(*copies: Iterable[tuple[int, int, int]]) -> int:
    """What is made of these copies of a gate on each CPU, that the kernel gives one after the other; the last stays."""
    left = [list(copy) for copy in copies]

    def lookup(name: str, _slot: int, values: "ffi.CData") -> None:
        assert name == "gates"
        for value, (skip, drawn, behind) in zip(values, left[0], strict=False):
            value.skip, value.drawn, value.behind = skip, drawn, behind
        if len(left) > 1:
            del left[0]

    maps = SimpleNamespace(selection=0, update=lambda *_: None, lookup=lookup)
    gates = Gates(maps)  # type: ignore[arg-type]
    gates.open(1, 0)
    return gates.observed()[1, 0]


@pytest.mark.parametrize(
    ("copies", "packets"),
    [
        ([EARLY], 100),
        ([EARLY, LATE], 104),
        ([TORN, LATE], 104),
        ([EARLY, TORN, LATE], 104),
        ([HIT, HIT, DRAWN, DRAWN, LATE], 104),
        ([(0, 0, 0)], 0),
    ],
)
def test_words_of_one_moment(copies: list[tuple[int, int, int]], packets: int) -> None:
    assert observed(*[[copy] for copy in copies]) == packets


def test_each_cpu_by_itself() -> None:
    packets = 204 if lib.bpf_possible_cpus() > 1 else 100
    assert observed([EARLY, TORN], [EARLY, LATE], [TORN, LATE]) == packets


def test_one_that_draws_all_the_time() -> None:
    """There is an end to it, with a figure that is right to a gap: they are short there."""
    copies = [[(1, 1 + passed, 0)] for passed in range(100)]
    assert 8 < observed(*copies) < 100
