"""Packets of tunnels that are unlike others, each with who looks into it and why the other does not.

lib.ovs_tunnel_traffic has the plain ones.
"""

import struct
from collections.abc import Callable
from typing import Any

from scapy.utils import checksum

from lib.encapsulation import (
    FIRST_GRE_KEY,
    FIRST_VNI,
    GRE,
    UDP,
    Kind,
    Outer,
    around,
    encapsulate,
    numbered,
)
from lib.oracle_frames import ipv4_udp
from lib.ovs_tunnel_frames import Taker, TunnelPackets
from lib.tunnel_frames import GENEVE_PORT, IPV4, LISP_PORT, OTV_PORT, STT_PORT, TEB, VXLAN_PORT

OUTER_PADDING = 9
TWIN = "outer class and limit"  # one that both look into: all that do not say otherwise have its contents
PLAIN = Outer(checksum=False)
TCP = 6
KINDS: tuple[Kind, ...] = ("vxlan", "gpe", "geneve", "gre")
TAG = bytes.fromhex("81006064")  # priority 3, VLAN 100
PRIORITY_TAG = bytes.fromhex("8100e000")
QINQ = bytes.fromhex("88a80007 81000008")
MPLS = bytes.fromhex("8847 000101ff")
# Geneve options of class 0x0102 and 4 octets: one that may be passed over, and one that may not.
KNOWN, CRITICAL = bytes.fromhex("0102010101020304"), bytes.fromhex("0102810101020304")
LONG, LONGER = bytes.fromhex("0102011f"), bytes.fromhex("0102021e")  # headers of 124 octets and 120: 252 in all

UNCHECKED = "xdpfix counts what is on the wire and verifies no checksum; Open vSwitch drops the packet"
RESERVED = "bits that are ignored on receipt (RFC 7348 section 5, RFC 8926 section 3.4); Open vSwitch drops the packet"
UNSUPPORTED = "Open vSwitch's userspace datapath takes apart no tunnel's packet with this outer header"
GRE_RESERVED = (
    "reserved bits of GRE: Linux ignores them and so does xdpfix; Open vSwitch drops the packet, and RFC 2784 section "
    "2.3 wants that of bits 1 to 5"
)
OPTION = "xdpfix passes over Geneve's options; Open vSwitch drops a packet with one that lies or must be understood"
PAYLOAD = "Open vSwitch takes no IP packet without Ethernet from this port"
ABSENT = "Open vSwitch's userspace datapath has no such tunnels"
PASSING = "a packet for another endpoint, which Open vSwitch passes on; xdpfix sees all tunnels that pass"
LENGTH = "the UDP length lies: xdpfix guesses nothing, Open vSwitch does not look at it"
CONTENTS = "neither Ethernet nor IP: Open vSwitch describes it by its type and length alone, xdpfix the outer packet"
VERSION = "a version that nobody knows yet: Open vSwitch does not look at it"
CONTROL = "tunnel control messages are nobody's packets; Open vSwitch describes what follows the header"

Make = Callable[[int, bytes], bytes]  # a packet by its number, around a frame
Contents = Callable[[bytes], bytes]  # what of the frame it carries


def add_oddities(packets: TunnelPackets) -> None:
    """Add them all."""
    for takers, names in ((Taker.BOTH, _BOTH), (Taker.NOBODY, _NOBODY)):
        for name, make in names.items():
            _add(packets, name, make, takers)
    for takers, table in ((Taker.XDPFIX, _XDPFIX), (Taker.OVS, _OVS)):
        for name, (make, why) in table.items():
            _add(packets, name, make, takers, why)


def _add(packets: TunnelPackets, name: str, make: Make, takers: Taker, why: str = "") -> None:
    def whole(number: int) -> tuple[bytes, bytes]:
        inner = numbered(number, ipv4_udp(100))
        return make(number, inner), inner

    packets.add(name, whole, takers=takers, why=why)


def _whole(inner: bytes) -> bytes:
    return inner


def _packet(inner: bytes) -> bytes:
    return inner[14:]


def _nothing(inner: bytes) -> bytes:
    return b""


def _vxlan(
    flags: int = 0x08,
    protocol: int = 0,
    reserved: int = 0,
    contents: Contents = _whole,
    end: int | None = None,
    **around_it: Any,
) -> Make:
    """VXLAN with a header as it is told, behind a UDP header that is told so too."""

    def make(number: int, inner: bytes) -> bytes:
        octets = struct.pack("!BxxBI", flags, protocol, (FIRST_VNI + number) << 8 | reserved) + contents(inner)
        return _udp(number, octets[:end], **{"port": VXLAN_PORT} | around_it)

    return make


def _gpe(flags: int, protocol: int, **more: Any) -> Make:
    return _vxlan(flags, protocol, port=OTV_PORT, **more)


