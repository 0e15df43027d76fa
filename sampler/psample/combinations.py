"""What makes samples of one exporter differ in weight or place: each combination is a selector of its own. Pure.

A generation has 64 rules, so combinations fill the generations that stay known, one after the other.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from exporter.cache import LASTING_FIRST, LASTING_GENERATIONS
from exporter.selector import RULES, Selector

COMBINATIONS_MAX = LASTING_GENERATIONS * RULES
# Selectors of the configuration count from 1: none of them gets this far.
FIRST_ID = 2**32


@dataclass(frozen=True)
class Combination:
    """What a sample says of how it was taken and for whom.

    Attributes:
        group: number of the psample group.
        rate: N of 1 in N, or a probability P.
        probability: rate is P. Open vSwitch means P out of 2**32 - 1; its kernel side takes a packet where 32 random
            bits are not above P (sample() in net/openvswitch/actions.c), so with (P + 1) / 2**32.
        obs_domain_id: observationDomainId.
        obs_point_id: observationPointId (138).

    """

    group: int
    rate: int
    probability: bool
    obs_domain_id: int
    obs_point_id: int

    @property
    def share(self) -> Fraction:
        """Of all packets, those that were taken: exact."""
        return Fraction(self.rate + 1, 2**32) if self.probability else Fraction(1, self.rate)


@dataclass(frozen=True)
class Place:
    """Where samples of a combination are found again: generation, and rule bit in it."""

    generation: int
    rule: int


class Combinations:
    """Those of one exporter, for as long as it lives. `ids` gives each a selectorId that nothing else has."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._selectors: dict[Combination, Selector] = {}
        self._places: dict[Combination, Place] = {}

    def __len__(self) -> int:
        return len(self._selectors)

    def place(self, combination: Combination) -> Place | None:
        """Where it is, or is put now; None where there is no room for another one."""
        if combination not in self._places and len(self) < COMBINATIONS_MAX:
            place = Place(LASTING_FIRST + len(self) // RULES, len(self) % RULES)
            ids = combination.obs_domain_id, combination.obs_point_id
            self._selectors[combination] = Selector(next(self._ids), place.rule, combination.share, *ids)
            self._places[combination] = place
        return self._places.get(combination)

    def selectors(self, generation: int) -> list[Selector]:
        """Give what the generation has, in the order of rules."""
        first = (generation - LASTING_FIRST) * RULES
        return list(itertools.islice(self._selectors.values(), first, first + RULES))

    def items(self) -> list[tuple[Combination, Selector]]:
        """All, the oldest first."""
        return list(self._selectors.items())
