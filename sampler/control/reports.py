"""What `xdpfix show` gets from a running service: figures of every part, collected where they live.

Rings and exporters belong to the data thread, so their figures are read there; links and
gates come and go on the main thread and are read on it. Flows are made to rows in sampler.control.flowrows.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from exporter.selector import Selected
from sampler.control import rulerows
from sampler.control.flowrows import FlowRows, Wanted
from sampler.control.ledger import ExporterLedger, Ledger
from sampler.daemon.datapath import Datapath
from sampler.daemon.links import Links
from sampler.daemon.points import ObservationPoints
from sampler.daemon.retired import Figures
from sampler.daemon.wanted import Selector
from sampler.kernel.gates import Gates
from sampler.kernel.ring import Ring
from sampler.tunnels.follower import TunnelFollower

T = TypeVar("T")

# Flows that are made to rows each second for a filter of `xdpfix top`: some 0.2 s of the main thread, in small steps.
EXAMINED_FLOWS = 10_000


@dataclass(frozen=True)
class RuleReader:
    """How the rules are read: the selectors and their ids on the main thread, counts by id on the data thread."""

    selectors: Callable[[], Mapping[Selector, int]] = dict
    counts: Callable[[], Mapping[int, Selected]] = dict


@dataclass(frozen=True)
class Totals:
    """All counters of one moment: the ledger, and the exporters' own."""

    ledger: Ledger
    exporters: dict[str, Figures]
    ticks: int


@dataclass(frozen=True)
class Measured:
    """What the metrics show.

    Attributes:
        totals: all counters.
        observed: wire packets by (interface, direction), while it is there, whether sampled all the time or not.
        observed_gone: wire packets of interfaces that are gone.
        sampled: interfaces that are sampled now.
        refused: interfaces that should be and cannot.
        resyncs: how often netlink was read anew, by what it was read for.
        tunnels: what the kernel side knows, by name.
        rules: rows of the rules.

    """

    totals: Totals
    observed: dict[tuple[str, int], int]
    observed_gone: int
    sampled: int
    refused: int
    resyncs: dict[str, int]
    tunnels: dict[str, int]
    rules: list[dict[str, Any]]


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
        rules: RuleReader = RuleReader(),
    ) -> None:
        self._links = links
        self._points = points
        self._gates = gates
        self._ring = ring
        self._datapath = datapath
        self._tunnels = tunnels
        self._rule_reader = rules
        self._flow_rows = FlowRows(datapath, self._name_of)

    @property
    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """Functions and coroutines by what they show; sampler.control.commands has the options that they take."""
        return {
            "flows": self._flows,
            "interfaces": self._points.rows,
            "tunnels": self._tunnel_rows,
            "exporters": self._exporters,
            "rules": self.rules,
            "stats": self._stats,
            "top": self._top,
        }

    async def _on_datapath(self, function: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self._datapath.call(function))

    async def totals(self) -> Totals:
        """Read all counters, those of the data thread at one moment."""
        observed = self._gates.observed()

        def read() -> Totals:
            # The kernel's counters too: read beside the ring's, they are apart by few samples.
            samples, packets = self._gates.counters()
            figures = self._datapath.figures()
            ledgers = {name: ExporterLedger.of(exporter.stats) for name, exporter in figures.items()}
            psample = self._datapath.psample
            ledger = Ledger(
                samples,
                packets,
                self._ring.stats(),
                observed,
                ledgers,
                self._datapath.absent,
                psample.stats(),
                dict(psample.handed),
            )
            return Totals(ledger, figures, self._datapath.ticks)

        return await self._on_datapath(read)

    async def _stats(self) -> dict[str, Any]:
        return self._stats_of(await self.totals())

    def _stats_of(self, totals: Totals) -> dict[str, Any]:
        return totals.ledger.as_dict() | {
            "packets_observed_before": self._points.observed_before,
            "links": {"sampled": len(self._points.links), "netlink_resyncs": self._links.resyncs},
            "tunnels": self._tunnels.stats(),
        }

    def _tunnel_rows(self) -> dict[str, Any]:
        sampled = {link.ifindex for link in self._points.links}
        rows = [row | {"sampled": row["ifindex"] in sampled} for row in self._tunnels.table.rows()]
        return {"netdevs": rows, "ports": self._tunnels.table.ports}

    async def _exporters(self) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            rows_of = self._datapath.psample.rows_of
            return {
                name: exporter.as_dict() | ({"psample": rows} if (rows := rows_of(name)) else {})
                for name, exporter in self._datapath.figures().items()
            }

        return await self._on_datapath(read)

    async def rules(self) -> list[dict[str, Any]]:
        """Rows of the rules of all exporters, and of what psample's samples say of their selection."""

        def read() -> tuple[Mapping[int, Selected], list[dict[str, Any]]]:
            counts = self._rule_reader.counts()
            return counts, self._datapath.psample.rows(counts)

        counts, others = await self._on_datapath(read)
        return rulerows.rows(self._rule_reader.selectors(), counts) + others

    async def _flows(self, **options: Any) -> list[dict[str, Any]]:
        return await self._flow_rows.select(Wanted(**options))

    async def _top(self, **options: Any) -> dict[str, Any]:
        """Everything that `xdpfix top` shows, of one moment; "time" is ns of CLOCK_MONOTONIC, as `since` is."""
        moment = time.monotonic_ns()
        rows = await self._flow_rows.select(Wanted(**options), EXAMINED_FLOWS)
        totals = await self.totals()
        return {
            "pid": os.getpid(),
            "time": moment,
            "flows": rows,
            "interfaces": self._points.rows(),
            "tunnels": self._tunnel_rows(),
            "rules": await self.rules(),
            "exporters": {name: exporter.as_dict() for name, exporter in totals.exporters.items()},
            "stats": self._stats_of(totals),
        }

    async def measure(self) -> Measured:
        """Read what the metrics show."""
        totals = await self.totals()
        tunnels = self._tunnels.stats()
        suffix = "_resyncs"
        others = {name.removesuffix(suffix): tunnels.pop(name) for name in list(tunnels) if name.endswith(suffix)}
        points = self._points
        return Measured(
            totals,
            points.observed(),
            points.observed_gone,
            len(points.links),
            len(points.refusals),
            {"links": self._links.resyncs} | others,
            tunnels,
            await self.rules(),
        )

    def _name_of(self, ifindex: int) -> str:
        link = self._links.table.get(ifindex)
        return link.name if link else str(ifindex)
