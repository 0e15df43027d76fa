"""The data thread: rings and psample → batches → flow caches → collectors. The control side talks to it by `call`.

It owns the rings and the exporters; no other thread touches them. Everything long is
a C call with the GIL released, and nothing here runs per packet, nor per batch while no flow ends.
"""

import contextlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from exporter.cache import NS_PER_S
from exporter.exporter import Exporter
from exporter.transports.connection import Endpoint
from sampler._native import lib
from sampler.daemon.retired import Figures, Retired
from sampler.errors import EndedError
from sampler.kernel.ring import Ring
from sampler.psample.sources import Sources

log = logging.getLogger(__name__)

# What waits in a half-filled batch, a timer or a queue waits no longer than this, in seconds.
TICK = 0.1
# Where nothing waits nor comes, ticks are as far apart as an exporter may go without one, in seconds: each costs 0.4 ms
# by then, for all that it touches has left the processor's caches.
REST = 1.0
# CPUs are hot-plugged by hand: looking each second is soon enough.
RESCAN_INTERVAL = 1.0
DRAIN_SECONDS = 5.0
# A ring that is an eighth full is full after 6 ms more at 1.6 million samples a second. Others on the processor may run
# some 3 ms until it is the thread's turn, which comes before theirs with a slice (ns) that is shorter.
SLICE = 100_000

ENDED = "the data thread has ended, and xdpfix with it: see the log for the cause"

T = TypeVar("T")


