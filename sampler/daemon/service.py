"""The daemon: makes the parts, wires them, follows links and signals, and takes everything down again.

The asyncio main thread runs this; the data thread (sampler.daemon.datapath) owns ring and
exporters. What is sampled is kept by sampler.daemon.observation, what a reload changes is
planned in sampler.daemon.plan, what `xdpfix show` gets is put together in sampler.control.reports.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exporter.errors import ExporterError
from exporter.options import Target
from sampler.config import Config
from sampler.control import commands
from sampler.control.reports import Reports, RuleReader
from sampler.control.scrapes import Scrapes
from sampler.control.server import Command, ControlServer
from sampler.daemon.changes import changes
from sampler.daemon.datapath import Datapath
from sampler.daemon.exporters import Exporters
from sampler.daemon.flushing import Flusher
from sampler.daemon.links import Links
from sampler.daemon.losslog import LossLog
from sampler.daemon.notify import Notifier, watchdog_interval
from sampler.daemon.observation import Observation
from sampler.daemon.places import OBSERVING
from sampler.daemon.plan import plan
from sampler.errors import ConfigError, EndedError, StartError, XdpfixError
from sampler.kernel import capabilities, loader
from sampler.kernel.attach import Attacher
from sampler.kernel.gates import Gates
from sampler.kernel.maps import Maps
from sampler.kernel.ring import Ring
from sampler.kernel.tracers import Tracers
from sampler.psample.follower import PsampleFollower
from sampler.tunnels.follower import TunnelFollower

if TYPE_CHECKING:  # it shows tables, for which rich is imported: where it is needed only
    from sampler.collector.collect import EmbeddedCollector

log = logging.getLogger(__name__)

# How often the data thread is looked at, in seconds, where the service manager does not ask for more.
WATCH_INTERVAL = 1.0
# So long without a tick the data thread hangs, in seconds: it may rest for one, and a batch or a flush takes a while.
HANGING = 3.0


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
    """One running sampler with its exporters."""

    def __init__(self, config: Config, load: Callable[[], Config]) -> None:
        self._config = config
        self._load = load
        self._stop = asyncio.Event()
        self._links = Links()
        self._notifier = Notifier()
        self._viewer: EmbeddedCollector | None = None
        self._exporters = Exporters(self._watch_flows)
        self._running = False

    async def serve(self) -> int:
        """Start, stay until the stop, take down. Raises StartError."""
        options = self._config.sampler
        async with contextlib.AsyncExitStack() as stack:
            # First, because it tells whether another xdpfix runs here; its commands are filled in below.
            controls: dict[str, Command] = {}
            await stack.enter_async_context(ControlServer(options.control_socket, controls))
            maps = stack.enter_context(Maps())
            programs = loader.load(options.loader, maps)
            stack.callback(programs.close)
            self._gates = Gates(maps)
            tunnels = TunnelFollower(maps, options.tunnel_ports)
            stack.push_async_callback(tunnels.close)
            self._ring = stack.enter_context(Ring(maps, options.ring_pages))
            stack.callback(self._close_viewer)
            self._exporters.join(self._exporters.make(self._config.exporters), {})
            self._datapath = Datapath(self._ring, self._exporters.sinks, self._exporters.flush)
            self._exporters.run_on(self._datapath)
            # From here on flows can be lost: whatever fails, the thread ends, and before the ring is closed.
            stack.callback(self._datapath.psample.close)
            stack.callback(self._datapath.finish)
            self._psample = PsampleFollower(self._datapath)
            tracers = Tracers(maps, options.loader)
            if options.hook in OBSERVING:
                tracers.prepare()
            attacher = Attacher(programs, tracers)
            self._observation = Observation(
                self._config,
                self._links,
                attacher,
                self._gates,
                tunnels,
                self._exporters,
                self._psample,
                self._feed_watchdog,
            )
            self._observation.check(self._config)
            points = self._observation.points
            stack.callback(self._observation.close)
            rules = RuleReader(lambda: self._exporters.selectors, self._exporters.selected)
            reports = Reports(self._links, points, self._gates, self._ring, self._datapath, tunnels, rules)
            self._scrapes = Scrapes(reports)
            stack.callback(self._scrapes.close)
            self._scrapes.listen(self._config.metrics.listen)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
            following = asyncio.create_task(self._observation.follow(started := asyncio.Event()))
            try:
                await _first(started.wait(), following)
                await tunnels.settled()
                self._observation.require_interfaces()
                self._configure_psample()
                capabilities.keep_needed(options.hook in OBSERVING)
                if self._viewer is not None:
                    self._viewer.start()
                self._running = True
                self._datapath.start()
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
                controls.update(commands.table(self, reports.handlers, Flusher(self._datapath).flush))
                self._notifier.ready(self._status())
                await self._watch(following)
            finally:
                self._notifier.stopping()
                following.cancel()
        return 1 if self._datapath.error else 0

    def _status(self) -> str:
        what = [f"one packet in {self._config.exporter.sampling}"] if self._config.has_main else []
        what += [f"{len(self._config.rules)} flow rules"] if self._config.flow_exporters else []
        return f"sampling {len(self._observation.points.links)} interfaces, {' and '.join(what)}"

    def _watch_flows(self) -> Target:
        """Without a collector, ours shows the flows on standard output; when nobody reads that, it is the end."""
        if self._viewer is None:
            from sampler.collector.collect import EmbeddedCollector

            loop = asyncio.get_running_loop()
            self._viewer = EmbeddedCollector(on_closed=lambda: _tell(loop, self._stop))
            if self._running:
                self._viewer.start()
        return Target(*self._viewer.address)

    def _close_viewer(self) -> None:
        if self._viewer is not None:
            self._viewer.stop()

    async def _watch(self, following: "asyncio.Task[None]") -> None:
        """Feed the watchdog while the data thread ticks, tell of losses; end with the stop, or a part's error."""
        losses = LossLog()
        interval = min(watchdog_interval() or WATCH_INTERVAL, WATCH_INTERVAL)
        stopped = asyncio.ensure_future(self._stop.wait())
        while not self._stop.is_set() and self._datapath.is_alive() and not following.done():
            self._feed_watchdog()
            samples, packets = self._gates.counters()
            losses.check(samples, time.monotonic())
            self._observation.follow_metering(packets, self._datapath.statistics_due)
            with contextlib.suppress(EndedError):  # that the data thread has ended is told below
                self._psample.look()
            self._psample.tell_twice(self._links.table, self._exporters.selectors)
            # At the same moments as other timers: an idle processor wakes up once for all of them.
            moment = asyncio.get_running_loop().time()
            await asyncio.wait({stopped, following}, timeout=interval - moment % interval)
        stopped.cancel()
        if following.done() and (error := following.exception()) is not None:
            raise StartError(f"cannot follow the interfaces: {error}; see the log") from error

    def _feed_watchdog(self) -> None:
        """Where the data thread ticks. Also from what keeps the main thread for long: it works, and does not hang."""
        if time.monotonic() - self._datapath.ticked < HANGING:
            self._notifier.watchdog()

    def _reload(self) -> None:
        """SIGHUP: as `xdpfix reload`, with the log to tell of an error."""
        with contextlib.suppress(XdpfixError):
            self.reload()

    def reload(self) -> list[str]:
        """Let a right configuration take the place of the old one: what changed, a sentence each.

        Raises:
            XdpfixError: it is wrong, or cannot be started here; nothing changed.

        """
        self._notifier.reloading()
        try:
            changed = self._apply(self._load())
        except XdpfixError as error:
            log.error("configuration not reloaded, the one before stays: %s", error)
            raise
        finally:
            self._notifier.ready(self._status())
        log.info("configuration reloaded: %s", "; ".join(changed) or "nothing changed")
        return changed

    def set_sampling(self, sampling: int) -> list[str]:
        """Take one packet in this many until the next reload, as with a configuration that says so.

        ConfigError where no main exporter runs.
        """
        if not self._config.has_main:
            raise ConfigError(
                f"sampling {sampling}: there is no main exporter to set it for; add [exporter]; flow rules "
                "have a probability each"
            )
        config = replace(self._config, exporter=replace(self._config.exporter, sampling=sampling))
        changed = self._apply(config)
        if changed:
            log.info("one packet in %d is taken from now on, until the next reload or restart", sampling)
            self._notifier.ready(self._status())
        return changed

    def _configure_psample(self) -> None:
        self._psample.configure(self._config.psample, self._config.exporter.enable_tunnel_sampling)

    async def settled(self) -> None:
        """Wait until the data thread has done what it was handed."""
        await asyncio.wrap_future(self._datapath.call(lambda: None))

    def _apply(self, config: Config) -> list[str]:
        """Go by another configuration: what changed, a sentence each. StartError: nothing changed."""
        steps = plan(self._config, config)
        # First, since these may refuse.
        self._observation.check(steps.config)
        # Exporters that come count from here on.
        self._observation.tell_metering(self._gates.counters()[1])
        try:
            made = self._exporters.make(steps.added, steps.changed)
        except (ExporterError, OSError) as error:
            raise StartError(f"an exporter cannot be made: {error}") from None
        except ImportError as error:  # of what only the new configuration needs
            raise StartError(f"an exporter cannot be made: {error}; install it, then restart xdpfix") from None
        try:
            self._scrapes.listen(steps.config.metrics.listen)
        except StartError:
            for exporter in made.values():
                exporter.close()
            raise
        changed = changes(self._config, steps.config)
        self._config = steps.config
        for name in steps.restart:
            log.warning("%s changes with a restart only: the one before stays", name)
        # Those that come know each generation from its begin, those that go get all that was sampled for them.
        self._exporters.join(made, steps.changed)
        self._observation.configure(steps.config)
        self._configure_psample()
        self._exporters.leave(steps.removed)
        return changed


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
