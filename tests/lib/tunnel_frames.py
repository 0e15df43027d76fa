"""Tunnel packets for the parser, by name: whole frames of every kind, octet by octet where scapy has no layer.

`FRAMES` are described by their inner packet; `FALLBACKS` by their outer one, with the cause (enum tunnel_miss).
"""

import struct
from dataclasses import dataclass

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Padding, Raw

from lib.frames import ETHER
from sampler._native import ffi, lib

VXLAN_PORT, OTV_PORT, GENEVE_PORT, LISP_PORT, STT_PORT = 4789, 8472, 6081, 4341, 7471
TEB, IPV4, IPV6 = 0x6558, 0x0800, 0x86DD
VNI = 0x123456

OUTER4 = IP(src="192.0.2.1", dst="192.0.2.2", ttl=64, id=0)
OUTER6 = IPv6(src="2001:db8:ff::1", dst="2001:db8:ff::2")
MAC = Ether(src="02:00:00:00:01:01", dst="02:00:00:00:01:02")
IN4 = IP(src="198.51.100.1", dst="198.51.100.2", tos=0x28, ttl=61)
IN6 = IPv6(src="2001:db8::1", dst="2001:db8:1::2", tc=0x28, fl=0x12345, hlim=61)
TCP4 = IN4 / TCP(sport=1024, dport=80, flags="SEC") / b"payload"
UDP6 = IN6 / UDP(sport=53, dport=5353) / b"x"


def vxlan(payload: Packet, flags: int = 0x08, protocol: int = 0, vni: int = VNI) -> Packet:
    """RFC 7348, and VXLAN-GPE by flags and protocol."""
    return Raw(struct.pack("!BHBI", flags, 0, protocol, vni << 8) + bytes(payload))


