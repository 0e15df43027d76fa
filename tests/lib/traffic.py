"""Frames that tests send, and the senders: exact counts, no ARP, no ND."""

import errno
import json
import socket
from collections.abc import Iterable
from functools import partial
from ipaddress import ip_address

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lib.netns import Namespace
from lib.wait import wait_until

LEFT_MAC = "02:00:00:00:00:01"
RIGHT_MAC = "02:00:00:00:00:02"


def udp_frame(
    source: str = "198.51.100.2", destination: str = "192.0.2.1", sport: int = 1024, dport: int = 53, payload: int = 100
) -> bytes:
    """An Ethernet frame with an IPv4 or IPv6 UDP packet of `payload` octets."""
    ip = IP if ip_address(source).version == 4 else IPv6
    return bytes(
        Ether(src=RIGHT_MAC, dst=LEFT_MAC)
        / ip(src=source, dst=destination)
        / UDP(sport=sport, dport=dport)
        / bytes(payload)
    )


def tcp_frame(flags: str = "A", sport: int = 1024, dport: int = 443, payload: int = 0) -> bytes:
    """An Ethernet frame with an IPv4 TCP segment."""
    return bytes(
        Ether(src=RIGHT_MAC, dst=LEFT_MAC)
        / IP(src="198.51.100.2", dst="192.0.2.1")
        / TCP(sport=sport, dport=dport, flags=flags)
        / bytes(payload)
    )


def send(namespace: Namespace, name: str, frames: Iterable[bytes]) -> int:
    """Send the frames out of a link, in order; how many."""
    count = 0
    with namespace.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((name, 0))
        for frame in frames:
            wait_until(partial(_sent, sock, frame), what=f"room in the queue of {name}'s peer")
            count += 1
    return count


def _sent(sock: socket.socket, frame: bytes) -> bool:
    """False where the frame found no room, as on a veth whose peer takes frames by XDP: then nobody has got it."""
    try:
        return bool(sock.send(frame))
    except OSError as error:
        if error.errno != errno.ENOBUFS:
            raise
        return False


def link_counters(namespace: Namespace, name: str) -> dict[str, int]:
    """The kernel's own counters of a link: rx_packets, tx_packets, …"""
    (link,) = json.loads(namespace.run("ip", "-json", "-statistics", "link", "show", "dev", name).stdout)
    return {
        "rx_packets": link["stats64"]["rx"]["packets"],
        "tx_packets": link["stats64"]["tx"]["packets"],
        "rx_dropped": link["stats64"]["rx"]["dropped"],
    }
