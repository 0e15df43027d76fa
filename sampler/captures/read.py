"""`xdpfix read`: captures through the parser, cache and exporter of `run`, driven by the time of the capture.

Flows expire as the capture's time goes on, and what is left at the end of the last capture ends as forced
(flowEndReason 4); so does what is left where a capture begins earlier than the one before it came to. A capture that
is piped in goes on by the wall clock while the pipe is quiet.
"""

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

from exporter.collectors import Collector
from exporter.decoder import Decoder, Record
from exporter.exporter import BURST_NS, BURST_RECORDS, FORCED_END, Exporter
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from sampler._native import ffi, lib
from sampler.captures.capture import Capture, CaptureError, CaptureStats
from sampler.collector.messagefile import MessageFile
from sampler.errors import StartError
from sampler.tunnels.ports import TunnelPorts, port_types

BATCH = 2048
NS_PER_S = 1_000_000_000
# Between looks at what ended: the cache's timer wheel goes round in steps of 67 ms.
TICK_NS = 50_000_000
TICK_MS = 250  # of a quiet pipe: flows are shown within that of their timeout
PROGRESS_S = 0.5
CONNECT_S = 30.0  # for collectors to be connected to: longer than one attempt takes
STALL_S = 10.0
GENERATION = 1
# A file is read faster than a collector takes its flows, and a gap in it ends all at once: they leave at the pace of
# Exporter.flush(), by the clock on the wall.
RECORDS_PER_S = BURST_RECORDS * NS_PER_S // BURST_NS
FLUSH_NS = 60 * NS_PER_S
STDIN = 0  # sys.stdin is None where it was closed
# Packets of several queues or interfaces are captured a little out of order: only a capture that begins earlier
# than this before the last packet has a time of its own.
REORDER_NS = NS_PER_S
ROWS_AT_END = 1000  # of the table on a terminal