def geneve(payload: Packet, protocol: int = TEB, options: bytes = b"", first: int = 0, second: int = 0) -> Packet:
    """RFC 8926; `first` and `second` are or-ed to the first octets (version, O and C)."""
    return Raw(struct.pack("!BBHI", first | len(options) // 4, second, protocol, VNI << 8) + options + bytes(payload))


def gre(
    payload: Packet,
    protocol: int = TEB,
    key: int | None = None,
    checksum: bool = False,
    sequence: bool = False,
    flags: int = 0,
) -> Packet:
    """RFC 2784 and 2890; the checksum is not reckoned."""
    flags |= 0x8000 * checksum | 0x2000 * (key is not None) | 0x1000 * sequence
    octets = struct.pack("!HH", flags, protocol) + b"\xbe\xef\0\0" * checksum
    if key is not None:
        octets += struct.pack("!I", key)
    return Raw(octets + struct.pack("!I", 7) * sequence + bytes(payload))


def lisp(payload: Packet, flags: int = 0x08) -> Packet:
    """RFC 9300 section 5.3, with an instance id."""
    return Raw(struct.pack("!BBHI", flags, 0, 0, VNI << 8) + bytes(payload))


def stt(payload: Packet, context: int = 0x1122334455667788, tag: int = 0, version: int = 0) -> bytes:
    """A whole STT frame (draft-davie-stt), to be cut into segments."""
    return struct.pack("!BBBBHHQH", version, 0, 0, 0, 0, tag, context, 0) + bytes(payload)


def segment(frame: bytes, begin: int = 0, end: int | None = None, total: int | None = None) -> Packet:
    """A TCP segment of an STT frame: the sequence number is the frame's length and the offset in it."""
    length = len(frame) if total is None else total
    return TCP(sport=54321, dport=STT_PORT, flags="A", seq=length << 16 | begin) / Raw(frame[begin:end])


def udp(port: int) -> Packet:
    return UDP(sport=54321, dport=port)


OVER_UDP4 = ETHER / OUTER4
OVER_UDP6 = ETHER / OUTER6
IN_ETHER = MAC / TCP4
GRE4 = ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=47)
GRE6 = ETHER / IPv6(src="2001:db8:ff::1", dst="2001:db8:ff::2", nh=47)
ERSPAN_II = struct.pack("!HHI", 0x1000 | 5, 0x0800 | 99, 0)
ERSPAN_III = struct.pack("!HHIHBB", 0x2000 | 5, 99, 0, 0, 0, 1) + bytes(8)
LONG_OPTIONS = bytes(252)


@dataclass(frozen=True)
class Tunnelled:
    """A frame, what it carries (as a frame, or from the IP header on), and the tunnel's type and key."""

    frame: Packet
    inner: Packet
    type: int
    key: int = VNI
    l3: bool = False
    tag: int | None = None


FRAMES = {
    "vxlan": Tunnelled(OVER_UDP4 / udp(VXLAN_PORT) / vxlan(IN_ETHER), IN_ETHER, lib.TUNNEL_VXLAN),
    "vxlan other port": Tunnelled(OVER_UDP4 / udp(OTV_PORT) / vxlan(MAC / UDP6), MAC / UDP6, lib.TUNNEL_VXLAN),
    "vxlan ipv6": Tunnelled(OVER_UDP6 / udp(VXLAN_PORT) / vxlan(IN_ETHER), IN_ETHER, lib.TUNNEL_VXLAN),
    "vxlan arp": Tunnelled(OVER_UDP4 / udp(VXLAN_PORT) / vxlan(MAC / ARP()), MAC / ARP(), lib.TUNNEL_VXLAN),
    "vxlan in qinq": Tunnelled(
        ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=8) / OUTER4 / udp(VXLAN_PORT) / vxlan(IN_ETHER), IN_ETHER, lib.TUNNEL_VXLAN
    ),
    "vxlan in mpls": Tunnelled(
        ETHER / MPLS(label=16, s=1) / OUTER4 / udp(VXLAN_PORT) / vxlan(IN_ETHER), IN_ETHER, lib.TUNNEL_VXLAN
    ),
    "vxlan padded": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(IN_ETHER) / Padding(b"\0" * 9), IN_ETHER, lib.TUNNEL_VXLAN
    ),
    "vxlan inner padded": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(IN_ETHER / Padding(b"\0" * 9)),
        IN_ETHER / Padding(b"\0" * 9),
        lib.TUNNEL_VXLAN,
    ),
    "vxlan group policy": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(IN_ETHER, flags=0x88), IN_ETHER, lib.TUNNEL_VXLAN
    ),
    "vxlan inner qinq": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(MAC / Dot1AD(vlan=100) / Dot1Q(vlan=200, prio=3) / UDP6),
        MAC / Dot1AD(vlan=100) / Dot1Q(vlan=200, prio=3) / UDP6,
        lib.TUNNEL_VXLAN,
    ),
    "vxlan inner fragment": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(MAC / IP(frag=5, proto=17) / (b"x" * 32)),
        MAC / IP(frag=5, proto=17) / (b"x" * 32),
        lib.TUNNEL_VXLAN,
    ),
    "vxlan in vxlan": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(OVER_UDP6 / udp(VXLAN_PORT) / vxlan(IN_ETHER, vni=9)),
        OVER_UDP6 / udp(VXLAN_PORT) / vxlan(IN_ETHER, vni=9),
        lib.TUNNEL_VXLAN,
    ),
    "vxlan-gpe ipv4": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(TCP4, flags=0x0C, protocol=1), TCP4, lib.TUNNEL_VXLAN, l3=True
    ),
    "vxlan-gpe ipv6": Tunnelled(
        OVER_UDP6 / udp(VXLAN_PORT) / vxlan(UDP6, flags=0x0C, protocol=2), UDP6, lib.TUNNEL_VXLAN, l3=True
    ),
    "vxlan-gpe ethernet": Tunnelled(
        OVER_UDP4 / udp(VXLAN_PORT) / vxlan(IN_ETHER, flags=0x0C, protocol=3), IN_ETHER, lib.TUNNEL_VXLAN
    ),
    "geneve": Tunnelled(OVER_UDP4 / udp(GENEVE_PORT) / geneve(IN_ETHER), IN_ETHER, lib.TUNNEL_GENEVE),
    "geneve options": Tunnelled(
        OVER_UDP4 / udp(GENEVE_PORT) / geneve(IN_ETHER, options=bytes(16), second=0x40), IN_ETHER, lib.TUNNEL_GENEVE
    ),
    "geneve ipv6 longest options": Tunnelled(
        OVER_UDP6 / udp(GENEVE_PORT) / geneve(MAC / UDP6, options=LONG_OPTIONS), MAC / UDP6, lib.TUNNEL_GENEVE
    ),
    "geneve ip": Tunnelled(OVER_UDP4 / udp(GENEVE_PORT) / geneve(UDP6, IPV6), UDP6, lib.TUNNEL_GENEVE, l3=True),
    "gre": Tunnelled(GRE4 / gre(IN_ETHER), IN_ETHER, lib.TUNNEL_GRE, 0),
    "gre key": Tunnelled(GRE4 / gre(IN_ETHER, key=0x04556677), IN_ETHER, lib.TUNNEL_GRE, 0x04556677),
    "gre key checksum sequence": Tunnelled(
        GRE4 / gre(IN_ETHER, key=5, checksum=True, sequence=True), IN_ETHER, lib.TUNNEL_GRE, 5
    ),
    "gre checksum": Tunnelled(GRE4 / gre(IN_ETHER, checksum=True), IN_ETHER, lib.TUNNEL_GRE, 0),
    "gre sequence ipv4": Tunnelled(GRE4 / gre(TCP4, IPV4, sequence=True), TCP4, lib.TUNNEL_GRE, 0, l3=True),
    "gre ipv6 in ipv6": Tunnelled(GRE6 / gre(UDP6, IPV6, key=1), UDP6, lib.TUNNEL_GRE, 1, l3=True),
    "nvgre": Tunnelled(GRE6 / gre(IN_ETHER, key=VNI << 8 | 9), IN_ETHER, lib.TUNNEL_GRE, VNI << 8 | 9),
    "erspan i": Tunnelled(GRE4 / gre(IN_ETHER, 0x88BE), IN_ETHER, lib.TUNNEL_GRE, 0),
    "erspan ii": Tunnelled(GRE4 / gre(Raw(ERSPAN_II) / IN_ETHER, 0x88BE, sequence=True), IN_ETHER, lib.TUNNEL_GRE, 99),
    "erspan iii": Tunnelled(
        GRE6 / gre(Raw(ERSPAN_III) / IN_ETHER, 0x22EB, sequence=True), IN_ETHER, lib.TUNNEL_GRE, 99
    ),
    "lisp": Tunnelled(OVER_UDP4 / udp(LISP_PORT) / lisp(TCP4), TCP4, lib.TUNNEL_LISP, l3=True),
    "lisp ipv6": Tunnelled(OVER_UDP6 / udp(LISP_PORT) / lisp(UDP6), UDP6, lib.TUNNEL_LISP, l3=True),
    "lisp no instance": Tunnelled(OVER_UDP4 / udp(LISP_PORT) / lisp(UDP6, 0x80), UDP6, lib.TUNNEL_LISP, 0, l3=True),
    "stt": Tunnelled(OVER_UDP4 / segment(stt(IN_ETHER)), IN_ETHER, lib.TUNNEL_STT, 0x1122334455667788),
    "stt ipv6": Tunnelled(OVER_UDP6 / segment(stt(IN_ETHER)), IN_ETHER, lib.TUNNEL_STT, 0x1122334455667788),
    "stt tag": Tunnelled(
        OVER_UDP4 / segment(stt(IN_ETHER, tag=0xB064)), IN_ETHER, lib.TUNNEL_STT, 0x1122334455667788, tag=0xA064
    ),
}

