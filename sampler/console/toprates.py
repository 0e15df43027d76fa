"""Counters to rates, for `xdpfix top`: what happened between two snapshots of a running xdpfix. Pure: no clock, no I/O.

Flows are known again by exporter and "flow" (the hash of their key), and told apart by "started".
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NS_PER_S = 10**9
# A flow without a packet is shown so long with a rate of 0: with one packet in many, most flows pause.
HOLD_NS = 10 * NS_PER_S
# Flows remembered, those seen last: several times what one snapshot has.
REMEMBERED = 50_000

Row = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class RatedFlow:
    """A flow's row as `xdpfix show flows` has it, with its rates over the last interval."""

    row: Row
    packets: float  # a second
    bits: float  # a second


@dataclass(frozen=True)
class _Seen:
    row: Row
    time: int


class FlowRates:
    """Rates of flows over successive snapshots."""

    def __init__(self) -> None:
        self._time: int | None = None
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()

    def reset(self) -> None:
        """Forget all, for another process answers from now on."""
        self._time = None
        self._seen.clear()

    def update(self, time: int, rows: Iterable[Row]) -> list[RatedFlow]:
        """Take the rows of flows that had packets since the snapshot before; give these, and those that pause.

        Args:
            time: of the snapshot, ns of the daemon's clock.
            rows: as of `xdpfix show flows`.

        """
        interval = (time - self._time) / NS_PER_S if self._time is not None and time > self._time else None
        rated = {}
        for row in rows:
            key = row["exporter"], row["flow"]
            packets, octets = self._counted(self._seen.get(key), row, interval)
            rated[key] = RatedFlow(row, packets, octets * 8)
            self._seen[key] = _Seen(row, time)
            self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        self._time = time
        for key in reversed(self._seen):
            if (seen := self._seen[key]).time <= time - HOLD_NS:
                break
            if key not in rated:
                rated[key] = RatedFlow(seen.row, 0.0, 0.0)
        return list(rated.values())

    def _counted(self, seen: _Seen | None, row: Row, interval: float | None) -> tuple[float, float]:
        """Packets and octets a second."""
        average = max(row["age"], 1.0)
        if interval is None or self._time is None:
            return row["packets"] / average, row["octets"] / average
        if seen is not None and seen.row["started"] == row["started"]:
            # Without a packet it is in no snapshot: all since it was seen last came in this interval.
            return (
                max(row["packets"] - seen.row["packets"], 0) / interval,
                max(row["octets"] - seen.row["octets"], 0) / interval,
            )
        if seen is not None or row["started"] >= self._time:
            return row["packets"] / interval, row["octets"] / interval
        # It is older than that, and was not among those of the snapshots before.
        return row["packets"] / average, row["octets"] / average


class CounterRates:
    """Rates of named counters over successive snapshots."""

    def __init__(self) -> None:
        self._time: int | None = None
        self._counts: dict[Hashable, int] = {}

    def reset(self) -> None:
        """Forget all, for another process answers from now on."""
        self._time = None
        self._counts = {}

    def update(self, time: int, counts: Mapping[Hashable, int]) -> dict[Hashable, float]:
        """Counts a second since the snapshot before, of those that were there and did not go back."""
        before, self._counts = self._counts, dict(counts)
        last, self._time = self._time, time
        if last is None or time <= last:
            return {}
        seconds = (time - last) / NS_PER_S
        return {
            name: (count - before[name]) / seconds
            for name, count in counts.items()
            if name in before and count >= before[name]
        }
