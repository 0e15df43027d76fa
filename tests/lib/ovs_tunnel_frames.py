"""Packets of tunnels for Open vSwitch and xdpfix both, by number, and which packet a flow is of.

    packets = TunnelPackets()
    packets.add("ipv4 udp in vxlan", lambda number: (frame, inner))

A packet's number is in its outer and inner source addresses and in its key: lib.encapsulation. Each says who looks into
it; for the other it is what its outer headers say. lib.ovs_tunnel_traffic has the packets.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Flag

from lib.encapsulation import FIRST_GRE_KEY, FIRST_INNER, FIRST_OUTER, FIRST_VNI
from lib.flowdiff import Flow
from lib.oracle_traffic import ip_packet

NO_MAC = "00:00:00:00:00:00"
UNKNOWN = "layer 3 over IPv6"  # Open vSwitch tells neither addresses nor a key of the outer header
GRE = 2  # tunnelType


class Taker(Flag):
    """Who describes a packet by what it carries. NOBODY: not a tunnel's, or by its contents not sampled at all."""

    NOBODY = 0
    OVS = 1
    XDPFIX = 2
    BOTH = 3


@dataclass(frozen=True)
class Encapsulated:
    """A packet of a tunnel.

    Attributes:
        name: what to call its flows.
        frame: on the wire.
        inner: what it carries: a frame, or an IP packet if layer3.
        layer3: see inner.
        takers: who looks into it.
        why: if not both.
        hidden: no flow of Open vSwitch has its number.

    """

    name: str
    frame: bytes
    inner: bytes
    layer3: bool = False
    takers: Taker = Taker.BOTH
    why: str = ""
    hidden: bool = False

    @property
    def bfd(self) -> bool:
        """Whether it is BFD inside, which both look into and leave out."""
        return self.name.startswith("bfd")


@dataclass
class TunnelPackets:
    """Packets in the order of their numbers.

    Attributes:
        all: by number.
        captured: frames without, which both look into. Several are of one flow.

    """

    all: list[Encapsulated] = field(default_factory=list)
    captured: list[bytes] = field(default_factory=list)

    def add(
        self,
        name: str,
        make: Callable[[int], tuple[bytes, bytes]],
        layer3: bool = False,
        takers: Taker = Taker.BOTH,
        why: str = "",
        hidden: bool = False,
    ) -> None:
        """Add a packet that is made by its number: (frame, inner)."""
        assert (takers in (Taker.BOTH, Taker.NOBODY)) == (not why)
        self.all.append(Encapsulated(name, *make(len(self.all)), layer3, takers, why, hidden))

    def wire(self) -> list[bytes]:
        """Give the frames in the order of sending: all once, then some a second and a third time; captured ones."""
        return [
            packet.frame
            for time in range(self.times(2))
            for number, packet in enumerate(self.all)
            if time < self.times(number)
        ] + self.captured

    @staticmethod
    def times(number: int) -> int:
        """How often a packet is sent: flows have one packet to three."""
        return 1 + number % 3

    def number(self, flow: Flow) -> int | None:
        """Give the number that a flow shows in its source address, or without one in its key."""
        if flow["sourceMacAddress"] == NO_MAC:
            return None if flow["tunnelSourceIPv4Address"] is None else self.number_of_key(flow)
        address = int(str(flow["sourceMacAddress"]).replace(":", ""), 16)
        return self._valid(address - (FIRST_OUTER if self.is_outer(flow) else FIRST_INNER))

    def number_of_key(self, flow: Flow) -> int | None:
        """Give the number that a flow shows in its tunnel's key."""
        key = int(str(flow["tunnelKey"] or 0), 16)
        return self._valid(key - (FIRST_GRE_KEY if flow["tunnelType"] == GRE else FIRST_VNI))

    def _valid(self, number: int) -> int | None:
        return number if 0 <= number < len(self.all) else None

    def is_outer(self, flow: Flow) -> bool:
        """Whether a flow describes a packet by its outer headers."""
        address = int(str(flow["sourceMacAddress"]).replace(":", ""), 16)
        return FIRST_OUTER <= address < FIRST_OUTER + len(self.all)

    def name(self, flow: Flow) -> str:
        """Give the name of the packet that a flow is of, or the source address of a captured one."""
        number = self.number(flow)
        if number is not None:
            return self.all[number].name
        return UNKNOWN if flow["sourceMacAddress"] == NO_MAC else str(flow["sourceMacAddress"])

    def ip(self, flow: Flow) -> list[bytes]:
        """Give the IP packets, with padding, that a flow describes, if it does; none of captured packets."""
        number = self.number(flow)
        if number is None:
            return []
        packet = self.all[number]
        if packet.layer3 and not self.is_outer(flow):
            return [packet.inner] * self.times(number)
        found = ip_packet(packet.frame if self.is_outer(flow) else packet.inner)
        return [found] * self.times(number) if found else []