class Reader:
    """Captures, one after the other, into one exporter. Times are ns since 1970.

    `ports` are those that tunnels are known by; None: tunnels are not looked into.
    """

    def __init__(self, exporter: Exporter, sampling: int, ports: TunnelPorts | None) -> None:
        self.exporter = exporter
        self.sampling = sampling
        self._ports = None if ports is None else ffi.new("struct port_tunnels[]", lib.PORT_ENTRIES)
        if ports is not None:
            ffi.memmove(self._ports, port_types(ports), lib.PORT_ENTRIES * 8)
        self.stats = CaptureStats()
        self.errors: list[str] = []
        self.opened = 0
        self.now_ns = 0
        self._ticked_ns = 0
        self._connected = False  # so long as there is no sample
        self.stopped = False
        # For collectors, so much at once: samples that may end flows, or flows that time ends.
        self._burst = BURST_RECORDS if exporter.options.targets else sys.maxsize
        self._stalled: set[Collector] = set()
        self._paced = 0  # records made before the last burst
        self._paced_at = self._read_at = self._progressed = time.monotonic()

    def read(self, path: str) -> None:
        """Read one capture to its end, or to where it is damaged; what went wrong is in `errors`."""
        try:
            if path == "-":
                if os.isatty(STDIN):
                    raise CaptureError("standard input: a terminal holds no capture: pipe one in, or name a file")
                self._wait(STDIN, None)
            if self.stopped:
                return
            with Capture(path) as capture:
                self.opened += 1
                capture.set_sampling(self.sampling, GENERATION)
                if self._ports is not None:
                    capture.set_tunnels(self._ports)
                try:
                    self._read(capture, Path(path).stat().st_size if path != "-" else 0)
                finally:
                    self.stats += capture.stats()
        except CaptureError as error:
            # A signal also ends the wait for a capture's header.
            if not self.stopped:
                self.errors.append(str(error))

    def _read(self, capture: Capture, size: int) -> None:
        begun = False
        capture.start(BATCH)
        while not self.stopped:
            batch, count = capture.next() or (None, 0)
            if batch is None:
                self._pass_time(capture)
                continue
            if not count:
                return
            self._read_at = time.monotonic()
            first_ns, last_ns = batch[0].meta.time, batch[count - 1].meta.time
            if not begun:
                begun = True
                self._begin(first_ns)
            # Before this batch, what timed out since the last one ends.
            self._advance(first_ns)
            for start in range(0, count, self._burst):
                self._pace()
                self.exporter.ingest(batch + start, min(self._burst, count - start))
            self._advance(last_ns)
            self._progress(capture, size)

    def _pass_time(self, capture: Capture) -> None:
        """Wait for a pipe that is quiet, for which time goes on by the wall clock."""
        if capture.fd is None:
            return
        self._wait(capture.fd, TICK_MS)
        if self._connected:
            self._tick(self.now_ns + int((time.monotonic() - self._read_at) * NS_PER_S))

    def _begin(self, first_ns: int) -> None:
        """Put the clock to the first packet of a capture, also back."""
        if not self._connected:
            self._connected = True
            self.now_ns = self._ticked_ns = first_ns
            self._connect()
        elif first_ns + REORDER_NS < self.now_ns:
            self.finish()
            self.now_ns = self._ticked_ns = first_ns
            self.exporter.rewind(first_ns)

    def _wait(self, fd: int, timeout_ms: int | None) -> None:
        """Wait until a pipe has something, in steps, so that a signal ends it."""
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        while not poller.poll(timeout_ms or TICK_MS) and timeout_ms is None and not self.stopped:
            pass

    def _connect(self) -> None:
        """Connect to the collectors before the first flow ends: a capture is not read twice."""
        deadline = time.monotonic() + CONNECT_S
        while True:
            self.exporter.tick(self.now_ns)
            waiting = [collector for collector in self.exporter.collectors if not collector.connected]
            if not waiting:
                return
            failed = [collector for collector in waiting if collector.counters["start_errors"]]
            if failed or time.monotonic() > deadline:
                collector = (failed or waiting)[0]
                cause = collector.error or "no answer"
                raise StartError(
                    f"collector {collector.target} cannot be reached ({cause}): "
                    "give another --target, or none to see the flows here"
                )
            time.sleep(0.01)

    def _advance(self, time_ns: int) -> None:
        self.now_ns = max(self.now_ns, time_ns)
        if self.now_ns - self._ticked_ns >= TICK_NS:
            self._tick(self.now_ns)

    def _tick(self, now_ns: int) -> None:
        """End all flows that are due."""
        self._ticked_ns = now_ns
        ended = self._burst
        while ended == self._burst and not self.stopped:
            self._pace()
            ended = self.exporter.tick(now_ns, self._burst)

    def _pace(self) -> None:
        """Before a burst: wait until collectors have had time for the one before it."""
        records = self.exporter.exporting.records
        if records != self._paced:
            due = self._paced_at + (records - self._paced) / RECORDS_PER_S
            self.rest(max(0.0, due - time.monotonic()))
        self._paced, self._paced_at = records, time.monotonic()

    def rest(self, seconds: float) -> None:
        """Between bursts: give collectors that time, and those that can say that they are behind some more.

        Shown or written, flows need no pace.
        """
        if not self.exporter.options.targets:
            return
        time.sleep(seconds)
        self._wait_for_collectors(lambda collector: collector.busy)

    def _wait_for_collectors(self, holds_up: Callable[[Collector], bool]) -> None:
        """Wait for collectors that can say that they are behind, but not for those that stall, and for none twice."""
        deadline = time.monotonic() + STALL_S
        while not self.stopped:
            late = set(filter(holds_up, self.exporter.collectors))
            self._stalled &= late
            if late == self._stalled:
                return
            if time.monotonic() >= deadline:
                self._stalled = late
                return
            time.sleep(0.001)
            for collector in self.exporter.collectors:
                collector.drain(self.now_ns)

    def _progress(self, capture: Capture, size: int) -> None:
        """Say how far a long file is, on a terminal where no flows appear."""
        if not size or self._read_at - self._progressed < PROGRESS_S:
            return
        self._progressed = self._read_at
        if sys.stderr.isatty() and not sys.stdout.isatty():
            print(f"\r{capture.name}: {100 * capture.stats().position // size} %\033[K", end="\r", file=sys.stderr)

    def finish(self) -> None:
        """End all flows."""
        if self._connected:
            self._pace()
            self.exporter.flush(FORCED_END, self.now_ns, self.now_ns + FLUSH_NS)
            self._wait_for_collectors(lambda collector: collector.waiting > 0)

    def summary(self) -> str:
        """One line: where packets and flows went."""
        stats, counters = self.stats, self.exporter.stats()
        parts = [f"{stats.packets} packets ({stats.octets} octets) in {self.opened} capture{'s' * (self.opened != 1)}"]
        if self.sampling > 1:
            parts.append(f"{stats.sampled} sampled (1 in {self.sampling})")
        parts += [f"{counters['flows_created']} flows", f"{counters['records']} records"]
        names = ("truncated", "malformed", "chain", "snapped")
        parts += [f"{getattr(stats, name)} {name}" for name in names if getattr(stats, name)]
        parts += [f"{count} tunnel_{name}" for name, count in stats.tunnel_missed.items() if count]
        causes = ("samples_excluded_", "samples_lost_")
        parts += [
            f"{n} {name.removeprefix('samples_')}" for name, n in counters.items() if name.startswith(causes) and n
        ]
        lost = sum(collector.records_lost for collector in self.exporter.collectors)
        parts += [f"{lost} records lost on the way to collectors"] if lost else []
        return ", ".join(parts)


