"""What `xdpfix show` gets from a running service: figures of every part, collected where they live.

Rings and exporters belong to the data thread, so their figures are read there; links and
gates come and go on the main thread and are read on it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sampler.datapath import Datapath
from sampler.gates import Gates
from sampler.ledger import ExporterLedger, Ledger
from sampler.links import Links
from sampler.points import ObservationPoints
from sampler.ring import Ring
from sampler.tunnels.follower import TunnelFollower

T = TypeVar("T")

# Rows that `xdpfix show flows` gets at most: the data thread must not stand still for a table.
SHOWN_FLOWS = 10_000


class Reports:
    """The answers to the control socket's requests, by name in `handlers`."""

    def __init__(
        self,
        links: Links,
        points: ObservationPoints,
        gates: Gates,
        ring: Ring,
        datapath: Datapath,
        tunnels: TunnelFollower,
    ) -> None:
        self._links = links
        self._points = points
        self._gates = gates
        self._ring = ring
        self._datapath = datapath
        self._tunnels = tunnels

    @property
    def handlers(self) -> Mapping[str, Callable[[], Any]]:
        """Functions and coroutines by what they show."""
        return {
            "flows": self._flows,
            "interfaces": self._points.rows,
            "tunnels": self._tunnel_rows,
            "exporters": self._exporters,
            "stats": self._stats,
        }

    async def _on_datapath(self, function: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._datapath.call(function))

    def _exporter_ledgers(self) -> dict[str, ExporterLedger]:
        ledgers = {name: ExporterLedger.of(sink.stats()) for name, sink in self._datapath.sinks.items()}
        retired = self._datapath.retired
        return {name: ledger + retired[name] if name in retired else ledger for name, ledger in ledgers.items()}

    async def _stats(self) -> dict[str, Any]:
        observed = self._gates.observed()

        def columns() -> Ledger:
            # The kernel's counters too: read beside the ring's, they are apart by few samples.
            samples, packets = self._gates.counters()
            return Ledger(samples, packets, self._ring.stats(), observed, self._exporter_ledgers())

        ledger = await self._on_datapath(columns)
        return ledger.as_dict() | {
            "packets_observed_before": self._points.observed_before,
            "links": {"sampled": len(self._points.links), "netlink_resyncs": self._links.resyncs},
            "tunnels": self._tunnels.stats(),
        }

    def _tunnel_rows(self) -> dict[str, Any]:
        sampled = {link.ifindex for link in self._points.links}
        rows = [row | {"sampled": row["ifindex"] in sampled} for row in self._tunnels.table.rows()]
        return {"netdevs": rows, "ports": self._tunnels.table.ports}

    async def _exporters(self) -> dict[str, Any]:
        def figures() -> dict[str, Any]:
            sinks = self._datapath.sinks.items()
            return {name: sink.stats() | {"targets": sink.targets()} for name, sink in sinks}

        return await self._on_datapath(figures)

    async def _flows(self) -> list[dict[str, Any]]:
        def rows() -> list[dict[str, Any]]:
            now = time.monotonic_ns()
            return [row for sink in self._datapath.sinks.values() for row in sink.flows(SHOWN_FLOWS, now)]

        flows = await self._on_datapath(rows)
        for flow in flows:
            for column in ("interface", "other_interface"):
                if flow[column] is not None:
                    link = self._links.table.get(flow[column])
                    flow[column] = link.name if link else str(flow[column])
        return flows
