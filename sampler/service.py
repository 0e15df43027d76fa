"""The daemon: makes the parts, wires them, follows links and signals, and takes everything down again.

The asyncio main thread runs this; the data thread (sampler.datapath) owns ring and
exporters. What to attach is decided in sampler.points, what `xdpfix show`
gets is put together in sampler.reports.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from exporter.cache import KNOWN_GENERATIONS
from exporter.exporter import FORCED_END, Exporter
from exporter.options import ExporterOptions, Target
from exporter.selector import main_selector
from exporter.status import Metering
from sampler import capabilities, clsact, linktable, loader
from sampler.attach import Attacher, Attachment
from sampler.collect import EmbeddedCollector
from sampler.config import Config
from sampler.control import ControlServer
from sampler.datapath import Datapath
from sampler.errors import StartError, XdpfixError
from sampler.gates import Gates
from sampler.ledger import KERNEL_LOSSES, ExporterLedger
from sampler.links import Links
from sampler.linktable import Link
from sampler.losslog import LossLog
from sampler.maps import Maps
from sampler.notify import Notifier, watchdog_interval
from sampler.points import EGRESS, INGRESS, ObservationPoints
from sampler.reports import Reports
from sampler.ring import Ring
from sampler.tunnels.follower import TunnelFollower

log = logging.getLogger(__name__)

MAIN = "main"
# The default cache is flushed within a second; a larger one is paced within this, below the unit's TimeoutStopSec.
FLUSH_SECONDS = 45
# How often the data thread is looked at, in seconds, where the service manager does not ask for more.
WATCH_INTERVAL = 1.0
# Names of interfaces that come and go are told to the exporter this often at most, in seconds.
NAMES_SECONDS = 0.5
# So long the sampled interfaces must stay as they are before it is looked for what they have in common, in seconds.
QUIET_SECONDS = 0.5
# What a running service cannot change: it says so, and keeps what it has.
FIXED_OPTIONS = ("loader", "ring_pages", "control_socket")
# Generations are 16 bit in samples.
GENERATION_MAX = 2**16 - 1


def run(config: Config, load: Callable[[], Config]) -> int:
    """Run in the foreground until SIGTERM or SIGINT. Returns the exit code.

    Args:
        config: what to do.
        load: reads the configuration anew, at SIGHUP; ConfigError leaves everything as it is.

    Raises:
        StartError: it cannot be started here.

    """
    return asyncio.run(Service(config, load).serve())


class Service:
    """One running sampler with its main exporter."""

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._config = config
        self._load = load
        self._stop = asyncio.Event()
        self._links = Links()
        self._notifier = Notifier()
        self._viewer: EmbeddedCollector | None = None
        self._weights: dict[int, Fraction] = {}  # by generation, the one of now last
        self._obs_point_ids: list[tuple[int, int]] = []
        self._naming: asyncio.TimerHandle | None = None  # for names of interfaces
        self._warned: set[str] = set()
        self._looking: asyncio.TimerHandle | None = None  # for interfaces that carry the same packets
        self._running = False  # until then a refusal ends the start, with its sentence

    async def serve(self) -> int:
        """Start, stay until the stop, take down. Raises StartError."""
        options = self._config.sampler
        async with contextlib.AsyncExitStack() as stack:
            # First, because it tells whether another xdpfix runs here; what it shows is filled in below.
            handlers: dict[str, Callable[[], Any]] = {}
            await stack.enter_async_context(ControlServer(options.control_socket, handlers))
            maps = stack.enter_context(Maps())
            programs = loader.load(options.loader, maps)
            stack.callback(programs.close)
            self._attacher = Attacher(programs)
            self._gates = Gates(maps)
            self._tunnels = TunnelFollower(maps, options.tunnel_ports)
            stack.push_async_callback(self._tunnels.close)
            self._new_generation()
            self._set_sampling()
            self._ring = stack.enter_context(Ring(maps, options.ring_pages))
            stack.callback(self._close_viewer)
            exporter = self._new_exporter(self._config.exporter)
            self._datapath = Datapath(self._ring, {MAIN: exporter}, self._flush)
            # From here on flows can be lost: whatever fails, the thread ends, and before the ring is closed.
            stack.callback(self._datapath.finish)
            self._points = ObservationPoints(self._attach, self._gates, self._directions())
            stack.callback(self._points.close)
            reports = Reports(self._links, self._points, self._gates, self._ring, self._datapath, self._tunnels)
            handlers.update(reports.handlers)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
            following = asyncio.create_task(self._follow_links(started := asyncio.Event()))
            try:
                await _first(started.wait(), following)
                await self._tunnels.settled()
                self._require_interfaces()
                capabilities.keep_needed()
                if self._viewer is not None:
                    self._viewer.start()
                self._datapath.start()
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
                self._notifier.ready(self._status())
                await self._watch(following)
            finally:
                self._notifier.stopping()
                following.cancel()
        return 1 if self._datapath.error else 0

    @property
    def _sampling(self) -> int:
        return self._config.exporter.sampling

    def _status(self) -> str:
        return f"sampling {len(self._points.links)} interfaces, one packet in {self._sampling}"

    def _new_generation(self) -> None:
        """Number the sampling of the configuration anew, and tell the exporter before a sample carries the number."""
        generation = next(reversed(self._weights), 0) % GENERATION_MAX + 1
        probability = Fraction(1, self._sampling)
        self._weights[generation] = probability
        while len(self._weights) > KNOWN_GENERATIONS:
            del self._weights[next(iter(self._weights))]
        if self._running:
            self._datapath.settle(lambda: _set_weight(self._datapath.sinks[MAIN], generation, probability))

    def _set_sampling(self) -> None:
        """Give the gates the rate, generation and budget of now."""
        generation, probability = next(reversed(self._weights.items()))
        tunnels = self._config.exporter.enable_tunnel_sampling
        self._gates.set_sampling(probability, generation, self._config.sampler.sample_budget, tunnels)

    def _new_exporter(self, options: ExporterOptions) -> Exporter:
        if not options.targets:
            options = replace(options, targets=(self._watch_flows(),))
        exporter = Exporter(options)
        self._tell_weights(exporter)
        exporter.set_obs_point_ids(self._obs_point_ids)
        exporter.set_interfaces(self._interface_names())
        return exporter

    def _tell_weights(self, exporter: Exporter) -> None:
        for generation, probability in self._weights.items():
            _set_weight(exporter, generation, probability)

    def _watch_flows(self) -> Target:
        """Without a collector, ours shows the flows on standard output; when nobody reads that, it is the end."""
        if self._viewer is None:
            loop = asyncio.get_running_loop()
            self._viewer = EmbeddedCollector(on_closed=lambda: _tell(loop, self._stop))
            if self._running:
                self._viewer.start()
        return Target(*self._viewer.address)

    def _close_viewer(self) -> None:
        if self._viewer is not None:
            self._viewer.stop()

    def _directions(self) -> tuple[int, ...]:
        options = self._config.exporter
        wanted = ((INGRESS, options.enable_input_sampling), (EGRESS, options.enable_output_sampling))
        return tuple(direction for direction, enabled in wanted if enabled)

    def _attach(self, link: Link) -> Attachment:
        self._attacher.ingress = INGRESS in self._directions()
        self._attacher.egress = EGRESS in self._directions()
        return self._attacher.attach(link.ifindex, link.name, self._config.sampler.hook, link.kind)

    async def _follow_links(self, started: asyncio.Event) -> None:
        # The first change comes when the table has all links of the dump.
        async for change in self._links.changes():
            if not started.is_set():
                self._clean_up()
            if isinstance(change, linktable.Gone):
                # Its number may be another link's by now, which then is to be attached anew.
                self._points.let_go(change.link.ifindex)
            self._update_points()
            started.set()

    def _clean_up(self) -> None:
        """Remove what a killed xdpfix left at clsact, on interfaces that are sampled now or not."""
        removed = clsact.clean_up(link.ifindex for link in self._links.table.links)
        if removed:
            log.info("removed %d filters that a killed xdpfix had left", removed)

    def _update_points(self) -> None:
        globs = self._config.sampler.interfaces
        links = self._links.table.links
        before = self._points.links
        # First: the kernel side is to know a tunnel netdev before its first packet.
        self._tunnels.set_links(links)
        self._set_obs_point_ids()
        if not self._running:
            self._tell_names()
        elif self._naming is None:
            self._naming = asyncio.get_running_loop().call_later(NAMES_SECONDS, self._tell_names)
        self._points.update(link for link in links if linktable.matches(link, globs))
        if not self._running:
            return
        self._points.tell_refusals()
        if self._points.links != before:
            # At each of a thousand changes, the same question about all links would take longer than the changes.
            if self._looking is not None:
                self._looking.cancel()
            self._looking = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._tell_overlaps)

    def _tell_overlaps(self) -> None:
        """Warn of sampled interfaces that carry the same packets, of each pair once."""
        links = self._links.table.links
        for sentence in linktable.overlaps(links, [link.ifindex for link in self._points.links]):
            if sentence not in self._warned:
                self._warned.add(sentence)
                log.warning("%s", sentence)

    def _interface_names(self) -> list[tuple[int, str, str]]:
        return [(link.ifindex, link.name, link.alias) for link in self._links.table.links]

    def _tell_names(self) -> None:
        """Tell the exporter how interfaces are called, for its options data."""
        self._naming = None
        names = self._interface_names()
        tell = self._datapath.call if self._running else self._datapath.settle
        tell(lambda: self._datapath.sinks[MAIN].set_interfaces(names))

    def _tell_metering(self, packets: dict[str, int]) -> None:
        """Tell the exporter what the gates counted, for its options data. `packets`: the kernel's counters."""
        metering = Metering(
            observed=self._points.observed_before + sum(self._gates.observed().values()),
            selected=packets["selected"],
            ignored=sum(packets[name] for name in (*KERNEL_LOSSES, "lost_ring")),
        )
        self._datapath.call(lambda: self._datapath.sinks[MAIN].set_metering(metering))

    def _set_obs_point_ids(self) -> None:
        """Tell the exporter, before an interface is attached: its first sample must have the right id."""
        ids = dict(self._config.sampler.obs_point_ids)
        pairs = [(link.ifindex, ids[link.name]) for link in self._links.table.links if link.name in ids]
        if pairs != self._obs_point_ids:
            self._obs_point_ids = pairs
            self._datapath.settle(lambda: self._datapath.sinks[MAIN].set_obs_point_ids(pairs))

    def _require_interfaces(self) -> None:
        """At the start, an interface that was named must be there, and one at least must be sampled."""
        globs = self._config.sampler.interfaces
        links = self._links.table.links
        names = ", ".join(link.name for link in links)
        literal = [glob for glob in linktable.unmatched(links, globs) if not set(glob) & set("*?[")]
        if literal and len(literal) == len(globs):
            raise StartError(f"no such interface: {', '.join(literal)}; there are {names}")
        if not self._points.links and self._points.refusals:
            raise StartError(self._points.refusals[0])
        self._running = True
        self._points.tell_refusals()
        self._tell_overlaps()
        for glob in literal:
            log.warning("interface %s is not there (there are %s): it is sampled when it comes", glob, names)
        if not self._points.links:
            self._tell_none()

    def _tell_none(self) -> None:
        globs = ", ".join(self._config.sampler.interfaces) or "a physical interface"
        names = ", ".join(link.name for link in self._links.table.links)
        log.warning("no interface is sampled yet: none of %s matches %s", names, globs)

    async def _watch(self, following: "asyncio.Task[None]") -> None:
        """Feed the watchdog while the data thread ticks, tell of losses; end with the stop, or a part's error."""
        ticks = -1
        losses = LossLog()
        interval = min(watchdog_interval() or WATCH_INTERVAL, WATCH_INTERVAL)
        while not self._stop.is_set() and self._datapath.is_alive() and not following.done():
            if self._datapath.ticks != ticks:
                ticks = self._datapath.ticks
                self._notifier.watchdog()
            samples, packets = self._gates.counters()
            losses.check(samples, time.monotonic())
            self._tell_metering(packets)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), interval)
        if following.done() and (error := following.exception()) is not None:
            raise StartError(f"cannot follow the interfaces: {error}; see the log") from error

    def _flush(self) -> None:
        """On the data thread, as its last act: every flow goes out with "forced end"."""
        for sink in self._datapath.sinks.values():
            now = time.monotonic_ns()
            sink.tick(now)
            sink.flush(FORCED_END, now, now + FLUSH_SECONDS * 10**9)
            sink.close()

    def _reload(self) -> None:
        """SIGHUP: a right configuration takes the place of the old one, a wrong one changes nothing."""
        self._notifier.reloading()
        try:
            self._apply(self._load())
        except XdpfixError as error:
            log.error("configuration not reloaded, the one before stays: %s", error)
        finally:
            self._notifier.ready(self._status())

    def _apply(self, config: Config) -> None:
        before = self._config
        old, new = before.exporter, config.exporter
        # First, since it alone may refuse: then nothing has changed.
        exporter = self._new_exporter(new) if old != new else None
        self._config = config
        for name in FIXED_OPTIONS:
            if getattr(before.sampler, name) != getattr(config.sampler, name):
                log.warning("sampler.%s changes with a restart only: the one before stays", name)
        if before.sampler.hook != config.sampler.hook or old.sampling != new.sampling:
            self._points.close()
            self._new_generation()
        self._set_sampling()
        self._tunnels.set_ports(config.sampler.tunnel_ports)
        if exporter is not None:
            self._points.set_directions(self._directions())
            self._tell_weights(exporter)
            self._datapath.call(lambda: self._swap(exporter)).add_done_callback(_log_failure)
        self._update_points()
        log.info("configuration reloaded")
        if not self._points.links and not self._points.refusals:
            self._tell_none()

    def _swap(self, exporter: Exporter) -> None:
        """On the data thread: samples taken so far go to the old exporter, which is flushed."""
        self._datapath.drain()
        now = time.monotonic_ns()
        old = self._datapath.sinks[MAIN]
        old.flush(FORCED_END, now, now + 10**9)
        counted = ExporterLedger.of(old.stats())
        # Its last messages are on their way through the sampled interfaces.
        exporter.take_over(old.endpoints())
        old.close()
        retired = self._datapath.retired
        retired[MAIN] = counted + retired[MAIN] if MAIN in retired else counted
        self._datapath.sinks[MAIN] = exporter


def _set_weight(exporter: Exporter, generation: int, probability: Fraction) -> None:
    """The main exporter takes all that the gates take."""
    exporter.set_weight(generation, probability, [main_selector(exporter.options)])


async def _first(event: Any, task: "asyncio.Task[None]") -> None:
    """Wait for the event, or raise what ended the task before."""
    waiting = asyncio.ensure_future(event)
    done, _ = await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    if task in done and (error := task.exception()) is not None:
        waiting.cancel()
        raise StartError(f"cannot read the interfaces by netlink: {error}; run as root") from error


def _tell(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set the event from another thread; the loop may be gone by then."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(event.set)


def _log_failure(future: Any) -> None:
    if future.exception() is not None:
        log.error("the reload failed: %s", future.exception())
