"""Super-packets: what a host with segmentation offload gives to its network card, and the packets that come of it."""

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from lib.netns import Namespace
from lib.traffic import LEFT_MAC, RIGHT_MAC

SOL_PACKET = 263  # <linux/socket.h>; Python does not name it
PACKET_VNET_HDR = 15  # <linux/if_packet.h>: each send starts with a struct virtio_net_hdr
# struct virtio_net_hdr of <linux/virtio_net.h>, without num_buffers, in the byte order of the host.
VNET_HEADER = struct.Struct("=BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, csum_offset
NEEDS_CSUM = 1
GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 = 1, 4, 5


@dataclass(frozen=True)
class SuperPacket:
    """A packet of up to 64 KiB: headers with which each `size` octets of the payload go on the wire.

    Attributes:
        headers: Ethernet to TCP or UDP.
        octets: length of the payload.
        size: of a segment's payload.

    """

    headers: Packet
    octets: int
    size: int

    def _packet(self, octets: int) -> bytes:
        return bytes(self.headers / Raw(bytes(octets)))

    def segments(self) -> list[bytes]:
        """The frames on the wire. Of one flow; sequence numbers and identifications are not reckoned."""
        return [self._packet(min(self.size, self.octets - start)) for start in range(0, self.octets, self.size)]

    def whole(self) -> bytes:
        """The frame with struct virtio_net_hdr before it."""
        layer4 = self.headers.getlayer(TCP) or self.headers.getlayer(UDP)
        start = len(self.headers) - len(layer4)
        if isinstance(layer4, UDP):
            kind, offset = GSO_UDP_L4, 6
        else:
            kind, offset = (GSO_TCPV6 if IPv6 in self.headers else GSO_TCPV4), 16
        header = VNET_HEADER.pack(NEEDS_CSUM, kind, len(self.headers), self.size, start, offset)
        return header + self._packet(self.octets)


def send_whole(namespace: Namespace, link: str, packets: Iterable[SuperPacket]) -> None:
    """Send the super-packets out of a link, each as one."""
    with namespace.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.bind((link, 0))
        for packet in packets:
            sock.send(packet.whole())


_ETHER = Ether(src=RIGHT_MAC, dst=LEFT_MAC)
_IP4 = IP(src="198.51.100.9", dst="192.0.2.9", tos=0x28, ttl=61)
_IP6 = IPv6(src="2001:db8::9", dst="2001:db8:1::9", fl=0x12345, hlim=61)
SUPER_PACKETS = [
    SuperPacket(_ETHER / _IP4 / TCP(sport=9000, dport=80, flags="PA"), 40_000, 1448),
    SuperPacket(_ETHER / _IP4 / TCP(sport=9001, dport=80, options=[("Timestamp", (1, 2))]), 20_000, 1436),
    SuperPacket(_ETHER / _IP6 / TCP(sport=9002, dport=80), 60_000, 1428),
    SuperPacket(_ETHER / _IP4 / UDP(sport=9003, dport=443), 30_000, 1200),
    SuperPacket(_ETHER / _IP6 / UDP(sport=9004, dport=443), 12_000, 1200),
    SuperPacket(_ETHER / Dot1Q(vlan=100, prio=5) / _IP4 / TCP(sport=9005, dport=80), 10_000, 1000),
]
