"""Living flows as rows for `xdpfix show flows` and `top`: copied on the data thread, made to rows on the main thread.

The data thread copies in C and makes no row. The rows are made in small steps, between which others get the GIL.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.snapshot import column, flow_row
from sampler.configkeys import shown
from sampler.control import flowfilter
from sampler.daemon.datapath import Datapath
from sampler.errors import ConfigError

# Flows of an exporter that are looked at for them, the oldest first. 48 MiB: copying takes the data thread some 20 ms.
SCANNED_FLOWS = 2**17
# Rows made at a stretch: some 2 ms.
STEP = 100

Names = Callable[[int], str]


@dataclass(frozen=True)
class Wanted:
    """Which flows, in which order, and how many at most; checked.

    Attributes:
        filter: see sampler.control.flowfilter; "": all.
        sort: column; "": the oldest first.
        limit: 1..flowfilter.SHOWN_FLOWS.
        since: ns of CLOCK_MONOTONIC: only flows with a packet then or later.

    """

    filter: str = ""
    sort: str = ""
    limit: int = flowfilter.SHOWN_FLOWS
    since: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("filter", str), ("sort", str), ("limit", int), ("since", int)):
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ConfigError(f"{name} = {shown(value)}: must be a {'text' if kind is str else 'whole number'}")
        if not 1 <= self.limit <= flowfilter.SHOWN_FLOWS:
            raise ConfigError(f"limit = {self.limit}: must be a whole number from 1 to {flowfilter.SHOWN_FLOWS}")


class FlowRows:
    """Gives flows of a data thread's exporters. `name_of` names an interface by its number."""

    def __init__(self, datapath: Datapath, name_of: Names) -> None:
        self._datapath = datapath
        self._name_of = name_of

    async def select(self, wanted: Wanted, examined: int = SCANNED_FLOWS) -> list[dict[str, Any]]:
        """Rows of the flows that are wanted. ConfigError for a wrong filter or column.

        With a filter at most `examined` flows of an exporter are made to rows, by their packets or rate the first.
        """
        predicate = flowfilter.parse(wanted.filter)
        if wanted.sort:
            flowfilter.ordered((), wanted.sort)  # an unknown column is told before the work
        copies, now = await asyncio.wrap_future(self._datapath.call(self._copy))
        rows: list[dict[str, Any]] = []
        for name, flows in copies.items():
            places = _places(flows, now, wanted, examined)
            for start in range(0, len(places), STEP):
                made = [{"exporter": name} | self._row(flows[i], now) for i in places[start : start + STEP]]
                rows += [row for row in made if predicate(row)]
                if not wanted.sort and len(rows) >= wanted.limit:
                    break
                await asyncio.sleep(0)
        if wanted.sort:
            rows = [dict(row) for row in flowfilter.ordered(rows, wanted.sort)]
        return rows[: wanted.limit]

    def _copy(self) -> tuple[Mapping[str, Any], int]:
        copies = {name: sink.copy_flows(SCANNED_FLOWS) for name, sink in self._datapath.sinks.items()}
        return copies, time.monotonic_ns()

    def _row(self, flow: Any, now: int) -> dict[str, Any]:
        row = flow_row(flow, now)
        for name in ("interface", "other_interface"):
            if row[name] is not None:
                row[name] = self._name_of(row[name])
        return row


def _places(flows: Any, now: int, wanted: Wanted, examined: int) -> list[int]:
    """Places in the array of the flows that may be wanted, as far as columns tell that are cheap to read."""
    places = list(range(len(flows)))
    if wanted.since:
        last = column(flows, "last")
        places = [i for i in places if last[i] >= wanted.since]
    limit = examined if wanted.filter else wanted.limit
    if len(places) <= limit or wanted.sort not in ("packets", flowfilter.RATE):
        return places
    packets = column(flows, "packets")
    if wanted.sort == flowfilter.RATE:
        first, least = column(flows, "first"), round(flowfilter.LEAST_AGE * 10**9)
        return heapq.nlargest(limit, places, key=lambda i: packets[i] / max(now - first[i], least))
    return heapq.nlargest(limit, places, key=packets.__getitem__)
