"""What the kernel side is asked to take: the main exporter's rate, and the rules of the flow exporters."""

from dataclasses import dataclass
from fractions import Fraction

from sampler.rules.match import Match


@dataclass(frozen=True)
class KernelRule:
    """One selector of a generation.

    Attributes:
        match: which packets.
        probability: how many of them, 0 < p <= 1.
        directions: enum direction values.
        ifindexes: where; None: on every interface that is sampled.

    """

    match: Match
    probability: Fraction
    directions: frozenset[int]
    ifindexes: frozenset[int] | None
