"""Frames for the parser's tests, by name: every kind of header that it knows, whole."""

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Padding

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
IP4 = IP(src="192.0.2.1", dst="198.51.100.2", tos=0x28, ttl=61)
IP6 = IPv6(src="2001:db8::1", dst="2001:db8:1::2", tc=0x28, fl=0x12345, hlim=61)
OPTIONS = b"\x94\x04\x00\x00" + b"\x01" * 4  # router alert, padded with no-operations

FRAMES = {
    "ipv4 tcp": ETHER / IP4 / TCP(sport=1024, dport=80, flags="SEC") / b"payload",
    "ipv4 tcp options": ETHER / IP4 / TCP(sport=1, dport=2, flags="A", options=[("Timestamp", (1, 2))]) / b"payload",
    "ipv4 udp padded": ETHER / IP4 / UDP(sport=53, dport=5353) / b"x" / Padding(b"\0" * 20),
    "ipv4 options": ETHER / IP(bytes(IP(src="192.0.2.1", dst="192.0.2.2", ihl=7, proto=17, len=36)) + OPTIONS) / UDP(),
    "ipv4 first fragment": ETHER / IP(src="192.0.2.1", flags="MF", proto=17) / UDP(sport=9, dport=10) / (b"x" * 32),
    "ipv4 later fragment": ETHER / IP(src="192.0.2.1", frag=5, proto=17) / (b"x" * 32),
    "ipv4 middle fragment": ETHER / IP(src="192.0.2.1", frag=5, flags="MF+DF", proto=17) / (b"x" * 32),
    "ipv4 unfragmentable": ETHER / IP(src="192.0.2.1", flags="DF") / UDP(sport=9, dport=10),
    "ipv4 icmp": ETHER / IP4 / ICMP(type=3, code=4) / b"12345678",
    "ipv4 sctp": ETHER / IP4 / SCTP(sport=36412, dport=36413) / SCTPChunkData(data=b"x"),
    "ipv4 esp": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=50) / (b"x" * 40),
    "ipv4 short udp": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", proto=17) / b"1234567",
    "ipv6 tcp": ETHER / IP6 / TCP(sport=1024, dport=443, flags="FA") / b"payload",
    "ipv6 icmp": ETHER / IP6 / ICMPv6EchoRequest(data=b"x"),
    "ipv6 chain": ETHER / IP6
    / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / UDP(sport=7, dport=8),
    "ipv6 first fragment": ETHER / IP6 / IPv6ExtHdrFragment(m=1) / UDP(sport=7, dport=8) / (b"x" * 32),
    "ipv6 later fragment": ETHER / IP6 / IPv6ExtHdrFragment(offset=4, nh=17) / (b"x" * 32),
    "ipv6 middle fragment": ETHER / IP6 / IPv6ExtHdrFragment(offset=4, nh=17, m=1) / (b"x" * 32),
    "ipv6 atomic fragment": ETHER / IP6 / IPv6ExtHdrFragment(nh=17) / UDP(sport=7, dport=8),
    "ipv6 long chain": ETHER / IP6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
    / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
    / IPv6ExtHdrDestOpt() / UDP(sport=7, dport=8),
    "vlan": ETHER / Dot1Q(vlan=100, prio=5) / IP4 / UDP(sport=1, dport=2),
    "qinq": ETHER / Dot1AD(vlan=100) / Dot1Q(vlan=200) / IP6 / UDP(sport=1, dport=2),
    "three tags": ETHER / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / IP4 / UDP(),
    "mpls ipv4": ETHER / MPLS(label=16, s=0) / MPLS(label=17, s=1, ttl=9) / IP4 / UDP(sport=1, dport=2),
    "mpls ipv6": ETHER / MPLS(label=16, s=1) / IP6 / UDP(sport=1, dport=2),
    "arp": ETHER / ARP(psrc="192.0.2.1", pdst="192.0.2.2"),
    "llc": Dot3(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / LLC(dsap=0x42, ssap=0x42, ctrl=3) / (b"x" * 35),
    "snap": Dot3(dst="02:00:00:00:00:01", src="02:00:00:00:00:02") / LLC(ctrl=3) / SNAP(code=0x800) / IP4 / UDP(),
}  # fmt: skip
FRAMES = {name: bytes(frame) for name, frame in FRAMES.items()}
