"""Ends the flows of exporters on demand, for `xdpfix flush`: in bursts, so that sampling goes on between them."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from exporter.exporter import BURST_NS, BURST_RECORDS, FORCED_END, Exporter
from sampler.daemon.datapath import Datapath
from sampler.errors import ConfigError

NS_PER_S = 10**9

T = TypeVar("T")


class Flusher:
    """Flushes the exporters of a data thread."""

    def __init__(self, datapath: Datapath) -> None:
        self._datapath = datapath

    async def flush(self, name: str | None) -> dict[str, Any]:
        """End every flow that lives now in this exporter, or in all (None), with "forced end".

        Gives by exporter how many flows ended, and what each target was sent meanwhile. ConfigError for a name that
        no exporter has.
        """
        names = await self._on_datapath(lambda: list(self._datapath.sinks))
        if name is not None and name not in names:
            raise ConfigError(f'flush "{name}": there is no exporter of that name; there are {", ".join(names)}')
        return {each: await self._flush_one(each) for each in ([name] if name is not None else names)}

    async def _flush_one(self, name: str) -> dict[str, Any]:
        def look(sink: Exporter) -> tuple[int, list[dict[str, Any]]]:
            return sink.stats()["flows"], sink.targets()

        def end(sink: Exporter) -> int:
            return sink.end_flows(FORCED_END, min(burst, left), time.monotonic_ns())

        # Only so many, the oldest first: those that start meanwhile may go on.
        left, before = await self._on_sink(name, look) or (0, [])
        burst = max(BURST_RECORDS, left * BURST_NS // NS_PER_S)
        flows = 0
        while left > 0 and (ended := await self._on_sink(name, end)):
            flows += ended
            left -= ended
            await asyncio.sleep(BURST_NS / NS_PER_S)
        _, after = await self._on_sink(name, look) or (0, [])
        return {"flows": flows, "targets": _sent(before, after)}

    async def _on_sink(self, name: str, function: Callable[[Exporter], T]) -> T | None:
        """Run it on the exporter that has the name now: a reload may put another in its place, or none."""

        def run() -> T | None:
            sink = self._datapath.sinks.get(name)
            return None if sink is None else function(sink)

        return await self._on_datapath(run)

    async def _on_datapath(self, function: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._datapath.call(function))


def _sent(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each target was sent between two looks at its counters."""
    old = {row["target"]: row for row in before}
    return [
        {
            "target": row["target"],
            "records_sent": max(row["records_sent"] - old.get(row["target"], {}).get("records_sent", 0), 0),
            "records_lost": max(_lost(row) - _lost(old.get(row["target"], {})), 0),
            "records_waiting": row["records_waiting"],
        }
        for row in after
    ]


def _lost(row: dict[str, Any]) -> int:
    return sum(count for name, count in row.items() if name.startswith("records_lost_"))
