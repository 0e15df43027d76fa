"""Made-up frames for Open vSwitch and xdpfix both, by name: those of the parser's tests and more.

lib.oracle_traffic makes the packets of them that are sent.
"""

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert, IPOption_Timestamp
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from lib.frames import ETHER, FRAMES, IP4, IP6

# IEEE 802.3 minimum without FCS.
MINIMUM = 60
MTU = 3000  # the most that a veth with an XDP program takes in one page, rounded
BFD = (3784, 3785)  # RFC 5881: single hop control and echo; OVS samples neither


def _padded(frame: Packet) -> bytes:
    return bytes(frame).ljust(MINIMUM, b"\0")


def _extension(protocol: int, after: int, size: int = 8) -> bytes:
    """An extension header of IPv6 by its number in the header before, padded with a PadN option."""
    assert size % 8 == 0
    return bytes((after, size // 8 - 1, 1, size - 4)) + bytes(size - 4)


def ipv4_udp(octets: int) -> bytes:
    """The frame "ipv4 udp" with a payload of another length."""
    return bytes(ETHER / IP4 / UDP(sport=5000, dport=5001) / bytes(octets))


_MORE = {
    "ipv4 udp": ipv4_udp(100),
    "ipv4 tcp syn": ETHER / IP4 / TCP(sport=5000, dport=443, flags="S"),
    "ipv4 tcp reset": ETHER / IP4 / TCP(sport=5000, dport=443, flags="RA"),
    "ipv4 tcp all flags": ETHER / IP4 / TCP(sport=5000, dport=443, flags="FSRPAUEC"),
    "ipv4 tcp urgent": ETHER / IP4 / TCP(sport=5000, dport=443, flags="UPA", urgptr=1) / b"!",
    "ipv4 tcp jumbo": ETHER / IP4 / TCP(sport=5000, dport=443, flags="A") / bytes(MTU - 40),
    "ipv4 tos 0xff": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", tos=0xFF, ttl=255) / UDP(sport=1, dport=2),
    "ipv4 dscp ef": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", tos=0xB8, ttl=1) / UDP(sport=1, dport=2),
    "ipv4 ecn": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", tos=0x03, ttl=0) / UDP(sport=1, dport=2),
    "ipv4 router alert": ETHER / IP(src="192.0.2.1", dst="224.0.0.22", options=[IPOption_Router_Alert()], proto=2)
    / b"\x16\x00\x00\x00\xe0\x00\x00\xfb",
    "ipv4 timestamp option": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_Timestamp()])
    / TCP(sport=1, dport=2),
    "ipv4 echo request": ETHER / IP4 / ICMP(type=8, id=7) / bytes(56),
    "ipv4 echo reply": ETHER / IP4 / ICMP(type=0, id=7) / bytes(56),
    "ipv4 time exceeded": ETHER / IP4 / ICMP(type=11, code=1) / IP(src="192.0.2.1", dst="192.0.2.9") / UDP(),
    "ipv4 icmp short": ETHER / IP4 / bytes((8, 0, 1, 2)),
    "ipv4 icmpv6": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=58) / bytes((128, 0)) / bytes(6),
    "ipv4 gre": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=47) / b"\0\0\x08\0" / IP() / UDP(),
    "ipv4 ah": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=51) / bytes((17, 4)) / bytes(22) / UDP(),
    "ipv4 in ipv4": ETHER / IP(src="192.0.2.1", dst="192.0.2.2") / IP(src="198.51.100.1") / UDP(),
    "ipv4 udp lite": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=136) / bytes(16),
    "ipv4 protocol 0": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=0) / bytes(16),
    "ipv4 protocol 255": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=255) / bytes(16),
    "ipv4 header only": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=6),
    "ipv4 short tcp": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=6) / bytes(19),
    "ipv4 short sctp": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=132) / bytes(11),
    "ipv4 tcp bad offset": ETHER / IP4 / TCP(sport=1, dport=2, dataofs=15),
    "ipv4 fragment of icmp": ETHER / IP(src="192.0.2.1", frag=185, proto=1) / bytes(64),
    "ipv4 middle fragment": ETHER / IP(src="192.0.2.1", frag=185, flags="MF", proto=6) / bytes(64),
    "ipv4 first fragment tcp": ETHER / IP(src="192.0.2.1", flags="MF", proto=6) / TCP(sport=1, dport=2) / bytes(12),
    "ipv4 multicast": Ether(dst="01:00:5e:00:00:fb") / IP(dst="224.0.0.251", ttl=1) / UDP(sport=5353, dport=5353),
    "ipv4 broadcast": Ether(dst="ff:ff:ff:ff:ff:ff") / IP(dst="255.255.255.255") / UDP(sport=68, dport=67),
    "ipv6 udp": ETHER / IP6 / UDP(sport=5000, dport=5001) / bytes(100),
    "ipv6 sctp": ETHER / IPv6(src="2001:db8::1", nh=132) / bytes.fromhex("1388 1389 00000001 00000000"),
    "ipv6 no label": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=255) / UDP(sport=1, dport=2),
    "ipv6 label": ETHER / IPv6(src="2001:db8::1", fl=0xFFFFF, tc=0xFF, hlim=1) / UDP(sport=1, dport=2),
    "ipv6 echo reply": ETHER / IP6 / ICMPv6EchoReply(data=bytes(56)),
    "ipv6 unreachable": ETHER / IP6 / ICMPv6DestUnreach(code=4) / IPv6(src="2001:db8::1") / UDP(),
    "ipv6 packet too big": ETHER / IP6 / ICMPv6PacketTooBig(mtu=1280) / IPv6(src="2001:db8::1") / UDP(),
    "ipv6 neighbour solicitation": ETHER / IPv6(dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="2001:db8::1"),
    "ipv6 icmpv4": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=1) / bytes((8, 0)) / bytes(6),
    "ipv6 no next header": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=59),
    "ipv6 esp": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=50) / bytes(40),
    "ipv6 gre": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=47) / b"\0\0\x08\0" / IP() / UDP(),
    "ipv6 ipv4": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / IP() / UDP(),
    "ipv6 hop by hop": ETHER / IP6 / IPv6ExtHdrHopByHop() / ICMPv6EchoReply(),
    "ipv6 routing": ETHER / IP6 / IPv6ExtHdrRouting(addresses=["2001:db8::7"]) / TCP(sport=1, dport=2),
    "ipv6 destination": ETHER / IP6 / IPv6ExtHdrDestOpt(nh=132) / bytes.fromhex("1388 1389 00000001 00000000"),
    "ipv6 ah": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=51) / bytes((17, 4)) / bytes(22)
    / UDP(sport=1, dport=2),
    "ipv6 mobility": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=135) / _extension(135, 59),
    "ipv6 hip": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=139) / _extension(139, 59, 40),
    "ipv6 later fragment of icmp": ETHER / IP6 / IPv6ExtHdrFragment(offset=9, nh=58) / bytes(64),
    "ipv6 first fragment icmp": ETHER / IP6 / IPv6ExtHdrFragment(m=1) / ICMPv6EchoReply(data=bytes(56)),
    "ipv6 short tcp": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=6) / bytes(12),
    "ipv6 short udp": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=17) / bytes(7),
    "ipv6 jumbo": ETHER / IP6 / UDP(sport=1, dport=2) / bytes(MTU - 48),
    "vlan 1": ETHER / Dot1Q(vlan=1) / IP4 / TCP(sport=1, dport=2),
    "vlan 4094": ETHER / Dot1Q(vlan=4094, prio=7, dei=1) / IP6 / TCP(sport=1, dport=2),
    "vlan icmp": ETHER / Dot1Q(vlan=100, prio=3) / IP4 / ICMP() / bytes(8),
    "vlan icmpv6": ETHER / Dot1Q(vlan=100) / IP6 / ICMPv6EchoReply(),
    "vlan gre": ETHER / Dot1Q(vlan=100) / IP(src="192.0.2.1", dst="192.0.2.2", proto=47) / bytes(8),
    "vlan ipv6 esp": ETHER / Dot1Q(vlan=100) / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=50) / bytes(8),
    "vlan arp": ETHER / Dot1Q(vlan=100) / FRAMES["arp"][12:] / b"",
    "priority tag": ETHER / Dot1Q(vlan=0, prio=6) / IP4 / UDP(sport=1, dport=2),
    "priority tag 0": ETHER / Dot1Q(vlan=0, prio=0) / IP4 / UDP(sport=1, dport=2),
    "service tag alone": ETHER / Dot1AD(vlan=7, prio=1) / IP4 / UDP(sport=1, dport=2),
    "qinq 8100": ETHER / Dot1Q(vlan=100, prio=2) / Dot1Q(vlan=200, prio=4) / IP4 / TCP(sport=1, dport=2) / bytes(20),
    "qinq arp": ETHER / Dot1AD(vlan=100) / Dot1Q(vlan=200) / FRAMES["arp"][14:],
    "qinq cut in the inner tag": bytes(ETHER / Dot1AD(vlan=100, type=0x8100)) + bytes.fromhex("00c8 08"),
    "mpls explicit null": ETHER / MPLS(label=0, s=1) / IP4 / UDP(sport=1, dport=2),
    "mpls vlan": ETHER / Dot1Q(vlan=100) / MPLS(label=16, s=1) / IP4 / UDP(),
    "lldp": bytes.fromhex("0180c200000e 020000000002 88cc 0207040200000000020403 0207 06020078 0000"),
    "stp": bytes.fromhex("0180c2000000 020000000002 0026 424203") + bytes(35),
    "pause": bytes.fromhex("0180c2000001 020000000002 8808 0001ffff") + bytes(42),
    "local experimental": bytes.fromhex("020000000001 020000000002 88b5") + bytes(46),
    "pppoe": bytes.fromhex("020000000001 020000000002 8864 11000001 001e 0021") + bytes(28),
    "wake on lan": bytes.fromhex("ffffffffffff 020000000002 0842") + b"\xff" * 6 + bytes(96),
    "padded udp": _padded(ETHER / IP4 / UDP(sport=1, dport=2)),
    "padded tcp": _padded(ETHER / IP4 / TCP(sport=1, dport=2, flags="A")),
    "padded vlan": _padded(ETHER / Dot1Q(vlan=5) / IP4 / UDP(sport=1, dport=2)),
    "padded qinq": _padded(ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / IP4 / UDP(sport=1, dport=2)),
    "padded ipv6": bytes(ETHER / IP6 / UDP(sport=1, dport=2)) + bytes(6),
    "padded arp": _padded(FRAMES["arp"]),
    "ipv4 length beyond the frame": ETHER / IP(src="192.0.2.1", len=1500, proto=17) / UDP() / bytes(30),
    "ipv4 length below the header": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", len=19, proto=17) / UDP(),
    "ipv4 header length 4": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", ihl=4, proto=17) / UDP(),
    "ipv4 header length beyond": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", ihl=15, proto=17) / UDP(),
    "ipv4 version 5": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", version=5) / UDP(),
    "ipv4 truncated header": bytes(ETHER / IP4)[:30],
    "ipv4 bad checksum": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", chksum=1) / UDP(sport=1, dport=2, chksum=1),
    "ipv6 length beyond the frame": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", plen=1000) / UDP() / bytes(30),
    "ipv6 truncated header": bytes(ETHER / IP6)[:50],
    "ipv6 version 4": ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2", version=4) / UDP(),
    "ipv6 extension beyond": ETHER / IPv6(src="2001:db8::1", nh=60, tc=0x28, fl=5) / bytes((17, 200)) / bytes(14),
    "vlan length beyond the frame": ETHER / Dot1Q(vlan=9) / IP(src="192.0.2.1", len=1500, proto=17) / UDP() / bytes(30),
    "bfd control": ETHER / IP4 / UDP(sport=49152, dport=BFD[0]) / bytes(24),
    "bfd echo": ETHER / IP4 / UDP(sport=49152, dport=BFD[1]) / bytes(24),
    "bfd ipv6": ETHER / IP6 / UDP(sport=49152, dport=BFD[0]) / bytes(24),
    "not bfd": ETHER / IP4 / UDP(sport=BFD[0], dport=49152) / bytes(24),
    "not bfd tcp": ETHER / IP4 / TCP(sport=49152, dport=BFD[0]) / bytes(24),
}  # fmt: skip
# Name to octets.
ORACLE_FRAMES = FRAMES | {name: bytes(frame) for name, frame in _MORE.items()}