class Datapath(threading.Thread):
    """The data thread.

    Args:
        ring: where samples come from.
        sinks: the exporters by name; only the data thread may change it once started.
        flush: the thread's last act, after the rings are drained.

    """

    def __init__(self, ring: Ring, sinks: dict[str, Exporter], flush: Callable[[], None]) -> None:
        super().__init__(name="datapath", daemon=True)
        self._ring = ring
        self._flush = flush
        self.sinks = sinks
        self.psample = Sources(ring, sinks)
        self._retired = Retired()
        self._absent: dict[str, int] = {}
        self._gone: list[Endpoint] = []
        self._shared: dict[str, list[Endpoint]] = {}
        self._batch = ring.new_batch()
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._stopping = False
        self._ended = False
        self.ticks = 0
        """Ticks done: it stands still when the thread hangs."""
        self.ticked = time.monotonic()
        """When the last one was. The watchdog reads it."""
        self.statistics_due = math.inf
        """When an exporter tells statistics next, by time.monotonic(), as of the last tick; for other threads."""
        self.error: BaseException | None = None

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` on the data thread between two batches, or at its start; its result comes in the future."""
        future: Future[T] = Future()
        if self._ended:
            future.set_exception(EndedError(ENDED))
            return future
        self._calls.put((function, future))
        if self._ended:  # it ended in between, and may have looked for calls before this one came
            self._refuse_calls()
        self._ring.wake()
        return future

    def settle(self, function: Callable[[], T]) -> T:
        """Run `function` on the data thread and wait for its result; at once while the thread has not started.

        For what must hold before the next sample is counted, such as the weight of a generation. EndedError.
        """
        return function() if self.ident is None else self.call(function).result()

    def retire(self, sinks: Mapping[str, Exporter]) -> None:
        """On the data thread: keep the counters of exporters that were flushed and are about to be closed."""
        for name, sink in sinks.items():
            self._retired.add(name, sink.stats(), sink.targets())
        # What they sent last is on its way.
        self._gone = [endpoint for sink in sinks.values() for endpoint in sink.own_endpoints()]

    def retire_targets(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """On the data thread: keep the counters of targets that an exporter has no longer."""
        self._retired.add(name, {}, rows)

    def welcome(self, name: str) -> None:
        """On the data thread, before an exporter comes: samples that it has not got are not missing."""
        read = self._ring.stats()["received"] + self.psample.handed[name]
        self._absent[name] = read - self._retired.received(name)

    @property
    def absent(self) -> dict[str, int]:
        """Samples that were read while there was no exporter of the name, by name."""
        return {name: self._absent.get(name, 0) for name in self.sinks}

    def share_endpoints(self) -> None:
        """On the data thread: let every exporter leave out the messages of all, or they would count each other's."""
        shared = {name: sink.own_endpoints() for name, sink in self.sinks.items()}
        if shared == self._shared:
            return
        self._shared = shared
        for name, sink in self.sinks.items():
            others = [endpoint for other, found in shared.items() if other != name for endpoint in found]
            sink.leave_out(others + self._gone)

    def figures(self) -> dict[str, Figures]:
        """On the data thread: the counters of every exporter, with those of the ones before it."""
        return {name: self._retired.figures(name, sink.stats(), sink.targets()) for name, sink in self.sinks.items()}

    def finish(self) -> None:
        """Have the thread take what the rings still hold, flush and end; wait for it. Detach the programs before."""
        self._stopping = True
        if self.ident is not None:
            self._ring.wake()
            self.join()

    def run(self) -> None:
        """The loop. An error ends it and is kept in `error` for the service to report."""
        if error := lib.slice_set(SLICE):
            log.debug("the data thread keeps the slice that all have: %s", os.strerror(-error))
        try:
            self._loop()
            self.drain()
            self._flush()
        except BaseException as error:  # the service must hear of anything
            log.critical("data thread ended by an error: %r", error)
            self.error = error
        finally:
            self._refuse_calls()

    def drain(self) -> None:
        """Account every sample that the rings and the half-filled batches hold."""
        # Under overload they never get empty: what came in meanwhile waits for its turn.
        until = time.monotonic() + DRAIN_SECONDS
        # The second peek tells lost batches from late ones: see cpu_ring_peek.
        for _ in range(2):
            self._read_rings(until)
            self._feed(self._ring.peek(self._batch))
        self.psample.read(until)

    def rest(self, seconds: float) -> None:
        """On the data thread, in the pauses of what takes long there: wait, and read the rings, or they run over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._stopping:  # nothing is sampled any more, and exporters are closed one after the other
                time.sleep(left)
                return
            self._read_rings(until, wait=True)
            self.psample.read(until)

    def _loop(self) -> None:
        next_tick = next_rescan = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            wake = min(next_tick, self.psample.rest_until(now))
            ended, next_tick = self._rest(now, wake, next_tick) if now < wake else (lib.RING_TIME, next_tick)
            if ended == lib.RING_READY:  # more will come: all until the tick in one call
                self._read_rings(min(next_tick, self.psample.rest_until(time.monotonic())), wait=True)
            else:  # all that there is, though the tick be due: it peeks behind empty rings only
                self._read_rings(until=time.monotonic() + TICK)
            self.psample.read(until=next_tick)
            now = time.monotonic()
            if now >= next_tick:
                self._tick()
                next_tick = time.monotonic() + self._pause()
            if now >= next_rescan:
                self._rescan()
                next_rescan = now + RESCAN_INTERVAL
            if self._run_calls():
                next_tick = min(next_tick, time.monotonic() + TICK)

    def _rest(self, now: float, until: float, next_tick: float) -> tuple[int, float]:
        """Wait until there is something to do: what it was, and when the next tick is to be, soon if anything came."""
        ended = self._ring.rest(until - now, TICK)
        woken = time.monotonic()
        if woken - now > TICK:
            # Flows that start now get the wall clock of now.
            for sink in self.sinks.values():
                sink.set_clock()
        return ended, woken if ended == lib.RING_SAMPLES else min(next_tick, woken + TICK)

    def _pause(self) -> float:
        """Seconds from a tick to the next one, where nothing comes."""
        if self.psample.sources:  # their losses are counted at ticks
            return TICK
        now = time.monotonic_ns()
        due = min((sink.due_ns(now) for sink in self.sinks.values()), default=math.inf)
        return max(TICK, min(REST, (due - now) / NS_PER_S))

    def _read_rings(self, until: float, wait: bool = False) -> None:
        """Read until the rings are empty, or, under overload, until the time `until`: ticks must go on.

        `wait`: read also what comes until then, or until the thread is called.
        """
        more = True
        while more:
            more = self._ring.feed(self._batch, [sink.inlet() for sink in self.sinks.values()], until, wait)
            for sink in self.sinks.values():
                sink.send_ended()
            more = more and time.monotonic() < until

    def _feed(self, count: int) -> None:
        if count:
            for sink in self.sinks.values():
                sink.ingest(self._batch, count)

    def _tick(self) -> None:
        self._feed(self._ring.peek(self._batch))
        self.psample.look()
        now = time.monotonic_ns()
        for sink in self.sinks.values():
            sink.tick(now)
        dues = [due for sink in self.sinks.values() if (due := sink.exporting.statistics_due_ns) is not None]
        self.statistics_due = min(dues, default=math.inf) / NS_PER_S
        # Sessions may have begun, and sent: before their packets are counted.
        self.share_endpoints()
        self.ticks += 1
        self.ticked = time.monotonic()

    def _rescan(self) -> None:
        opened = self._ring.rescan()
        if opened > 0:
            log.info("opened rings on %d CPUs that came online", opened)
        elif opened < 0:
            log.warning("cannot open a ring on a CPU that came online (errno %d): its samples are lost", -opened)

    def _run_calls(self) -> bool:
        """Whether there were any."""
        called = False
        while True:
            try:
                function, future = self._calls.get_nowait()
            except Empty:
                return called
            called = True
            try:
                future.set_result(function())
            except Exception as error:
                future.set_exception(error)

    def _refuse_calls(self) -> None:
        self._ended = True
        with contextlib.suppress(Empty):
            while True:
                _, future = self._calls.get_nowait()
                future.set_exception(EndedError(ENDED))