def _geneve(
    options: bytes = b"",
    first: int = 0,
    second: int = 0,
    protocol: int = TEB,
    contents: Contents = _whole,
    end: int | None = None,
) -> Make:
    """Geneve with a header as it is told; `first` and `second` are or-ed to the first octets."""

    def make(number: int, inner: bytes) -> bytes:
        header = struct.pack("!BBHI", first | len(options) // 4, second, protocol, (FIRST_VNI + number) << 8)
        return _udp(number, (header + options + contents(inner))[:end], GENEVE_PORT)

    return make


def _gre(flags: int, protocol: int = TEB, contents: Contents = _whole, end: int | None = None) -> Make:
    """GRE of the fields that the flags say; the key is the number's, and the checksum right."""

    def make(number: int, inner: bytes) -> bytes:
        octets = struct.pack("!HH", flags, protocol) + bytes(4 if flags & 0x8000 else 0)
        octets += struct.pack("!I", FIRST_GRE_KEY + number) if flags & 0x2000 else b""
        octets += (struct.pack("!I", 7) if flags & 0x1000 else b"") + contents(inner)
        if flags & 0x8000:
            octets = octets[:4] + struct.pack("!H", checksum(octets)) + octets[6:]
        return around(number, GRE, octets[:end], PLAIN)

    return make


def _udp(
    number: int,
    payload: bytes,
    port: int,
    length: int | None = None,
    sum_: int = 0,
    outer: Outer = PLAIN,
    before: bytes = b"",
) -> bytes:
    """A UDP packet whose length and checksum may lie. `before`: an extension header behind its own number."""
    header = struct.pack("!HHHH", 54321, port, 8 + len(payload) if length is None else length, sum_)
    return around(number, before[0] if before else UDP, before[1:] + header + payload, outer)


def _in(kind: Kind, outer: Outer = PLAIN) -> Make:
    return lambda number, inner: encapsulate(kind, number, inner, outer=outer)


def _nested(kind: Kind, other: Kind) -> Make:
    """A tunnel in a tunnel."""
    return lambda n, inner: encapsulate(kind, n, numbered(n, encapsulate(other, n, inner)))


def _patched(kind: Kind, at: int, octets: bytes, outer: Outer = PLAIN) -> Make:
    """Octets changed, from the outer Ethernet header on."""

    def make(number: int, inner: bytes) -> bytes:
        frame = encapsulate(kind, number, inner, outer=outer)
        return frame[:at] + octets + frame[at + len(octets) :]

    return make


def _ip_patched(kind: Kind, at: int, octets: bytes) -> Make:
    """Octets of the outer IPv4 header changed, and its checksum made right."""

    def make(number: int, inner: bytes) -> bytes:
        frame = encapsulate(kind, number, inner, outer=PLAIN)
        header = frame[14 : 14 + at] + octets + frame[14 + at + len(octets) : 34]
        return frame[:14] + _summed(header) + frame[34:]

    return make


def _summed(header: bytes) -> bytes:
    """An IPv4 header with its checksum."""
    header = header[:10] + b"\0\0" + header[12:]
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:]


def _options(number: int, inner: bytes) -> bytes:
    """An outer IPv4 header of 24 octets: a router alert."""
    frame = _vxlan()(number, inner)
    header = b"\x46" + frame[15:16] + struct.pack("!H", len(frame) - 10) + frame[18:34] + bytes.fromhex("94040000")
    return frame[:14] + _summed(header) + frame[34:]


def _mpls(number: int, inner: bytes) -> bytes:
    frame = _vxlan()(number, inner)
    return frame[:12] + MPLS + frame[14:]


def _padded(kind: Kind, outer: Outer = PLAIN) -> Make:
    """Octets behind the outer IP packet."""
    return lambda number, inner: encapsulate(kind, number, inner, outer=outer) + bytes(OUTER_PADDING)


def _stt(number: int, inner: bytes) -> bytes:
    frame = struct.pack("!BxxxxxxxQxx", 0, FIRST_VNI + number) + inner
    tcp = struct.pack("!HHIIHHHH", 54321, STT_PORT, len(frame) << 16, 0, 0x5010, 0, 0, 0)
    return around(number, TCP, tcp + frame, PLAIN)


def _lisp(number: int, inner: bytes) -> bytes:
    return _udp(number, struct.pack("!BxxxI", 0x08, (FIRST_VNI + number) << 8) + inner[14:], LISP_PORT)


