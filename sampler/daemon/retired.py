"""The counters of exporters over their whole time: those of the ones that a reload replaced are added to those of now.

So no counter goes back at a reload. Belongs to the data thread. Pure.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WAITING = "records_waiting"
# Waiting records of a collector that is closed are lost, and counted so by it.
WAITING_LOST = "records_lost_queue"


@dataclass(frozen=True)
class Figures:
    """One exporter's counters by name.

    Attributes:
        stats: Exporter.stats(), with messages_sent and send_failures of all targets that there ever were.
        targets: Exporter.targets() with send_failures: sends that the network refused, and messages that were lost.

    """

    stats: dict[str, int]
    targets: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """For the control socket."""
        return {**self.stats, "targets": self.targets}


class Retired:
    """What exporters that are no more had counted, by name."""

    def __init__(self) -> None:
        self._stats: dict[str, Counter[str]] = {}
        self._targets: dict[str, dict[str, Counter[str]]] = {}

    def add(self, name: str, stats: Mapping[str, int], targets: Sequence[Mapping[str, Any]]) -> None:
        """Keep the counters of an exporter that was flushed and is about to be closed."""
        self._stats.setdefault(name, Counter()).update(stats)
        kept = self._targets.setdefault(name, {})
        for row in targets:
            counters = kept.setdefault(row["target"], Counter())
            counters.update(_numbers(row))
            counters[WAITING_LOST] += counters.pop(WAITING, 0)

    def received(self, name: str) -> int:
        """Samples that exporters of this name were handed."""
        return self._stats[name]["samples_ingested"] if name in self._stats else 0

    def figures(self, name: str, stats: Mapping[str, int], targets: Sequence[Mapping[str, Any]]) -> Figures:
        """Add what was counted before to the counters of the exporter that has the name now."""
        kept = self._targets.get(name, {})
        rows = [dict(row) | _sum(_numbers(row), kept.get(row["target"], {})) for row in targets]
        rows = [row | {"send_failures": _failures(row)} for row in rows]
        living = {row["target"] for row in targets}
        every = [*rows, *(counters for target, counters in kept.items() if target not in living)]
        sums = {
            "messages_sent": sum(row.get("messages_sent", 0) for row in every),
            "send_failures": sum(_failures(row) for row in every),
        }
        return Figures(_sum(stats, self._stats.get(name, {})) | sums, rows)


def _numbers(row: Mapping[str, Any]) -> dict[str, int]:
    return {name: value for name, value in row.items() if isinstance(value, int) and not isinstance(value, bool)}


def _sum(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return dict(now) | {name: now.get(name, 0) + count for name, count in before.items()}


def _failures(row: Mapping[str, Any]) -> int:
    count: int = row.get("refusals", 0) + row.get("messages_lost", 0)
    return count
