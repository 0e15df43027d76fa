"""Which figures stand beside those of peers: what the report draws as bars. Names are those of the parts' figures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Results


@dataclass(frozen=True)
class Comparison:
    """One plot: all figures of a part whose names match; the pattern's first group is the bar's name."""

    title: str
    part: str
    pattern: str


COMPARISONS = (
    Comparison("Packets of a capture file", "read", "(.+): packets"),
    Comparison("User-space CPU for a million packets", "paced", "(.+): user-space CPU a million packets"),
    Comparison(
        "CPU that flows of a million packets take",
        "openvswitch",
        "(xdpfix|Open vSwitch): (?:CPU|what IPFIX adds to) a million packets(?:, in all)?",
    ),
)


def compared(parts: Sequence[Results]) -> dict[str, tuple[str, list[tuple[str, float]]]]:
    """Unit and bars by title, of those whose parts have run; ours is the first."""
    made: dict[str, tuple[str, list[tuple[str, float]]]] = {}
    for comparison in COMPARISONS:
        for results in parts:
            if results.part != comparison.part:
                continue
            found = [(re.fullmatch(comparison.pattern, figure.name), figure) for figure in results.figures]
            bars = [(match[1], figure) for match, figure in found if match]
            assert bars, f"{comparison.title}: no figure of {comparison.part} matches {comparison.pattern}"
            bars.sort(key=lambda bar: not bar[0].startswith("xdpfix"))
            made[comparison.title] = bars[0][1].unit, [(name, figure.value) for name, figure in bars]
    return made
