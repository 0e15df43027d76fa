"""Replays the frames of a capture into an interface, octet by octet, by an AF_PACKET socket. Needs CAP_NET_RAW.

`python3 tests/lib/replay.py CAPTURE INTERFACE [--rate PPS] [--limit FRAMES]`, inside a namespace by
`ip netns exec`; prints the counts as JSON. For namespaces that a test made, never for a real network.
"""

import argparse
import fcntl
import json
import socket
import struct
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from scapy.utils import RawPcapReader

SIOCGIFMTU = 0x8921  # <linux/sockios.h>
ETHERNET = 1  # LINKTYPE_ETHERNET
# Beside what the MTU bounds: the kernel takes an Ethernet header and one VLAN tag.
HEADER = 14
TAG = 4


@dataclass
class Counts:
    """What became of a capture's frames: sent ones with their octets, and those that no interface would take."""

    frames: int = 0
    sent: int = 0
    octets: int = 0
    oversize: int = 0
    undersize: int = 0
    snapped: int = 0


def frames(path: Path) -> "list[tuple[bytes, int]]":
    """Frames of an Ethernet capture, with their length on the wire."""
    with RawPcapReader(str(path)) as reader:
        if getattr(reader, "linktype", ETHERNET) != ETHERNET:
            raise ValueError(f"{path} has link type {reader.linktype}: only Ethernet can be replayed")
        return [(octets, getattr(meta, "wirelen", None) or len(octets)) for octets, meta in reader]


def mtu(interface: str) -> int:
    """The MTU of an interface; asked by ioctl, for /sys may still be another namespace's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFMTU, struct.pack("16sI12x", interface.encode(), 0))
    size: int = struct.unpack("16sI12x", answer)[1]
    return size


def replay(path: Path, interface: str, *, rate: float = 20_000, limit: int = 1_000_000) -> Counts:
    """Send at most `limit` frames at `rate` frames a second; what is longer than the MTU or was snapped is skipped."""
    counts = Counts()
    largest = mtu(interface) + HEADER
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        begin = time.monotonic()
        for octets, length in frames(path)[:limit]:
            counts.frames += 1
            tagged = octets[12:14] in (b"\x81\x00", b"\x88\xa8")
            if length != len(octets):
                counts.snapped += 1
            elif len(octets) < HEADER:
                counts.undersize += 1
            elif len(octets) > largest + TAG * tagged:
                counts.oversize += 1
            else:
                # The queue is bounded by the socket's send buffer: send() waits where it is full.
                sock.send(octets)
                counts.sent += 1
                counts.octets += len(octets)
                time.sleep(max(0.0, begin + counts.sent / rate - time.monotonic()))
    return counts


def main() -> None:
    """Replay by arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", type=Path)
    parser.add_argument("interface")
    parser.add_argument("--rate", type=float, default=20_000)
    parser.add_argument("--limit", type=int, default=1_000_000)
    arguments = parser.parse_args()
    counts = replay(arguments.capture, arguments.interface, rate=arguments.rate, limit=arguments.limit)
    print(json.dumps(asdict(counts)))


if __name__ == "__main__":
    main()
