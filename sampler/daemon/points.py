"""The Observation Points: which links are sampled now, and their gates and attachments.

The service hands in what the link table says; this file decides what to attach and let
go, and keeps on when one link refuses.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from sampler.daemon.linktable import Link
from sampler.errors import XdpfixError
from sampler.kernel.attach import Attachment, InterfaceGoneError
from sampler.kernel.gates import Gates

log = logging.getLogger(__name__)

INGRESS, EGRESS = 0, 1


@dataclass(frozen=True)
class Point:
    """One sampled interface: what is attached to it, by enum direction."""

    link: Link
    attachments: Mapping[int, Attachment]

    @property
    def hooks(self) -> list[str]:
        """Where the programs sit: "ingress tcx", "egress clsact" …."""
        return [str(self.attachments[direction].hook) for direction in sorted(self.attachments)]


@dataclass(frozen=True)
class Refusal:
    """One interface that should be sampled and cannot be, and the sentence that says why."""

    link: Link
    why: str


class ObservationPoints:
    """Attaches to links and lets them go. Belongs to the main thread.

    Args:
        attach: attaches the program of one direction (enum direction) to a link, for example Attacher.attach with the
            hook bound.
        gates: where the gates of a link are opened before, and closed after.
        alive: called after each step: the kernel takes some 15 ms for one, and half a minute for a thousand links.

    """

    def __init__(
        self, attach: Callable[[Link, int], Attachment], gates: Gates, alive: Callable[[], None] = lambda: None
    ) -> None:
        self._attach = attach
        self._gates = gates
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
            if point is None:
                self._take(link, directions, {})
                continue
            kept = {way: attachment for way, attachment in point.attachments.items() if way in directions}
            for way in point.attachments.keys() - kept.keys():
                self._detach(link, way, point.attachments[way])
            if kept.keys() != set(directions):
                self._take(link, directions, kept)
            elif point.link != link or kept.keys() != point.attachments.keys():
                self._points[link.ifindex] = Point(link, kept)

    def _take(self, link: Link, directions: Collection[int], there: Mapping[int, Attachment]) -> None:
        """Attach what is missing; where one direction is refused, the link is not sampled at all."""
        attachments = dict(there)
        self._points.pop(link.ifindex, None)
        try:
            # All gates before the first program: a packet may pass both.
            for way in directions:
                self._gates.open(link.ifindex, way, l3=link.l3, tunnel=link.bare)
            for way in sorted(set(directions) - there.keys()):
                attachments[way] = self._attach(link, way)
                self._alive()
        except XdpfixError as error:
            for way in directions:
                self._detach(link, way, attachments.get(way))
            # One that went between the event and the attaching: netlink tells us next.
            if not isinstance(error, InterfaceGoneError):
                self._refused[link.ifindex] = Refusal(link, str(error))
            return
        self._refused.pop(link.ifindex, None)
        point = self._points[link.ifindex] = Point(link, attachments)
        log.info("sampling %s (%s)", link.name, ", ".join(point.hooks))
        for way in attachments.keys() - there.keys():
            for warning in attachments[way].warnings:
                log.warning("%s", warning)

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
            rows.append(
                {
                    "ifindex": ifindex,
                    "name": point.link.name,
                    "hooks": point.hooks,
                    "packets_in": observed.get((ifindex, INGRESS), 0),
                    "packets_out": observed.get((ifindex, EGRESS), 0),
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
