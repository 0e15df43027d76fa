"""What each selector counted, over all generations that had it: the cache knows only those of the last few."""

from collections.abc import Iterable, Mapping

from exporter.selector import Selected


class SelectorCounts:
    """Sums by Selector.id."""

    def __init__(self) -> None:
        self._known: Mapping[tuple[int, int], Selected] = {}
        self._before: dict[int, Selected] = {}

    def take(self, selected: Mapping[tuple[int, int], Selected]) -> None:
        """Take Cache.selected(), by generation and id: at the latest before a generation is forgotten there."""
        for key in self._known.keys() - selected.keys():
            number = key[1]
            self._before[number] = self._before.get(number, Selected()) + self._known[key]
        self._known = selected

    def keep(self, ids: Iterable[int]) -> None:
        """Forget all but these and those that a known generation has."""
        kept = {number for _, number in self._known}.union(ids)
        self._before = {number: counted for number, counted in self._before.items() if number in kept}

    def totals(self) -> dict[int, Selected]:
        """Sums by id."""
        totals = dict(self._before)
        for (_, number), counted in self._known.items():
            totals[number] = totals.get(number, Selected()) + counted
        return totals
