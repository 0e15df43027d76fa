"""What makes samples of one exporter differ in weight or place: each combination is a selector of its own. Pure.

A generation has 64 rules, so combinations fill the generations that stay known, one after the other.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from exporter.cache import LASTING_FIRST, LASTING_GENERATIONS
from exporter.selector import RULES, Selector

COMBINATIONS_MAX = LASTING_GENERATIONS * RULES
# Selectors of the configuration count from 1: none of them gets this far.
FIRST_ID = 2**32
# Generations: the exporter takes 15 ms to end selectors of one.
AT_ONCE = 4


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
    """Those of one exporter. `ids` gives each a selectorId that nothing else has."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._selectors: dict[Combination, Selector] = {}
        self._places: dict[Combination, Place] = {}
        self._generations: dict[int, dict[int, Selector]] = {}  # by the rule's bit
        # The next one last.
        self._free = [Place(LASTING_FIRST + i // RULES, i % RULES) for i in reversed(range(COMBINATIONS_MAX))]
        self._samples: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._selectors)

    def place(self, combination: Combination) -> Place | None:
        """Where it is, or is put now; None where there is no room for another one."""
        if combination not in self._places and self._free:
            place = self._free.pop()
            ids = combination.obs_domain_id, combination.obs_point_id
            selector = Selector(next(self._ids), place.rule, combination.share, *ids)
            self._selectors[combination] = selector
            self._places[combination] = place
            self._generations.setdefault(place.generation, {})[place.rule] = selector
        return self._places.get(combination)

    def make_room(self, samples: Mapping[int, int]) -> set[int]:
        """Give up those of which no sample came since the last call, in the AT_ONCE generations that have most of them.

        The first call gives up none.

        Args:
            samples: how many were counted, by selectorId.

        Returns:
            the generations whose selectors are fewer now.

        """
        before, self._samples = self._samples, dict(samples)
        idle: defaultdict[int, list[Combination]] = defaultdict(list)
        for combination, selector in self._selectors.items():
            if before.get(selector.id) == samples.get(selector.id, 0):
                idle[self._places[combination].generation].append(combination)
        chosen = sorted(idle, key=lambda generation: len(idle[generation]), reverse=True)[:AT_ONCE]
        for combination in itertools.chain.from_iterable(idle[generation] for generation in chosen):
            place = self._places.pop(combination)
            del self._selectors[combination], self._generations[place.generation][place.rule]
            self._free.append(place)
        return set(chosen)

    def selectors(self, generation: int) -> list[Selector]:
        """Give what the generation has."""
        return list(self._generations[generation].values())

    def items(self) -> list[tuple[Combination, Selector]]:
        """All, the oldest first."""
        return list(self._selectors.items())
