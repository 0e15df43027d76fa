"""Tunnels' headers around a packet, as octets: what Open vSwitch takes apart, with right checksums.

Each packet has a number, which its outer and inner source addresses and its key all have: a flow tells which packet it
is of, whichever of the two it describes. lib.tunnel_frames has the headers that only the parser sees.
"""

import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from scapy.utils import checksum

from lib.ovs_tunnels import MAC
from lib.tunnel_frames import GENEVE_PORT, IPV4, IPV6, OTV_PORT, TEB, VXLAN_PORT

FIRST_OUTER = 0x02_00_5C_00_00_00  # locally administered
FIRST_INNER = 0x02_00_5D_00_00_00
FIRST_VNI = 0x80_00_00
FIRST_GRE_KEY = 0x9A_80_00_00

Kind = Literal["vxlan", "gpe", "geneve", "gre", "gre bare"]
SOURCE = {4: "192.0.2.1", 6: "2001:db8:ff::1"}
DESTINATION = {4: "192.0.2.2", 6: "2001:db8:ff::2"}
PORT = {"vxlan": VXLAN_PORT, "gpe": OTV_PORT, "geneve": GENEVE_PORT}
GRE, UDP = 47, 17
# Class 0x0102, types below 0x80, which whoever does not know them passes over: 4 octets, none, and 4.
OPTIONS = bytes.fromhex("0102010101020304 01020200 0102030105060708")
GPE_PROTOCOL = {IPV4: 1, IPV6: 2, TEB: 3}


@dataclass(frozen=True)
class Outer:
    """The outer headers of a packet, as far as they may vary.

    Attributes:
        version: of IP.
        source: its address; default: the one of SOURCE.
        tags: VLAN tags, ethertypes included.
        tos: type of service or traffic class.
        ttl: or hop limit.
        checksum: whether UDP has one.

    """

    version: int = 4
    source: str | None = None
    tags: bytes = b""
    tos: int = 0
    ttl: int = 64
    checksum: bool = True


def encapsulate(kind: Kind, number: int, inner: bytes, protocol: int = TEB, outer: Outer = Outer()) -> bytes:
    """Make a packet of a tunnel. `inner` is an Ethernet frame, or with another payload type an IP packet."""
    if kind in ("gre", "gre bare"):
        return around(number, GRE, gre(inner, protocol, None if kind == "gre bare" else FIRST_GRE_KEY + number), outer)
    vni = FIRST_VNI + number
    if kind == "geneve":
        header = struct.pack("!BBHI", len(OPTIONS) // 4, 0, protocol, vni << 8) + OPTIONS
    elif kind == "gpe":
        header = struct.pack("!BxxBI", 0x0C, GPE_PROTOCOL[protocol], vni << 8)
    else:
        header = struct.pack("!BxxxI", 0x08, vni << 8)
    return around(number, UDP, udp(PORT[kind], header + inner, outer), outer)


def gre(inner: bytes, protocol: int, key: int | None) -> bytes:
    """RFC 2784 and 2890: with a key, a checksum and a sequence number, or with none of them."""
    if key is None:
        return struct.pack("!HH", 0, protocol) + inner
    octets = struct.pack("!HHIII", 0xB000, protocol, 0, key, 7) + inner
    return octets[:4] + struct.pack("!H", checksum(octets)) + octets[6:]


def udp(port: int, payload: bytes, outer: Outer, source: int = 54321) -> bytes:
    """A UDP header and its payload."""
    length = 8 + len(payload)
    octets = struct.pack("!HHHH", source, port, length, 0) + payload
    if not outer.checksum:
        return octets
    sum_ = checksum(_addresses(outer) + struct.pack("!II", length, UDP) + octets)
    return octets[:6] + struct.pack("!H", sum_ or 0xFFFF) + octets[8:]


def around(number: int, protocol: int, payload: bytes, outer: Outer) -> bytes:
    """Ethernet and IP around a payload."""
    addresses = _addresses(outer)
    if outer.version == 4:
        header = struct.pack("!BBHIBBH", 0x45, outer.tos, 20 + len(payload), 0, outer.ttl, protocol, 0) + addresses
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    else:
        header = struct.pack("!IHBB", 6 << 28 | outer.tos << 20, len(payload), protocol, outer.ttl) + addresses
    ethertype = struct.pack("!H", IPV4 if outer.version == 4 else IPV6)
    macs = bytes.fromhex(MAC.replace(":", "")) + (FIRST_OUTER + number).to_bytes(6, "big")
    return macs + outer.tags + ethertype + header + payload


def _addresses(outer: Outer) -> bytes:
    source = ip_address(outer.source or SOURCE[outer.version])
    return source.packed + ip_address(DESTINATION[outer.version]).packed


def numbered(number: int, frame: bytes) -> bytes:
    """The frame with the source address of its number."""
    return frame[:6] + (FIRST_INNER + number).to_bytes(6, "big") + frame[12:]