_BIG = MAC / IN4 / TCP(sport=1024, dport=80) / (b"x" * 600)
_FRAGMENT6 = IPv6(src="2001:db8:ff::1", dst="2001:db8:ff::2") / IPv6ExtHdrFragment(m=1)
_IN_BAD = MAC / IP(bytes(IN4 / UDP(sport=1, dport=2))[:2] + b"\x40\0" + bytes(IN4 / UDP(sport=1, dport=2))[4:])

FALLBACKS = {
    "vxlan in first fragment": (
        ETHER / IP(src="192.0.2.1", flags="MF") / udp(VXLAN_PORT) / vxlan(IN_ETHER), lib.TUNNEL_MISS_FRAGMENT
    ),
    "geneve in ipv6 fragment": (ETHER / _FRAGMENT6 / udp(GENEVE_PORT) / geneve(IN_ETHER), lib.TUNNEL_MISS_FRAGMENT),
    "gre in later fragment": (ETHER / IP(frag=9, proto=47) / gre(IN_ETHER), lib.TUNNEL_MISS_FRAGMENT),
    "vxlan without I": (OVER_UDP4 / udp(VXLAN_PORT) / vxlan(IN_ETHER, flags=0), lib.TUNNEL_MISS_HEADER),
    "dns on the vxlan port": (OVER_UDP4 / udp(VXLAN_PORT) / (b"\x12\x34\x01\x00\0\1" + bytes(30)),
                              lib.TUNNEL_MISS_HEADER),
    "vxlan-gpe version": (OVER_UDP4 / udp(VXLAN_PORT) / vxlan(TCP4, 0x1C, 1), lib.TUNNEL_MISS_HEADER),
    "vxlan-gpe oam": (OVER_UDP4 / udp(VXLAN_PORT) / vxlan(TCP4, 0x0D, 1), lib.TUNNEL_MISS_PAYLOAD),
    "vxlan-gpe nsh": (OVER_UDP4 / udp(VXLAN_PORT) / vxlan(TCP4, 0x0C, 4), lib.TUNNEL_MISS_PAYLOAD),
    "vxlan-gpe ipv4 that is ipv6": (OVER_UDP4 / udp(VXLAN_PORT) / vxlan(UDP6, 0x0C, 1), lib.TUNNEL_MISS_PAYLOAD),
    "vxlan empty": (OVER_UDP4 / udp(VXLAN_PORT) / vxlan(Raw(b"")), lib.TUNNEL_MISS_SHORT),
    "udp length short": (OVER_UDP4 / UDP(dport=VXLAN_PORT, len=7) / vxlan(IN_ETHER), lib.TUNNEL_MISS_HEADER),
    "udp length long": (OVER_UDP4 / UDP(dport=VXLAN_PORT, len=500) / vxlan(IN_ETHER), lib.TUNNEL_MISS_HEADER),
    "udp length cuts the inner": (OVER_UDP4 / UDP(dport=VXLAN_PORT, len=50) / vxlan(IN_ETHER),
                                  lib.TUNNEL_MISS_PAYLOAD),
    "vxlan inner ip lies": (OVER_UDP4 / udp(VXLAN_PORT) / vxlan(_IN_BAD), lib.TUNNEL_MISS_PAYLOAD),
    "geneve version": (OVER_UDP4 / udp(GENEVE_PORT) / geneve(IN_ETHER, first=0x40), lib.TUNNEL_MISS_HEADER),
    "geneve control": (OVER_UDP4 / udp(GENEVE_PORT) / geneve(IN_ETHER, second=0x80), lib.TUNNEL_MISS_PAYLOAD),
    "geneve payload": (OVER_UDP4 / udp(GENEVE_PORT) / geneve(IN_ETHER, 0x8847), lib.TUNNEL_MISS_PAYLOAD),
    "geneve options lie": (OVER_UDP4 / udp(GENEVE_PORT) / geneve(IN_ETHER, first=0x3F), lib.TUNNEL_MISS_SHORT),
    "gre routing": (GRE4 / gre(IN_ETHER, flags=0x4000), lib.TUNNEL_MISS_HEADER),
    "gre pptp": (GRE4 / gre(Raw(b"x" * 20), 0x880B, flags=0x3001), lib.TUNNEL_MISS_HEADER),
    "gre keepalive": (GRE4 / gre(Raw(b""), 0), lib.TUNNEL_MISS_PAYLOAD),
    "gre mpls": (GRE4 / gre(IN_ETHER, 0x8847), lib.TUNNEL_MISS_PAYLOAD),
    "gre flags lie": (GRE4 / Raw(b"\xb0\0\x65\x58"), lib.TUNNEL_MISS_SHORT),
    "erspan version": (GRE4 / gre(Raw(ERSPAN_III) / IN_ETHER, 0x88BE, sequence=True), lib.TUNNEL_MISS_HEADER),
    "erspan iii of ip": (GRE6 / gre(Raw(ERSPAN_III[:10] + b"\x08" + ERSPAN_III[11:]) / TCP4, 0x22EB, sequence=True),
                         lib.TUNNEL_MISS_PAYLOAD),
    "lisp-gpe": (OVER_UDP4 / udp(LISP_PORT) / lisp(MAC / UDP6, 0x0C), lib.TUNNEL_MISS_PAYLOAD),
    "stt syn": (OVER_UDP4 / TCP(dport=STT_PORT, flags="S", seq=0) / bytes(40), lib.TUNNEL_MISS_HEADER),
    "stt with options": (OVER_UDP4 / TCP(dport=STT_PORT, flags="A", seq=0x400000, options=[("Timestamp", (1, 2))])
                         / bytes(60), lib.TUNNEL_MISS_HEADER),
    "lisp encrypted": (OVER_UDP4 / udp(LISP_PORT) / lisp(TCP4, 0x01), lib.TUNNEL_MISS_PAYLOAD),
    "lisp nonce and version": (OVER_UDP4 / udp(LISP_PORT) / lisp(TCP4, 0x90), lib.TUNNEL_MISS_HEADER),
    "stt later segment": (OVER_UDP4 / segment(stt(_BIG), 300), lib.TUNNEL_MISS_SEGMENT),
    "stt version": (OVER_UDP4 / segment(stt(IN_ETHER, version=1)), lib.TUNNEL_MISS_HEADER),
    "stt length lies": (OVER_UDP4 / segment(stt(IN_ETHER), total=40), lib.TUNNEL_MISS_HEADER),
    "stt no data": (OVER_UDP4 / segment(b"", total=0), lib.TUNNEL_MISS_HEADER),
    "stt headers in the next segment": (OVER_UDP4 / segment(stt(_BIG), 0, 40), lib.TUNNEL_MISS_SHORT),
}  # fmt: skip

