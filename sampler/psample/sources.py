"""All sources as the data thread has them: messages → batches → the exporter that each source names.

A sample whose combination is new stops its source, until the exporter knows the weight; nothing here runs per packet.
"""

import errno
import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from exporter.exporter import Exporter
from exporter.selector import Selected
from sampler.kernel.ring import Ring
from sampler.psample.combinations import COMBINATIONS_MAX, FIRST_ID, Combination, Combinations
from sampler.psample.source import LOSSES, Family, Source

log = logging.getLogger(__name__)

# Messages come one by one, and each would wake the thread: a few hundred of them wait for each other instead, in
# seconds. A tenth of the tick that half-filled batches of our own samples wait for.
PAUSE = 0.01
# Where there is no room for another combination, those without a sample for so long, in seconds, make room.
IDLE = 60.0


class Sources:
    """Belongs to the data thread, but for `seen` and `lost`.

    Args:
        ring: whose poll is to end when a sample comes.
        sinks: the exporters by name.

    Attributes:
        seen: group, ifindex and direction that samples came from, at the last look; for other threads.
        lost: samples lost by cause, over all sources, at the last look; for other threads.
        handed: samples given to exporters, by name.

    """

    def __init__(self, ring: Ring, sinks: Mapping[str, Exporter]) -> None:
        self._ring = ring
        self._sinks = sinks
        self._sources: dict[int, Source] = {}
        self._batch = bytearray()
        self._ids = itertools.count(FIRST_ID)
        self._combinations: dict[str, tuple[Exporter, Combinations]] = {}
        self._full: set[str] = set()  # exporters for which there was no room for another one
        self._looked: dict[str, float] = {}  # when their combinations were last looked at
        self._before: dict[int, Counter[str]] = {}  # of sources that were closed
        self._more = False  # the last read ended before it had read all
        self._due = math.inf  # when the sockets may end a poll again
        self.seen: tuple[tuple[int, int, int], ...] = ()
        self.lost: dict[str, int] = dict.fromkeys(LOSSES, 0)
        self.handed: Counter[str] = Counter()

    def change(self, removed: Iterable[int], added: Iterable[Source]) -> None:
        """Close the sources of these groups, after what waits there; let others begin."""
        for group in removed:
            self._read_all(self._sources[group])
            source = self._sources.pop(group)
            self._close_socket(source)
            self._before.setdefault(group, Counter()).update(source.stats())
            source.close()
        for source in added:
            self._sources[source.options.group] = source
        if self._sources and not self._batch:
            self._batch = self._ring.new_batch()

    def connect(self, groups: Iterable[int], family: Family | None) -> dict[int, str]:
        """Let these sources receive by the family, anew, or not any more. A sentence for each that cannot."""
        refused = {}
        for group in groups:
            source = self._sources[group]
            self._read_all(source)
            self._close_socket(source)
            if family is None:
                continue
            try:
                source.connect(family)
                self._ring.watch(source.fd)
            except OSError as error:
                hint = "joining it needs CAP_NET_ADMIN" if error.errno == errno.EPERM else "it is tried each second"
                refused[group] = f"psample group {group}: its samples are not taken: {error.strerror}; {hint}"
        return refused

    def _close_socket(self, source: Source) -> None:
        if source.fd >= 0:
            self._ring.unwatch(source.fd)
            source.disconnect()

    def rest_until(self, now: float) -> float:
        """When read() is to be called at the latest. Where that is infinite, a message ends the ring's poll."""
        if self._more:
            return now
        if now >= self._due:
            self._due = math.inf
            for source in self._sources.values():
                if source.fd >= 0:
                    self._ring.rearm(source.fd)
        return self._due

    def read(self, until: float | None = None) -> None:
        """Read, a batch of each source in turn, until nothing waits, or, under overload, until the time `until`."""
        self._more = False
        waiting = list(self._sources.values())
        while waiting:
            waiting = [source for source in waiting if self._read_batch(source)]
            if until is not None and time.monotonic() >= until:
                self._more = bool(waiting)
                return

    def _read_all(self, source: Source) -> None:
        while self._read_batch(source):
            pass

    def _read_batch(self, source: Source) -> bool:
        """Whether more may wait."""
        name = source.options.exporter
        count = source.read(self._batch)
        if count:
            self._sinks[name].ingest(self._batch, count)
            self.handed[name] += count
            self._due = time.monotonic() + PAUSE
        unknown = source.unknown()
        if unknown is not None:
            self._add(source, unknown)
        return bool(count) or unknown is not None

    def _add(self, source: Source, combination: Combination) -> None:
        name = source.options.exporter
        sink = self._sinks[name]
        if name not in self._combinations or self._combinations[name][0] is not sink:
            self._combinations[name] = sink, Combinations(self._ids)
            self._full.discard(name)
            self._looked.pop(name, None)
        combinations = self._combinations[name][1]
        count = len(combinations)
        place = combinations.place(combination)
        if place is None:
            source.add_no_more()
            if name not in self._full:
                log.warning(
                    "psample group %d: more than %d combinations of rate, observation domain and point for %s: samples "
                    "of others are lost until one has had none for %d s; have fewer, or name another exporter for some "
                    "groups",
                    combination.group,
                    COMBINATIONS_MAX,
                    name,
                    IDLE,
                )
            self._full.add(name)
            return
        if len(combinations) > count:
            sink.set_weight(place.generation, Fraction(1), combinations.selectors(place.generation))
        source.add(combination, place)

    def _make_room(self, name: str) -> None:
        """Give up combinations that have become idle, at the second look and every later one."""
        sink, combinations = self._combinations[name]
        self._looked[name] = time.monotonic()
        given_up = combinations.make_room({number: counted.samples for number, counted in sink.selected().items()})
        for generation in given_up:
            sink.set_weight(generation, Fraction(1), combinations.selectors(generation))
        if given_up:
            self._full.discard(name)
            for source in self._sources.values():
                if source.options.exporter == name:
                    source.forget()

    def look(self) -> None:
        """At a tick: count what was lost, make room for new combinations, and tell other threads."""
        if not self._sources:
            return
        for name in sorted(self._full):
            if time.monotonic() >= self._looked.get(name, -math.inf) + IDLE:
                self._make_room(name)
        for source in self._sources.values():
            source.look()
        self.seen = tuple((group, *place) for group, source in self._sources.items() for place in source.seen())
        stats = self.stats().values()
        self.lost = {name: sum(counters[name] for counters in stats) for name in LOSSES}

    def stats(self) -> dict[int, dict[str, int]]:
        """Counters of each group, with those of sources of before."""
        now = {group: source.stats() for group, source in self._sources.items()}
        every = {group: Counter(self._before.get(group, {})) for group in sorted(self._before.keys() | now.keys())}
        for group, counters in now.items():
            every[group].update(counters)
        return {group: dict(counters) for group, counters in every.items()}

    def rows(self, counts: Mapping[int, Selected]) -> list[dict[str, Any]]:
        """Rows of `xdpfix show rules`, one a combination; `counts` are by selectorId."""
        found = []
        for name, (sink, combinations) in self._combinations.items():
            if self._sinks.get(name) is not sink:
                continue
            for combination, selector in combinations.items():
                selected = counts.get(selector.id, Selected())
                share = combination.share
                found.append(
                    {
                        "exporter": name,
                        "match": f"psample group {combination.group}",
                        "probability": f"{share.numerator}/{share.denominator}",
                        "direction": "both",
                        "interfaces": ["*"],
                        "obs_domain_id": combination.obs_domain_id,
                        "obs_point_id": combination.obs_point_id,
                        "selector_id": selector.id,
                        "samples": selected.samples,
                        "packets": selected.packets,
                    }
                )
        return found

    def rows_of(self, name: str) -> list[dict[str, Any]]:
        """Rows of `xdpfix show exporters`: the sources of this exporter with what they took and lost."""
        stats = self.stats()
        return [
            {"group": group, "receiving": source.fd >= 0} | {key: stats[group][key] for key in ("samples", *LOSSES)}
            for group, source in self._sources.items()
            if source.options.exporter == name
        ]

    @property
    def sources(self) -> list[Source]:
        """All that there are."""
        return list(self._sources.values())

    def close(self) -> None:
        """Close all."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
