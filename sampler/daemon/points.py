"""The Observation Points: which links are sampled now, and their gates and attachments.

The service hands in what the link table says; this file decides what to attach and let
go, and keeps on when one link refuses. What it says of a foreign XDP program that comes
and goes is in sampler.daemon.beside.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from sampler.daemon.beside import Beside
from sampler.daemon.linktable import Link
from sampler.daemon.places import EGRESS, INGRESS, Places
from sampler.errors import StartError, XdpfixError
from sampler.kernel.attach import TC, Attachment, Hook, InterfaceGoneError, Place
from sampler.kernel.gates import Gates
from sampler.kernel.tracer import ProgramGoneError
from sampler.kernel.tracerrefusal import TracerRefusedError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """One sampled interface: by enum direction what is attached to it, and where that was to be."""

    link: Link
    attachments: Mapping[int, Attachment]
    places: Mapping[int, Place]

    @property
    def hooks(self) -> list[Hook]:
        """Where the programs sit, by direction."""
        return [self.attachments[direction].hook for direction in sorted(self.attachments)]


@dataclass(frozen=True)
class Refusal:
    """One interface that should be sampled and cannot be, and the sentence that says why."""

    link: Link
    why: str


class ObservationPoints:
    """Attaches to links and lets them go. Belongs to the main thread.

    Args:
        attach: attaches the program of one direction (enum direction) to a link, at a place.
        gates: where the gates of a link are opened once its programs are attached, and closed after.
        places: where a link's programs are to be.
        alive: called after each step: the kernel takes some 15 ms for one, and half a minute for a thousand links.

    """

    def __init__(
        self,
        attach: Callable[[Link, int, Place], Attachment],
        gates: Gates,
        places: Places,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._attach = attach
        self._gates = gates
        self._places = places
        self._beside = Beside(places)
        self._alive = alive
        self._points: dict[int, Point] = {}
        self._refused: dict[int, Refusal] = {}
        self._told: dict[int, str] = {}
        self.observed_before = 0
        """Wire packets observed on interfaces that were let go."""
        self._kept: dict[int, tuple[str, Counter[int]]] = {}  # of observed_before, by ifindex while it is there

    def update(self, wanted: Mapping[Link, Collection[int]]) -> None:
        """Sample exactly these links in these directions; what is attached and still wanted is not touched."""
        links = {link.ifindex: link for link in wanted}
        for ifindex in self._points.keys() - links.keys():
            self.let_go(ifindex)
        self._refused = {ifindex: refusal for ifindex, refusal in self._refused.items() if ifindex in links}
        for link, directions in wanted.items():
            point = self._points.get(link.ifindex)
            places = {way: self._places.of(link, way) for way in sorted(directions)}
            self._beside.tell_restless(link)
            if point is None or point.places != places:
                self._take(link, places, point)
            elif point.link != link:
                self._points[link.ifindex] = replace(point, link=link)

    def _take(self, link: Link, places: Mapping[int, Place], before: Point | None) -> None:
        """Attach what is missing; where one direction is refused, the link is not sampled at all."""
        self._points.pop(link.ifindex, None)
        old, told = (before.attachments, before.places) if before is not None else ({}, {})
        hooks = {way: attachment.hook for way, attachment in old.items()}
        there = dict(old)
        for way in old.keys() - places.keys():
            self._detach(link, way, there.pop(way))
        try:
            for way, place in places.items():
                if way not in there or told[way] != place:
                    there[way] = self._put(link, way, place, there.get(way))
            # What is counted begins with the gates, when all programs are in place: a packet may pass both.
            new = [way for way in places if there[way] is not old.get(way)]
            for way in new:
                observed = there[way].hook.observed
                self._gates.open(link.ifindex, way, l3=link.l3, tunnel=link.bare, observed=observed)
        except XdpfixError as error:
            for way in places:
                self._detach(link, way, there.get(way))
            # One that went between the event and the attaching: netlink tells us next.
            if not isinstance(error, InterfaceGoneError):
                self._refused[link.ifindex] = Refusal(link, str(error))
            return
        self._refused.pop(link.ifindex, None)
        point = self._points[link.ifindex] = Point(link, there, places)
        if {way: attachment.hook for way, attachment in there.items()} != hooks:
            log.info("sampling %s (%s)", link.name, ", ".join(map(str, point.hooks)))
        for way in new:
            self._beside.tell_moved(link, hooks.get(way), there[way].hook)
            self._beside.warn(link, there[way].warnings)

    def _put(self, link: Link, direction: int, place: Place, there: Attachment | None) -> Attachment:
        """Attach at a place, in place of what is there. Where a foreign program cannot be observed, that is at tc.

        Not twice at a time: an open gate counts at tc and XDP whatever is attached. Only the tracer of a program
        counts nothing before the gate says so, and is made while tc still counts.
        """
        kept = there if there is not None and there.hook.at_tc and place.kind in ("tc", "observe") else None
        if there is not None and kept is None:
            # First: nothing here may keep alive a program that has left its interface.
            self._detach(link, direction, there)
        beside = ""
        if place.program is not None:
            try:
                made = self._attach(link, direction, place)
                self._alive()
            except ProgramGoneError:
                # The next look at the link tells what is there now.
                log.debug("%s: XDP program %d went before it was observed", link.name, place.program.id)
            except StartError as error:
                reason = error.reason if isinstance(error, TracerRefusedError) else str(error)
                beside = self._beside.refused(link, place.program, reason)
            else:
                if kept is not None:
                    self._detach(link, direction, kept)
                return made
            place = TC
        if kept is None:
            kept = self._attach(link, direction, place)
            self._alive()
        kept.hook = replace(kept.hook, beside=beside)
        return kept

    def let_go(self, ifindex: int) -> None:
        """Detach from a link; nothing happens when it is not sampled."""
        point = self._points.pop(ifindex, None)
        if point is None:
            return
        for way, attachment in point.attachments.items():
            self._detach(point.link, way, attachment)
        log.info("let go of %s", point.link.name)

    def forget(self, ifindex: int) -> None:
        """Detach from a link that is gone: another one may have its number soon."""
        self.let_go(ifindex)
        self._kept.pop(ifindex, None)
        self._places.forget(ifindex)
        self._beside.forget(ifindex)

    def _detach(self, link: Link, direction: int, attachment: Attachment | None) -> None:
        if attachment is not None:
            attachment.close()
            self._alive()
        observed = self._gates.close(link.ifindex, direction)
        _, kept = self._kept.get(link.ifindex, ("", Counter()))
        self._kept[link.ifindex] = link.name, kept + Counter({direction: observed})
        self.observed_before += observed

    def observed(self) -> dict[tuple[str, int], int]:
        """Wire packets by (interface name, direction) since the interface came, with the times it was let go for."""
        observed: Counter[tuple[str, int]] = Counter()
        for name, counts in self._kept.values():
            observed.update({(name, direction): count for direction, count in counts.items()})
        for (ifindex, direction), count in self._gates.observed().items():
            if ifindex in self._points:
                observed[self._points[ifindex].link.name, direction] += count
        return dict(observed)

    @property
    def observed_gone(self) -> int:
        """Wire packets observed on interfaces that are gone."""
        return self.observed_before - sum(counts.total() for _, counts in self._kept.values())

    def rows(self) -> list[dict[str, object]]:
        """One dict a sampled or refused interface, for `xdpfix show interfaces`."""
        observed = self._gates.observed()
        rows: list[dict[str, object]] = []
        for ifindex, point in sorted(self._points.items()):
            # What moves from hook to hook counts on.
            _, kept = self._kept.get(ifindex, ("", Counter[int]()))
            rows.append(
                {
                    "ifindex": ifindex,
                    "name": point.link.name,
                    "hooks": self._beside.shown(point.link, point.hooks),
                    "packets_in": observed.get((ifindex, INGRESS), 0) + kept[INGRESS],
                    "packets_out": observed.get((ifindex, EGRESS), 0) + kept[EGRESS],
                    "state": "sampled",
                }
            )
        for ifindex, refusal in sorted(self._refused.items()):
            rows.append({"ifindex": ifindex, "name": refusal.link.name, "hooks": [], "state": refusal.why})
        return rows

    @property
    def links(self) -> list[Link]:
        """The links that are sampled now."""
        return [point.link for point in self._points.values()]

    @property
    def ingress(self) -> list[int]:
        """The numbers of the links that are sampled at ingress now."""
        return [ifindex for ifindex, point in self._points.items() if INGRESS in point.attachments]

    @property
    def refusals(self) -> list[str]:
        """Why links that should be sampled are not."""
        return [refusal.why for refusal in self._refused.values()]

    def tell_refusals(self) -> None:
        """Log why links are not sampled. One that is refused is tried at each of its events: it is told once."""
        for ifindex, refusal in self._refused.items():
            if self._told.get(ifindex) != refusal.why:
                log.error("not sampled: %s", refusal.why)
        self._told = {ifindex: refusal.why for ifindex, refusal in self._refused.items()}

    def close(self) -> None:
        """Let go of all."""
        for ifindex in list(self._points):
            self.let_go(ifindex)