FRAMES = {name: Tunnelled(bytes(t.frame), bytes(t.inner), t.type, t.key, t.l3, t.tag) for name, t in FRAMES.items()}
FALLBACKS = {name: (bytes(frame), miss) for name, (frame, miss) in FALLBACKS.items()}
PLAIN = {
    "ipv6 later fragment": bytes(ETHER / OUTER6 / IPv6ExtHdrFragment(offset=4, nh=17) / bytes(udp(VXLAN_PORT))),
    "tunnel port as source": bytes(OVER_UDP4 / UDP(sport=VXLAN_PORT, dport=9) / vxlan(IN_ETHER)),
    "tcp to the vxlan port": bytes(OVER_UDP4 / TCP(dport=VXLAN_PORT) / vxlan(IN_ETHER)),
    "udp to the stt port": bytes(OVER_UDP4 / UDP(dport=STT_PORT) / stt(IN_ETHER)),
    "icmp about vxlan": bytes(ETHER / OUTER4 / ICMP(type=3, code=4) / OUTER4 / udp(VXLAN_PORT)),
    "ipv6 chain": bytes(ETHER / OUTER6 / IPv6ExtHdrDestOpt() / UDP(dport=9)),
}


def ports() -> "ffi.CData":
    """The default ports, as the parser reads them: a struct port_tunnels[PORT_ENTRIES]."""
    table = ffi.new("struct port_tunnels[]", lib.PORT_ENTRIES)
    defaults = {
        VXLAN_PORT: lib.TUNNEL_VXLAN,
        OTV_PORT: lib.TUNNEL_VXLAN,
        GENEVE_PORT: lib.TUNNEL_GENEVE,
        LISP_PORT: lib.TUNNEL_LISP,
        STT_PORT: lib.PORT_STT,
    }
    for port, kind in defaults.items():
        table[port // 8].type[port % 8] |= kind
    return table
