"""What each flow rule took, over all generations that had it: exporters know only those of the last few.

Belongs to the data thread. Pure.
"""

from collections.abc import Hashable, Mapping

from exporter.cache import KNOWN_GENERATIONS
from exporter.selector import Selected

# An exporter's name, and the bit of meta.rules; None: the main selector.
Place = tuple[str, int | None]
NOTHING = Selected(0, 0)


class RuleCounts:
    """Sums the counts of selectors by rule. A rule is what the one who begins a generation takes for one."""

    def __init__(self) -> None:
        self._rules: dict[int, Mapping[Place, Hashable]] = {}  # by generation, the one of now last
        self._latest: dict[tuple[int, Place], Selected] = {}
        self._before: dict[Hashable, Selected] = {}

    def begin(self, generation: int, rules: Mapping[Place, Hashable]) -> None:
        """Say which rule is at which place in a new generation. take() of all exporters before."""
        self._forget(generation)  # of the same number, 65535 generations ago
        self._rules[generation] = dict(rules)
        while len(self._rules) > KNOWN_GENERATIONS:
            self._forget(next(iter(self._rules)))
        known = {rule for places in self._rules.values() for rule in places.values()}
        self._before = {rule: count for rule, count in self._before.items() if rule in known}

    def _forget(self, generation: int) -> None:
        for place, rule in self._rules.pop(generation, {}).items():
            latest = self._latest.pop((generation, place), NOTHING)
            self._before[rule] = _sum(self._before.get(rule, NOTHING), latest)

    def take(self, exporter: str, selected: Mapping[tuple[int, int | None], Selected]) -> None:
        """Take Exporter.selected(): its counts by generation and rule."""
        for (generation, bit), count in selected.items():
            place = generation, (exporter, bit)
            if place[1] in self._rules.get(generation, {}):
                # An exporter that took the place of another of its name counts from 0.
                self._latest[place] = max(count, self._latest.get(place, NOTHING), key=lambda it: it.samples)

    def totals(self) -> dict[Hashable, Selected]:
        """Counts by rule, of those that a known generation has."""
        totals = dict(self._before)
        for generation, places in self._rules.items():
            for place, rule in places.items():
                totals[rule] = _sum(totals.get(rule, NOTHING), self._latest.get((generation, place), NOTHING))
        return totals


def _sum(one: Selected, other: Selected) -> Selected:
    return Selected(one.samples + other.samples, one.packets + other.packets)