_BOTH: dict[str, Make] = {
    **{
        f"{kind} over IPv{version} in {what}": _in(kind, Outer(version, tags=tags))
        for kind in ("vxlan", "gpe", "geneve", "gre", "gre bare")
        for version in (4, 6)
        for what, tags in (("a VLAN", TAG), ("a priority tag", PRIORITY_TAG))
    },
    **{f"{other} in {kind}": _nested(kind, other) for kind in KINDS for other in KINDS},
    **{f"gre flags {flags:04x}": _gre(flags) for flags in (0x2000, 0x3000, 0xA000, 0xB000)},
    TWIN: _in("vxlan", Outer(tos=0xB9, ttl=1)),
    "outer class and limit of IPv6": _in("geneve", Outer(6, tos=0xB9, ttl=255)),
    "outer destination options": _vxlan(outer=Outer(6), before=b"\x3c\x11\0\1\4\0\0\0\0"),
    "outer atomic fragment": _vxlan(outer=Outer(6), before=b"\x2c\x11\0\0\0\0\0\0\1"),
    "padding behind the outer packet": _padded("vxlan"),
    "padding behind the outer packet of gre": _padded("gre"),
    "padding behind the outer IPv6 packet": _padded("geneve", Outer(6)),
    "from another endpoint": _in("gre", Outer(source="203.0.113.9")),
    "source port 0": _patched("vxlan", 34, b"\0\0"),
    "geneve without options": _geneve(),
    "geneve with the most options": _geneve(LONG + bytes(124) + LONGER + bytes(120)),
    "geneve with reserved bits": _geneve(KNOWN * 4, second=0x3F),
    "ethernet alone": lambda n, inner: encapsulate("vxlan", n, inner[:12] + b"\x88\xb5"),
}

_XDPFIX: dict[str, tuple[Make, str]] = {
    "outer checksum wrong": (_patched("vxlan", 24, b"\0\1"), UNCHECKED),
    "udp checksum wrong": (_vxlan(sum_=1), UNCHECKED),
    "gre checksum wrong": (_patched("gre", 38, b"\0\1"), UNCHECKED),
    "vxlan reserved bit": (_vxlan(0x48), RESERVED),
    "vxlan reserved octet": (_vxlan(reserved=1), RESERVED),
    "vxlan group policy": (_vxlan(0x88), RESERVED),
    "gpe reserved octet": (_gpe(0x0C, 3, reserved=1), RESERVED),
    "gre bit 4": (_gre(0x2800), GRE_RESERVED),
    "gre bit 6": (_gre(0x2200), GRE_RESERVED),
    "gre bit 12": (_gre(0x2008), GRE_RESERVED),
    "outer options": (_options, UNSUPPORTED),
    "outer QinQ": (_in("vxlan", Outer(tags=QINQ)), UNSUPPORTED),
    "outer MPLS": (_mpls, UNSUPPORTED),
    "geneve critical option": (_geneve(CRITICAL), OPTION),
    "geneve option length lies": (_geneve(KNOWN[:3] + b"\x1f" + KNOWN[4:]), OPTION),
    "geneve of IPv4": (_geneve(protocol=IPV4, contents=_packet), PAYLOAD),
    "gpe of IPv4 to the port of VXLAN": (_vxlan(0x0C, 1, contents=_packet), PAYLOAD),
    "stt": (_stt, ABSENT),
    "lisp": (_lisp, ABSENT),
    "for another host": (_patched("vxlan", 0, bytes.fromhex("020000000009")), PASSING),
    "for another address": (_ip_patched("gre", 16, bytes((192, 0, 2, 9))), PASSING),
}

_OVS: dict[str, tuple[Make, str]] = {
    "udp length short": (_vxlan(length=50), LENGTH),
    "udp length 0": (_vxlan(length=0), LENGTH),
    "udp length beyond": (_vxlan(length=500), LENGTH),
    "gre of MPLS": (_gre(0x2000, 0x8847, _packet), CONTENTS),
    "gre of an unknown type": (_gre(0x2000, 0x88B5, _packet), CONTENTS),
    "gpe of NSH": (_gpe(0x0C, 4), CONTENTS),
    "gpe version": (_gpe(0x1C, 3), VERSION),
    "geneve control": (_geneve(KNOWN * 2, second=0x80), CONTROL),
}

_NOBODY: dict[str, Make] = {
    "vxlan without I": _vxlan(0),
    "vxlan of nothing": _vxlan(contents=_nothing),
    "vxlan of 13 octets": _vxlan(contents=lambda inner: inner[:13]),
    "gpe control": _gpe(0x0D, 3),
    "geneve version": _geneve(first=0x40),
    "geneve of MPLS": _geneve(protocol=0x8847),
    "geneve options beyond": _geneve(first=0x3F),
    "gre routing": _gre(0x6000),
    "gre version": _gre(0x2001),
    "gre keepalive": _gre(0x2000, 0, _nothing),
    "first fragment": _ip_patched("vxlan", 6, b"\x20\0"),
    "later fragment": _ip_patched("gre", 6, b"\0\x09"),
    "another port": _vxlan(port=4790),
    **{f"vxlan cut at {end}": _vxlan(end=end) for end in range(9)},
    **{f"geneve cut at {end}": _geneve(KNOWN, end=end) for end in range(17)},
    **{f"gre cut at {end}": _gre(0x3000, end=end) for end in range(13)},
}
