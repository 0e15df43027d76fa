"""Seeds of the fuzzers: the frames of the parser's tests, and some whose inner headers it may come to read.

`python3 tests/fuzz/seeds.py FOLDER` writes them: FOLDER/parser/NAME in the input format of parser_fuzz.c, and
FOLDER/capture/NAME.pcap (link types that are read) for capture_fuzz.c. Run it with PYTHONPATH=tests.
"""

import sys
from pathlib import Path

from scapy.layers.inet import TCP, UDP
from scapy.layers.ipsec import AH
from scapy.layers.l2 import GRE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet
from scapy.utils import PcapWriter

from lib.frames import ETHER, FRAMES, IP4, IP6

PACKET = IP4 / TCP(sport=49152, dport=443, flags="SEC")
LINK_TYPES = {"ethernet": 1, "ip": 101, "null": 0, "loop": 108, "sll": 113, "sll2": 276}
ETHERNET_SIZE = 14
# By name: how many octets of the frame are left out in front, and the frame.
SEEDS = {
    **{name: (0, frame) for name, frame in FRAMES.items()},
    **{f"l3 {name}": (ETHERNET_SIZE, FRAMES[name]) for name in ("ipv4 tcp", "ipv6 tcp")},
    "gre": (0, bytes(ETHER / IP4 / GRE(key_present=1, key=7) / PACKET)),
    "ah": (0, bytes(ETHER / IP6 / AH(spi=1, seq=1, icv=b"\0" * 12) / TCP())),
    "vxlan": (0, bytes(ETHER / IP4 / UDP(sport=50000, dport=4789) / VXLAN(vni=42) / ETHER / PACKET)),
}


def seed(skipped: int, frame: bytes) -> bytes:
    """The input of parser_fuzz.c that stands for a whole frame."""
    return bytes([skipped > 0, 0, 0]) + frame[skipped:]


def link_header(link: str, frame: Packet) -> bytes:
    """What a link type puts in front of an IPv4 packet."""
    return {
        "ethernet": bytes(ETHER),
        "ip": b"",
        "null": bytes([2, 0, 0, 0]),
        "loop": bytes([0, 0, 0, 2]),
        "sll": bytes([0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0]),
        "sll2": bytes([8, 0, 0, 0, 0, 0, 0, 7, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0]),
    }[link]


def main(folder: Path) -> None:
    """Write all seeds."""
    parser, capture = folder / "parser", folder / "capture"
    parser.mkdir(parents=True, exist_ok=True)
    capture.mkdir(parents=True, exist_ok=True)
    for name, (skipped, frame) in SEEDS.items():
        (parser / name).write_bytes(seed(skipped, frame))
    for link, number in LINK_TYPES.items():
        with PcapWriter(str(capture / f"{link}.pcap"), linktype=number) as writer:
            writer.write(ETHER / PACKET if link == "ethernet" else link_header(link, PACKET) + bytes(PACKET))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