@contextmanager
def stop_on_signal(reader: Reader) -> Iterator[None]:
    """SIGINT and SIGTERM end the reading, and the flows read so far are still flushed."""

    def stop(number: int, frame: object) -> None:
        reader.stopped = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deliver_to(show: Callable[[Record], None] | None, file: MessageFile | None) -> Callable[[bytes], None]:
    """What a recorder delivers messages to: what shows each flow, a file, or both."""
    decoder = Decoder()

    def deliver(octets: bytes) -> None:
        if file is not None:
            file.write(octets)
        if show is not None:
            for record in decoder.decode(octets, "read"):
                if not record.scope_count:
                    show(record)

    return deliver


def shown(arguments: argparse.Namespace, stack: ExitStack) -> Callable[[Record], None] | None:
    """What shows a flow, if the flows are to be shown. It is imported then: that takes as long as all else here."""
    if arguments.json:
        from sampler.collector.collect import record_json

        # As `xdpfix collect --json` does, from no address.
        return lambda record: print(record_json(record, ("read", 0)), flush=True)
    if arguments.table or not (arguments.options.targets or arguments.write):
        from sampler.console.table import FlowTable

        return stack.enter_context(FlowTable(at_end=ROWS_AT_END, rates=False)).add
    return None


def main(arguments: argparse.Namespace) -> int:
    """Run the command and give the exit code.

    `arguments` are files, options (ExporterOptions), tunnel_ports (TunnelPorts), json, table and write.
    """
    options: ExporterOptions = arguments.options
    with ExitStack() as stack:
        file = stack.enter_context(MessageFile(arguments.write)) if arguments.write is not None else None
        # The capture's times are wall times already.
        exporter = stack.enter_context(Exporter(options, offset=lambda: 0, pause=lambda seconds: reader.rest(seconds)))
        exporter.set_weight(GENERATION, Fraction(1, options.sampling), [main_selector(options)])
        show = shown(arguments, stack)
        if show or file:
            exporter.record(deliver_to(show, file))
        ports = arguments.tunnel_ports if options.enable_tunnel_sampling else None
        reader = Reader(exporter, options.sampling, ports)
        with stop_on_signal(reader):
            for path in arguments.files:
                if not reader.stopped:
                    reader.read(path)
            reader.finish()
        told = [*reader.errors, *([reader.summary()] if reader.opened else [])]
    # Now that a table on the terminal has ended.
    for sentence in told:
        print(f"xdpfix: {sentence}", file=sys.stderr)
    return StartError.exit_code if reader.errors else 0
