"""The packets of tunnels that Open vSwitch and xdpfix both see: made-up contents, the same with faults, captured ones.

lib.ovs_tunnel_oddities has those whose headers are the point.
"""

import socket
from itertools import cycle, product
from pathlib import Path

from lib.encapsulation import UDP, Kind, Outer, encapsulate, numbered
from lib.oracle_frames import BFD, ORACLE_FRAMES
from lib.oracle_traffic import mutated, traffic
from lib.ovs_tunnel_frames import Taker, TunnelPackets
from lib.ovs_tunnel_oddities import add_oddities
from lib.tunnel_frames import IPV4, IPV6, TEB
from sampler._native import lib
from sampler.captures.parser import parse

L2_KINDS: tuple[Kind, ...] = ("vxlan", "gpe", "geneve", "gre", "gre bare")
L3_KINDS: tuple[Kind, ...] = ("gpe", "gre")
# Over IPv6 Open vSwitch tells nothing by which a packet without Ethernet could be found: other ones in each kind.
L3_OVER_IPV6: tuple[tuple[Kind, str], ...] = (
    ("gpe", "ipv4 tcp options"),
    ("gpe", "ipv6 udp"),
    ("gre", "ipv4 icmp"),
    ("gre", "ipv6 esp"),
)
MUTATED = 1500
PER_CAPTURE = 5
CAPTURED_NUMBER = -1  # of none of the packets
CUT = "a packet inside that is cut short or contradicts itself: xdpfix describes the outer one, which is sound"


def tunnel_packets(captures: list[Path]) -> TunnelPackets:
    """Make them all."""
    packets = TunnelPackets()
    _add_frames(packets)
    add_oddities(packets)
    _add_mutated(packets)
    # One key a kind, so that flows have several packets.
    sound = [frame for frame in traffic(captures, PER_CAPTURE) if not _is_faulty(frame) and not _is_bfd(frame)]
    packets.captured += [
        encapsulate(kind, CAPTURED_NUMBER, frame) for kind, frame in zip(cycle(L2_KINDS), sound, strict=False)
    ]
    return packets


def _add_frames(packets: TunnelPackets) -> None:
    """Every frame in every kind of tunnel over both versions of IP, and IP packets without Ethernet."""
    for kind, version, (name, frame) in product(L2_KINDS, (4, 6), ORACLE_FRAMES.items()):
        _add(packets, f"{name} in {kind} over IPv{version}", kind, version, frame)
    for kind, (name, frame) in product(L3_KINDS, ORACLE_FRAMES.items()):
        if _ethertype(frame) in (IPV4, IPV6):
            _add(packets, f"{name} in {kind} at layer 3", kind, 4, frame, layer3=True)
    for kind, name in L3_OVER_IPV6:
        _add(packets, f"{name} in {kind} at layer 3 over IPv6", kind, 6, ORACLE_FRAMES[name], layer3=True)


def _add_mutated(packets: TunnelPackets) -> None:
    """Frames with faults, the kinds of tunnels and versions of IP in turn."""
    kinds = cycle(product(L2_KINDS, (4, 6)))
    for (kind, version), frame in zip(kinds, mutated()[:MUTATED], strict=False):
        _add(packets, f"mutated in {kind} over IPv{version}: {frame.hex()}", kind, version, frame)


def _add(packets: TunnelPackets, name: str, kind: Kind, version: int, frame: bytes, layer3: bool = False) -> None:
    """Open vSwitch looks into it whatever is inside."""

    def make(number: int) -> tuple[bytes, bytes]:
        inner = frame[14:] if layer3 else numbered(number, frame)
        protocol = _ethertype(frame) if layer3 else TEB
        return encapsulate(kind, number, inner, protocol, Outer(version, checksum=number % 2 == 0)), inner

    takers, why = (Taker.OVS, CUT) if _is_faulty(frame) else (Taker.BOTH, "")
    packets.add(name, make, layer3, takers, why, hidden=layer3 and version == 6)


def _ethertype(frame: bytes) -> int:
    return int.from_bytes(frame[12:14], "big")


def _is_faulty(frame: bytes) -> bool:
    """By what the parser says of it alone, which tests/peers/test_openvswitch.py compares."""
    return bool(parse(frame).meta.flags & (lib.SAMPLE_TRUNCATED | lib.SAMPLE_MALFORMED))


def _is_bfd(frame: bytes) -> bool:
    key = parse(frame).key
    return key.ip_protocol == UDP and socket.ntohs(key.dst_port) in BFD
