"""Gives selectors their ids (302), which no other selector gets as long as the process lives. Pure.

RFC 5476 section 6.1 asks that an id is unique in its observation domain; here it is so over all exporters, and what a
collector has learnt of one never becomes wrong.
"""

from collections import deque
from collections.abc import Hashable, Iterable

from exporter.cache import KNOWN_GENERATIONS


class SelectorIds:
    """Knows the selectors of the generations that exporters know. One that returns later is another one."""

    def __init__(self) -> None:
        self._generations: deque[dict[Hashable, int]] = deque(maxlen=KNOWN_GENERATIONS)
        self._last = 0

    def begin(self, selectors: Iterable[Hashable]) -> dict[Hashable, int]:
        """Begin a generation of these selectors: their ids."""
        known = {selector: number for generation in self._generations for selector, number in generation.items()}
        ids = {selector: known.get(selector) or self._new() for selector in selectors}
        self._generations.append(ids)
        return ids

    def _new(self) -> int:
        self._last += 1
        return self._last

    @property
    def known(self) -> frozenset[int]:
        """The ids of all known generations."""
        return frozenset(number for generation in self._generations for number in generation.values())
