"""Seeds of the fuzzers, one small frame of each kind that the parser knows, built by scapy.

`python3 tests/fuzz/seeds.py FOLDER` writes them: FOLDER/parser/NAME in the input format of parser_fuzz.c, and
FOLDER/capture/NAME.pcap (link types that are read) for capture_fuzz.c, FOLDER/psample/NAME for psample_fuzz.c.
`frames()` gives the frames to other tests.
"""

import sys
from pathlib import Path

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
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Padding, Raw
from scapy.utils import PcapWriter

from lib import psample, tunnel_frames

ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
IPV4 = IP(src="192.0.2.1", dst="198.51.100.2", tos=0x28, ttl=61)
IPV6 = IPv6(src="2001:db8::1", dst="2001:db8::2", tc=0x28, fl=0x12345, hlim=61)
TCP_SYN = TCP(sport=49152, dport=443, flags="SEC", options=[("MSS", 1460), ("WScale", 7)])
DNS = UDP(sport=49153, dport=53) / Raw(b"query")
LINK_TYPES = {"ethernet": 1, "ip": 101, "null": 0, "loop": 108, "sll": 113, "sll2": 276}


def frames() -> dict[str, Packet]:
    """Frames by name; those whose name begins with "l3-" have no Ethernet header."""
    layer2 = {
        "arp": ARP(psrc="192.0.2.1", pdst="192.0.2.2"),
        "ipv4-tcp": IPV4 / TCP_SYN,
        "ipv4-udp": IPV4 / DNS,
        "ipv4-udp-padded": IPV4 / UDP(sport=1, dport=2) / Padding(b"\xff" * 18),
        "ipv4-sctp": IPV4 / SCTP(sport=5000, dport=6000, tag=1),
        "ipv4-icmp": IPV4 / ICMP(type=8, code=0) / Raw(b"ping"),
        "ipv4-gre": IPV4 / GRE(key_present=1, key=7) / IPV4 / DNS,
        "ipv4-unknown": IP(src="192.0.2.1", dst="192.0.2.2", proto=253) / Raw(b"octets"),
        "ipv4-options": IP(src="192.0.2.1", dst="192.0.2.2", options=[b"\x94\x04\x00\x00"]) / TCP_SYN,
        "ipv4-fragment-first": IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / DNS,
        "ipv4-fragment-later": IP(src="192.0.2.1", dst="192.0.2.2", proto=17, frag=100) / Raw(b"payload"),
        "ipv6-tcp": IPV6 / TCP_SYN,
        "ipv6-udp": IPV6 / DNS,
        "ipv6-icmp": IPV6 / ICMPv6EchoRequest(data=b"ping"),
        "ipv6-no-next": IPv6(src="2001:db8::1", dst="2001:db8::2", nh=59),
        "ipv6-chain": IPV6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / TCP_SYN,
        "ipv6-ah": IPV6 / AH(spi=1, seq=1, icv=b"\0" * 12) / TCP_SYN,
        "ipv6-fragment-first": IPV6 / IPv6ExtHdrFragment(m=1, id=1) / DNS,
        "ipv6-fragment-later": IPV6 / IPv6ExtHdrFragment(offset=10, id=1, nh=17) / Raw(b"payload"),
        "ipv6-fragment-atomic": IPV6 / IPv6ExtHdrFragment(id=1) / DNS,
        "vlan": Dot1Q(vlan=100, prio=3) / IPV4 / TCP_SYN,
        "vlan-qinq": Dot1AD(vlan=200) / Dot1Q(vlan=100) / IPV6 / DNS,
        "vlan-three": Dot1AD(vlan=300) / Dot1Q(vlan=200) / Dot1Q(vlan=100) / IPV4 / DNS,
        "mpls": MPLS(label=16, s=0, ttl=64) / MPLS(label=17, s=1, ttl=64) / IPV4 / TCP_SYN,
        "mpls-ipv6": MPLS(label=16, s=1, ttl=64) / IPV6 / DNS,
        "vxlan-vlan": Dot1Q(vlan=7) / IPV4 / UDP(sport=50000, dport=4789) / VXLAN(vni=42) / ETHERNET / IPV4 / TCP_SYN,
    }
    whole: dict[str, Packet] = {name: ETHERNET / packet for name, packet in layer2.items()}
    whole["snap"] = Dot3(src=ETHERNET.src, dst=ETHERNET.dst) / LLC() / SNAP(code=0x0800) / IPV4 / DNS
    whole["llc"] = Dot3(src=ETHERNET.src, dst=ETHERNET.dst) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / Raw(b"bpdu")
    # Every tunnel there is, and every way to be none.
    whole |= {name.replace(" ", "-"): Raw(case.frame) for name, case in tunnel_frames.FRAMES.items()}
    whole |= {f"no-{name.replace(' ', '-')}": Raw(frame) for name, (frame, _) in tunnel_frames.FALLBACKS.items()}
    whole["l3-ipv4"] = IPV4 / TCP_SYN
    whole["l3-ipv6"] = IPV6 / DNS
    return whole


