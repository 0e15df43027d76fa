"""The Observation Points: which links are sampled now, and their gates and attachments.

The service hands in what the link table says; this file decides what to attach and let
go, and keeps on when one link refuses.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sampler.attach import Attachment, InterfaceGoneError
from sampler.errors import XdpfixError
from sampler.gates import Gates
from sampler.linktable import Link

log = logging.getLogger(__name__)

INGRESS, EGRESS = 0, 1


def hook_names(attachment: Attachment) -> list[str]:
    """Where the programs of an interface sit: "ingress tcx", "egress clsact" …."""
    return [f"{hook.direction} {hook.kind}" for hook in attachment.hooks]


@dataclass(frozen=True)
class Point:
    """One sampled interface."""

    link: Link
    directions: tuple[int, ...]
    attachment: Attachment


@dataclass(frozen=True)
class Refusal:
    """One interface that should be sampled and cannot be, and the sentence that says why."""

    link: Link
    why: str


class ObservationPoints:
    """Attaches to links and lets them go. Belongs to the main thread.

    Args:
        attach: attaches the programs to a link, for example Attacher.attach with hook and directions bound.
        gates: where the gates of a link are opened before, and closed after.
        directions: enum direction values that are sampled.

    """

    def __init__(self, attach: Callable[[Link], Attachment], gates: Gates, directions: tuple[int, ...]) -> None:
        self._attach = attach
        self._gates = gates
        self._directions = directions
        self._points: dict[int, Point] = {}
        self._refused: dict[int, Refusal] = {}
        self._told: dict[int, str] = {}
        self.observed_before = 0
        """Wire packets observed on interfaces that were let go."""
        self._kept: dict[int, tuple[str, Counter[int]]] = {}  # of observed_before, by ifindex while it is there

    def set_directions(self, directions: tuple[int, ...]) -> None:
        """Sample these directions; what is attached otherwise is let go, for update() to take again."""
        if directions != self._directions:
            self.close()
            self._directions = directions

    def update(self, wanted: Iterable[Link]) -> None:
        """Sample exactly these links: attach to new ones, let go of those that are not among them."""
        links = {link.ifindex: link for link in wanted}
        for ifindex in self._points.keys() - links.keys():
            self.let_go(ifindex)
        self._refused = {ifindex: refusal for ifindex, refusal in self._refused.items() if ifindex in links}
        for ifindex, link in links.items():
            point = self._points.get(ifindex)
            if point is None:
                self._take(link)
            elif point.link != link:
                self._points[ifindex] = Point(link, point.directions, point.attachment)

    def _take(self, link: Link) -> None:
        try:
            for direction in self._directions:
                self._gates.open(link.ifindex, direction, l3=link.l3, tunnel=link.bare)
            attachment = self._attach(link)
        except InterfaceGoneError:
            # It went between the event and the attaching: netlink tells us next.
            self._close_gates(link.ifindex)
            return
        except XdpfixError as error:
            self._close_gates(link.ifindex)
            self._refused[link.ifindex] = Refusal(link, str(error))
            return
        self._refused.pop(link.ifindex, None)
        self._points[link.ifindex] = Point(link, self._directions, attachment)
        log.info("sampling %s (%s)", link.name, ", ".join(hook_names(attachment)))
        for warning in attachment.warnings:
            log.warning("%s", warning)

    def let_go(self, ifindex: int) -> None:
        """Detach from a link; nothing happens when it is not sampled."""
        point = self._points.pop(ifindex, None)
        if point is None:
            return
        point.attachment.close()
        _, kept = self._kept.get(ifindex, ("", Counter()))
        self._kept[ifindex] = point.link.name, kept + self._close_gates(ifindex)
        log.info("let go of %s", point.link.name)

    def forget(self, ifindex: int) -> None:
        """Detach from a link that is gone: another one may have its number soon."""
        self.let_go(ifindex)
        self._kept.pop(ifindex, None)

    def _close_gates(self, ifindex: int) -> Counter[int]:
        """Close the gates of all directions; what they have observed."""
        observed = Counter({direction: self._gates.close(ifindex, direction) for direction in self._directions})
        self.observed_before += observed.total()
        return observed

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
                    "hooks": hook_names(point.attachment),
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
