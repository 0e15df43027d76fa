"""What is sampled now: follows the links, keeps kernel side and exporters at what the configuration wants of them.

    links → wanted → a generation told to the exporters → the kernel's selection → programs attached

in this order, so that no sample carries a generation that is not known, and no packet passes a program before the
gate knows the rules.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from exporter.status import Metering
from sampler.config import Config
from sampler.control.ledger import KERNEL_LOSSES
from sampler.daemon import linktable
from sampler.daemon.exporters import Exporters
from sampler.daemon.links import Links, together
from sampler.daemon.linktable import Change, Link
from sampler.daemon.places import INGRESS, Places, masters
from sampler.daemon.points import ObservationPoints
from sampler.daemon.programwatch import ProgramWatch
from sampler.daemon.wanted import Wanted, missing, wanted
from sampler.errors import StartError
from sampler.kernel import clsact
from sampler.kernel.attach import Attacher, Attachment, Place
from sampler.kernel.gates import Gates
from sampler.kernel.tracerrefusal import refusal
from sampler.psample.follower import PsampleFollower
from sampler.tunnels.follower import TunnelFollower

log = logging.getLogger(__name__)

# So long the sampled interfaces must stay as they are before it is looked for what they have in common, in seconds.
QUIET_SECONDS = 0.5
# Names of interfaces that come and go are told to the exporters this often at most, in seconds.
NAMES_SECONDS = 0.5
# What the gates counted is told from so long before statistics on: twice as long as from one look at it to the next.
STATISTICS_AHEAD = 2.0


class Observation:
    """Belongs to the main thread. `alive` is called again and again while it works."""

    def __init__(
        self,
        config: Config,
        links: Links,
        attacher: Attacher,
        gates: Gates,
        tunnels: TunnelFollower,
        exporters: Exporters,
        psample: PsampleFollower,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._links = links
        self._attacher = attacher
        self._gates = gates
        self._tunnels = tunnels
        self._exporters = exporters
        self._psample = psample
        self._places = Places(attacher.own_xdp)
        self._places.hook = config.sampler.hook
        self.points = ObservationPoints(self._attach, gates, self._places, alive)
        self._programs = ProgramWatch(links.table, self._places, lambda: self.points.ingress)
        self._selected: Wanted | None = None
        self._ignored = 0  # packets, as they were told
        self._warned: set[str] = set()
        self._missing: set[str] = set()
        self._looking: asyncio.TimerHandle | None = None  # for interfaces that carry the same packets
        self._naming: asyncio.TimerHandle | None = None  # for names of interfaces
        self._running = False  # until then a refusal ends the start, with its sentence

    def _attach(self, link: Link, direction: int, place: Place) -> Attachment:
        way = "ingress" if direction == INGRESS else "egress"
        return self._attacher.attach(link.ifindex, link.name, way, place, link.kind)

    async def follow(self, started: asyncio.Event) -> None:
        """Follow the links and their programs; the event is set when all that were there are sampled or refused."""
        both = (self._follow_links(started), self._follow_programs(started))
        following = [asyncio.create_task(task) for task in both]
        try:
            # Neither ends but by an error, which is raised here.
            for task in (await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED))[0]:
                task.result()
        finally:
            for task in following:
                task.cancel()

    async def _follow_programs(self, started: asyncio.Event) -> None:
        def changed(changes: list[Change]) -> None:
            if changes or self._places.calmed():
                self.update()

        await started.wait()
        await self._programs.follow(changed)

    async def _follow_links(self, started: asyncio.Event) -> None:
        # The first change comes when the table has all links of the dump.
        async for changes in together(self._links.changes()):
            if not started.is_set():
                self._clean_up()
            for change in changes:
                if isinstance(change, linktable.Gone):
                    # Its number may be another link's by now, which then is to be attached anew.
                    self.points.forget(change.link.ifindex)
            self.update()
            started.set()

    def _clean_up(self) -> None:
        """Remove what a killed xdpfix left at clsact, on interfaces that are sampled now or not."""
        removed = clsact.clean_up(link.ifindex for link in self._links.table.links)
        if removed:
            log.info("removed %d filters that a killed xdpfix had left", removed)

    def check(self, config: Config) -> None:
        """StartError where the kernel cannot go by this configuration."""
        try:
            wanted(config, self._links.table.links)[0].selection()
        except ValueError as error:
            raise StartError(f"flow_exporter: {error}; have fewer rules") from None

    def configure(self, config: Config) -> None:
        """Go by another configuration."""
        before, self._config = self._config, config
        self._places.hook = config.sampler.hook
        if self._places.observing and before.sampler.hook != config.sampler.hook:
            self._tell_refusal()
            # Nobody has looked so far, and what there is may be our own.
            self._programs.look(self.points.ingress)
        self._tunnels.set_ports(config.sampler.tunnel_ports)
        self.update()
        if not self.points.links and not self.points.refusals:
            self._tell_none()

    def update(self) -> None:
        """Bring everything to what is wanted of the links of now."""
        links = self._links.table.links
        before = self.points.links
        self._places.masters = masters(links)
        # First: the kernel side is to know a tunnel netdev before its first packet.
        self._tunnels.set_links(links)
        self._psample.set_links(links, self._tunnels.table.port_types)
        # The first sample of an interface must have the right id.
        ids = dict(self._config.sampler.obs_point_ids)
        self._exporters.set_obs_point_ids([(link.ifindex, ids[link.name]) for link in links if link.name in ids])
        if not self._running:
            self._tell_names()
        elif self._naming is None:
            self._naming = asyncio.get_running_loop().call_later(NAMES_SECONDS, self._tell_names)
        selected, directions = wanted(self._config, links)
        if selected != self._selected:
            self._select(selected)
        self.points.update(directions)
        if not self._running:
            return
        self._tell_missing()
        self.points.tell_refusals()
        if self.points.links != before:
            # At each of a thousand changes, the same question about all links would take longer than the changes.
            if self._looking is not None:
                self._looking.cancel()
            self._looking = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._tell_overlaps)

    def _tell_names(self) -> None:
        """Tell the exporters how interfaces are called, for their options data."""
        self._naming = None
        self._exporters.set_interfaces([(link.ifindex, link.name, link.alias) for link in self._links.table.links])

    def follow_metering(self, packets: dict[str, int], statistics_due: float) -> None:
        """Tell the exporters ahead of their next statistics (by time.monotonic()), and when something was lost.

        To read the gates of hundreds of interfaces takes milliseconds, and nobody asks for it in between.
        """
        if _ignored(packets) != self._ignored or statistics_due - time.monotonic() < STATISTICS_AHEAD:
            self.tell_metering(packets)

    def tell_metering(self, packets: dict[str, int]) -> None:
        """Tell the exporters what the gates counted. `packets`: the kernel's counters in wire packets."""
        observed = None
        if not self._config.flow_exporters:  # else there are interfaces that the main selector does not see
            observed = self.points.observed_before + sum(self._gates.observed().values())
        self._ignored = _ignored(packets)
        self._exporters.set_metering(Metering(observed, packets["selected"], self._ignored))

    def _select(self, selected: Wanted) -> None:
        """Begin a generation: exporters know it before the kernel goes by it."""
        selection = selected.selection()
        if self._selected is not None and self._selected.main_selector != selected.main_selector:
            # Another main selector begins to count here.
            self.tell_metering(self._gates.counters()[1])
        generation = self._exporters.tell(selected.selectors, selection)
        self._gates.set_selection(generation, selection)
        self._selected = selected

    def _tell_missing(self) -> None:
        """Warn of interfaces that rules name and that are not there, once until they come."""
        now = missing(self._config, self._links.table.links)
        for name in now.keys() - self._missing:
            log.warning('in_port=%s: there is no such interface: "%s" matches nothing until one comes', name, now[name])
        self._missing = set(now)

    def _tell_overlaps(self) -> None:
        """Warn of sampled interfaces that carry the same packets, of each pair once."""
        links = self._links.table.links
        for sentence in linktable.overlaps(links, [link.ifindex for link in self.points.links]):
            if sentence not in self._warned:
                self._warned.add(sentence)
                log.warning("%s", sentence)

    def require_interfaces(self) -> None:
        """At the start, an interface that was named must be there, and one at least must be sampled. StartError."""
        globs = self._globs
        links = self._links.table.links
        names = ", ".join(link.name for link in links)
        literal = [glob for glob in linktable.unmatched(links, globs) if not set(glob) & set("*?[")]
        if literal and len(literal) == len(globs):
            raise StartError(f"no such interface: {', '.join(literal)}; there are {names}")
        if not self.points.links and self.points.refusals:
            raise StartError(self.points.refusals[0])
        self._running = True
        self._tell_refusal()
        self.points.tell_refusals()
        self._tell_missing()
        self._tell_overlaps()
        for glob in literal:
            log.warning("interface %s is not there (there are %s): it is sampled when it comes", glob, names)
        if not self.points.links:
            self._tell_none()

    def _tell_refusal(self) -> None:
        """Whoever asks for it hears at once that nothing can be observed here, also where there is nothing yet."""
        if self._config.sampler.hook == "observe" and (reason := refusal()) is not None:
            log.warning('hook = "observe": no XDP program can be observed here: %s', reason)

    def close(self) -> None:
        """Let go of all that is attached."""
        self.points.close()
        self._programs.close()

    @property
    def _globs(self) -> list[str]:
        """All globs of interfaces, each once."""
        return list(dict.fromkeys(glob for globs in self._config.sampled_globs for glob in globs))

    def _tell_none(self) -> None:
        if self._config.psample and not self._config.sampled_globs:
            return
        physical = () in self._config.sampled_globs
        globs = ", ".join([*self._globs, *["a physical interface"] * physical])
        names = ", ".join(link.name for link in self._links.table.links)
        log.warning("no interface is sampled yet: none of %s matches %s", names, globs or "any rule")


def _ignored(packets: dict[str, int]) -> int:
    """Packets that were lost on their way to a flow, of the kernel's counters."""
    return sum(packets[name] for name in (*KERNEL_LOSSES, "lost_ring"))
