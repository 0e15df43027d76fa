"""One exporter: samples into its cache, the flows that end out of it to the Exporting Process, by the clock.

The data thread calls it; nothing here runs Python per packet.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, Self

from exporter._native import ffi, lib
from exporter.cache import LASTING_FIRST, NS_PER_S, SAMPLE_SIZE, Cache
from exporter.collectors import Collector
from exporter.errors import ExporterError
from exporter.exporting import ENCODE_BATCH, ExportingProcess
from exporter.options import COUNTS, PROFILES, ExporterOptions
from exporter.selector import Selected, Selector
from exporter.status import Metering, Status
from exporter.transports.connection import Endpoint

# Samples between looks at what ended: each selector's share of one ends at most one flow, which waits to be encoded.
INGEST_BATCH = 2048

# Pace of what timeouts and stops end. A collector's default receive buffer (208 KiB) holds some 90 messages; it gets
# 64 (768 records of a dozen a message) each 5 ms, 154 000 records a second, or the whole cache in a second if more.
BURST_RECORDS = 768
BURST_NS = 5_000_000
# Time without a tick saves up no more than this: 15 360 records, or a tenth of the cache.
ELAPSED_NS = NS_PER_S // 10

FORCED_END: int = lib.FLOW_END_FORCED  # flowEndReason (136) for flush(): the exporter stops, or its options change

log = logging.getLogger(__name__)


def wall_offset() -> int:
    """Nanoseconds to add to CLOCK_MONOTONIC to make wall time."""
    return time.time_ns() - time.monotonic_ns()


def check(options: ExporterOptions) -> None:
    """ExporterError where no exporter can have these options."""
    if options.profile not in PROFILES:
        raise ExporterError(f'profile "{options.profile}" is unknown: take one of {", ".join(PROFILES)}')
    if options.counts not in COUNTS:
        raise ExporterError(f'counts "{options.counts}" is unknown: take one of {", ".join(COUNTS)}')


def _layout(options: ExporterOptions) -> tuple[str, str, str]:
    """What decides which fields a record has, and what they mean."""
    return options.profile, options.counts, options.virtual_obs_id


def _tell_no_cache(options: ExporterOptions) -> None:
    for name in ("cache_active_timeout", "cache_max_flows"):
        if getattr(options, name) == 0:
            log.warning("%s is 0: every sample is a record of its own; raise it to count flows", name)


class Exporter:
    """Takes samples and sends flow records to every target of its options. A context manager; not thread-safe.

    Times are ns of CLOCK_MONOTONIC and come in as arguments. Collectors connect at the first tick().

    Args:
        options: what to do.
        offset: gives the ns between monotonic and wall time, asked at every tick: the wall clock may be set.
        pause: sleeps that many seconds, between the bursts of flush().

    """

    def __init__(
        self,
        options: ExporterOptions,
        *,
        offset: Callable[[], int] = wall_offset,
        pause: Callable[[float], None] = time.sleep,
        seed: int | None = None,
    ) -> None:
        check(options)
        self.options = options
        self.cache = Cache(options, seed)
        self._status = Status(options, self.cache)
        self.exporting = ExportingProcess(options, self._status.figures)
        self._others: list[Endpoint] = []
        self._offset = offset
        self._pause = pause
        self._offset_ns = offset()
        self._ticked_ns: int | None = None
        self._flows = ffi.new("struct flow *[]", ENCODE_BATCH)
        self.cache.set_wall_offset(self._offset_ns)
        _tell_no_cache(options)

    @property
    def collectors(self) -> list[Collector]:
        """One for each target."""
        return self.exporting.collectors

    def record(self, deliver: Callable[[bytes], None]) -> None:
        """Call `deliver` with each message, too, whoever else gets it: all flows come by in a session of their own."""
        self.exporting.record(deliver)

    def reconfigure(self, options: ExporterOptions, now_ns: int) -> list[dict[str, Any]]:
        """Go on with other options, as Open vSwitch's set_options does; equal ones touch nothing.

        Flows stay, and timeouts and limit are those of now for all of them. Targets that stay keep socket, session and
        queue, unless what they need (tls, file) is another now. Where records get other fields, all flows end as forced
        and go out by the old ones first. Domain and point come with set_weight().

        Returns:
            A last row of counters for each target that is no more, as of targets().

        Raises:
            ExporterError: no exporter can have these options; nothing changed.

        """
        check(options)
        before = self.options
        if options == before:
            return []
        if _layout(options) != _layout(before):
            self.flush(FORCED_END, now_ns, now_ns + NS_PER_S)
        self.options = options
        self.cache.set_options(options)
        self._status.options = options
        _tell_no_cache(options)
        rows = self.exporting.reconfigure(options, self._status.domain, now_ns)
        self._connect(now_ns)
        return rows

    def set_weight(self, generation: int, gate: Fraction, selectors: Sequence[Selector]) -> None:
        """Say how the samples of this generation of the configuration were taken: see Cache.set_weight().

        Options data tells of these selectors from now on, and of those of lasting generations. Where that changes by
        what collectors multiply, all flows end first, as forced: what was counted before goes out before.
        """
        if self._status.changes_interval(generation, gate, selectors) and self._ticked_ns is not None:
            self.flush(FORCED_END, self._ticked_ns, self._ticked_ns + NS_PER_S)
        if generation < LASTING_FIRST or len(selectors) < self._status.lasting(generation):
            self._status.count()  # before the cache forgets
        self.cache.set_weight(generation, gate, selectors)
        if self._status.set_selectors(generation, gate, selectors):
            self.exporting.catalog.set_domain(self._status.domain)

    def set_interfaces(self, interfaces: Iterable[tuple[int, str, str]]) -> None:
        """Tell the names of interfaces: (ifindex, name, description) of each that there is now, "" for none."""
        if self._status.set_interfaces(interfaces):
            self.exporting.catalog.change()

    def set_metering(self, metering: Metering) -> None:
        """Tell what the sampler has counted until now, for statistics."""
        self._status.set_metering(metering)

    def selected(self) -> dict[int, Selected]:
        """Count what each selector took, by Selector.id, as long as a generation that is known has it."""
        return self._status.selected()

    def leave_out(self, endpoints: Iterable[Endpoint]) -> None:
        """Leave out the messages of these sessions too: those of other exporters of this host."""
        self._others = list(endpoints)
        self._leave_out_own()

    def _leave_out_own(self) -> None:
        self.cache.set_endpoints(self.own_endpoints() + self._others)

    def ingest(self, batch: "bytearray | memoryview | ffi.CData", count: int) -> None:
        """Count the first `count` samples of the batch: a buffer of struct sample, or a struct sample * of cffi."""
        if isinstance(batch, ffi.CData):
            samples = ffi.cast("struct sample *", batch)
        else:
            if len(memoryview(batch).cast("B")) < count * SAMPLE_SIZE:
                raise ValueError(f"a batch of {count} samples takes {count * SAMPLE_SIZE} octets: pass a longer buffer")
            samples = ffi.cast("struct sample *", ffi.from_buffer(batch))
        for start in range(0, count, INGEST_BATCH):
            self.cache.ingest(samples + start, min(INGEST_BATCH, count - start))
            self._drain(self._ticked_ns)

    def inlet(self) -> tuple[int, int, int]:
        """Where C of another module may count samples, as by ingest(); then send_ended() is to be called. See Cache."""
        return self.cache.inlet()

    def send_ended(self) -> None:
        """Send the flows that samples have ended."""
        self._drain(self._ticked_ns)

    def due_ns(self, now_ns: int) -> int:
        """When tick() has something to do that is not to wait, where no sample comes; see there for what may."""
        return now_ns if self.cache.pending() or self.exporting.unfinished else self.cache.due_ns()

    def set_clock(self) -> None:
        """Ask for the wall clock's offset: before samples, where it is long since tick(), which does so, too."""
        self._offset_ns = self._offset()
        self.cache.set_wall_offset(self._offset_ns)

    def tick(self, now_ns: int, limit: int | None = None) -> int:
        """Connect, announce, end the flows that are due and send. To be called at least every second.

        Flows end and messages go out as soon as it is called when they are due. What has no moment of its own waits: a
        new try to connect, a session that the other side has ended, templates and statistics that are to be repeated.

        Args:
            now_ns: the time.
            limit: flows that end at most, for one who calls again until fewer do; None: by the time since the last
                tick, and what is left stays due.

        Returns:
            How many flows ended.

        """
        self.set_clock()
        limit = self._pace_limit(now_ns) if limit is None else limit
        self._ticked_ns = now_ns
        self._connect(now_ns)
        left = limit
        while left > 0:
            ended = self.cache.expire(now_ns, min(left, ENCODE_BATCH))
            self._drain(now_ns)
            left -= ended
            if not ended:
                break
        return limit - left

    def _pace_limit(self, now_ns: int) -> int:
        """Flows that a tick may end."""
        elapsed = BURST_NS if self._ticked_ns is None else min(max(now_ns - self._ticked_ns, 0), ELAPSED_NS)
        living = self.cache.stats()["flows"]
        return max(BURST_RECORDS, BURST_RECORDS * elapsed // BURST_NS, living * elapsed // NS_PER_S)

    def _connect(self, now_ns: int) -> None:
        """Start what is not connected, and send the templates and options data that are due."""
        if self.exporting.start(now_ns):
            self._leave_out_own()
        export_time = self._export_time(now_ns)
        self._status.look(export_time)
        self.exporting.announce(now_ns, export_time)

    def flush(self, reason: int, now_ns: int, deadline_ns: int) -> None:
        """End every flow for this reason (flowEndReason, 136) and send, in bursts spread over at most `deadline_ns`."""
        living = self.cache.stats()["flows"]
        bursts = -(-living // BURST_RECORDS)
        pause_ns = min(BURST_NS, max(deadline_ns - now_ns, 0) // max(bursts, 1))
        self._ticked_ns = now_ns
        self._connect(now_ns)
        self._drain(now_ns)
        while self.cache.flush(reason, BURST_RECORDS):
            self._drain(now_ns)
            bursts -= 1
            if bursts > 0 and pause_ns:
                self._pause(pause_ns / NS_PER_S)
                now_ns += pause_ns
        self.exporting.drain(now_ns)

    def end_flows(self, reason: int, limit: int, now_ns: int) -> int:
        """End up to `limit` living flows for this reason, the oldest first, and send them; return how many."""
        ended = self.cache.flush(reason, limit)
        self._drain(now_ns)
        return ended

    def rewind(self, now_ns: int) -> None:
        """Go on from an earlier time, for samples of an older capture; flush() before."""
        self.cache.rewind()
        self._ticked_ns = None
        self.tick(now_ns)

    def _export_time(self, now_ns: int) -> int:
        """Wall time in seconds, rounded up as OVS does: no packet of a record is later than that."""
        return -(-(now_ns + self._offset_ns) // NS_PER_S)

    def _drain(self, now_ns: int | None) -> None:
        """Encode and send all flows that ended. Without a tick yet there is no session: they wait."""
        if now_ns is None or not self.cache.pending():
            return
        # Samples may be younger than the last tick.
        now_ns = max(now_ns, self.cache.stats()["newest"])
        export_time = self._export_time(now_ns)
        while count := self.cache.take(self._flows, ENCODE_BATCH):
            self.exporting.send(self._flows, count, export_time, now_ns)
            self.cache.release(self._flows, count)

    def endpoints(self) -> list[Endpoint]:
        """Return the 5-tuples of the sessions: traffic that is the exporter's own."""
        return self.exporting.endpoints()

    def own_endpoints(self) -> list[Endpoint]:
        """Return endpoints(), and those of the targets that were taken away last."""
        return self.exporting.own_endpoints()

    def set_obs_point_ids(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Give interfaces an observationPointId of their own: pairs (ifindex, id). Flows to come have it."""
        self.cache.set_points(pairs)

    def copy_flows(self, limit: int) -> "ffi.CData":
        """Copy up to `limit` living flows, the oldest first, for exporter.snapshot: no Python for a flow."""
        return self.cache.copy(limit)

    def stats(self) -> dict[str, int]:
        """Every counter by name, flat.

        samples_*: where samples went, what stands behind samples_pairs once for each selector that took them;
        and those of TCP, UDP, SCTP and ICMP ("known") or another protocol by IP version;
        flows_*: living, started and ended ones by reason; records and messages made.
        """
        cache = self.cache.stats()
        samples = ("ingested", "unselected", "selected", "pairs", "cached", "pending")
        values = {f"samples_{name}": cache[name] for name in samples}
        values["samples_exported"] = cache["released"]
        values |= {f"samples_{name}": n for name, n in cache.items() if name.startswith(("excluded_", "lost_"))}
        values |= {f"samples_{name}": n for name, n in cache.items() if name.startswith(("ipv4_", "ipv6_"))}
        values["packets_represented"] = cache["represented"]
        values["flows"] = cache["flows"]
        values["flows_created"] = cache["created"]
        values |= {f"flows_{name}": n for name, n in cache.items() if name.startswith("ended_")}
        values["records"] = self.exporting.records
        values["records_lost_memory"] = self.exporting.records_lost_memory
        values["messages"] = self.exporting.messages
        return values

    def targets(self) -> list[dict[str, Any]]:
        """Return one row of counters a target: what was sent to it, what is waiting, what was lost and why."""
        return [collector.row() for collector in self.collectors]

    def close(self) -> None:
        """End the sessions and free the cache; flush() before, or the flows are lost."""
        self.exporting.close()
        self.cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