def seed(name: str, frame: Packet) -> bytes:
    """The input of parser_fuzz.c that stands for a whole frame."""
    return bytes([name.startswith("l3-"), 0, 0]) + bytes(frame)


def link_header(link: str, frame: Packet) -> bytes:
    """What a link type puts in front of an IPv4 packet."""
    return {
        "ethernet": bytes(ETHERNET),
        "ip": b"",
        "null": bytes([2, 0, 0, 0]),
        "loop": bytes([0, 0, 0, 2]),
        "sll": bytes([0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0]),
        "sll2": bytes([8, 0, 0, 0, 0, 0, 0, 7, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0]),
    }[link]


def psample_messages() -> dict[str, bytes]:
    """Messages of the kernel's psample by name."""
    frame = bytes(ETHERNET / IPV4 / DNS)
    cookie = bytes(range(8))
    parts = {
        "tc-ingress": psample.attributes(frame, rate=10, sequence=7),
        "tc-egress": psample.attributes(frame, iif=2, oif=3, length=1500, time_ns=1),
        "ovs": psample.attributes(frame, rate=psample.ALL, probability=True, cookie=cookie),
        "tunnel": psample.attributes(frame, iif=4, tunnel=psample.tunnel(src=50000, dst=4789)),
        "tunnel-ipv6": psample.attributes(frame, iif=9, tunnel=psample.tunnel(1, bytes(16), bytes(range(16)))),
        "layer3": psample.attributes(bytes(IPV4 / DNS), iif=3),
        "unknown-link": psample.attributes(bytes(IPV4 / DNS), iif=77),
        "empty": psample.attributes(b"", length=60),
    }
    return {name: psample.message(found) for name, found in parts.items()}


def main(folder: Path) -> None:
    """Write all seeds."""
    parser, capture, messages = folder / "parser", folder / "capture", folder / "psample"
    for each in (parser, capture, messages):
        each.mkdir(parents=True, exist_ok=True)
    for name, octets in psample_messages().items():
        (messages / name).write_bytes(bytes([2]) + octets)
    for name, frame in frames().items():
        octets = seed(name, frame)
        (parser / name).write_bytes(octets)
        # The same as a super-packet of three segments of 16 octets.
        (parser / f"super-{name}").write_bytes(bytes([octets[0] | 2 << 1, 16, 0]) + octets[3:])
    for link, number in LINK_TYPES.items():
        with PcapWriter(str(capture / f"{link}.pcap"), linktype=number) as writer:
            packet = IPV4 / TCP_SYN
            writer.write(ETHERNET / packet if link == "ethernet" else link_header(link, packet) + bytes(packet))
            # Longer than what is kept of a cooked capture's frame.
            writer.write(link_header(link, packet) + bytes(packet / Raw(b"x" * 500)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
