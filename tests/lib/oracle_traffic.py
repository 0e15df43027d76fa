"""The packets that Open vSwitch and xdpfix both see: made-up ones, the same with faults, and captured ones.

Made-up packets have a source address for each frame: a flow tells which frame it comes from, and a difference of the
two exporters can be held against what the frame says.
"""

import random
from functools import cache
from pathlib import Path

from scapy.error import Scapy_Exception

from lib.flowdiff import Flow
from lib.oracle_frames import MTU, ORACLE_FRAMES, ipv4_udp
from lib.replay import frames

NAMES = list(ORACLE_FRAMES)
FIRST_ADDRESS = 0x02_00_5E_00_00_00  # locally administered
FIRST_MUTATED = 0x02_00_5E_01_00_00
MUTATED = 4000
SEED = 2  # any: the same packets each time
# A frame that ends with the Ethernet header and IP's type is not sent: Open vSwitch's record of it is 32 octets short
# of its template, because a sum of squares of 0 is taken to say that there is no IP.
SHORTEST = 20


def _from(number: int, frame: bytes) -> bytes:
    return frame[:6] + number.to_bytes(6, "big") + frame[12:]


def capture() -> list[bytes]:
    """Every frame once, then every frame again as often as its place says (1 to 5): flows of several packets."""
    whole = [_from(FIRST_ADDRESS + place, frame) for place, frame in enumerate(ORACLE_FRAMES.values())]
    assert all(SHORTEST <= len(frame) <= MTU + 18 for frame in whole)
    again = [frame for place, frame in enumerate(whole) for _ in range(1 + place % 5)]
    # One flow of packets of different lengths: sum of squares, minimum and maximum are not those of one length.
    sizes = [_from(FIRST_ADDRESS + NAMES.index("ipv4 udp"), ipv4_udp(size)) for size in range(0, 1400, 7)]
    return [*whole, *again, *sizes]


def mutated() -> list[bytes]:
    """Frames with one to three faults each behind the addresses: octets changed, the end cut off, padding.

    Not those of BFD: both exporters leave them out, but by a header that each believes or not.
    """
    chance = random.Random(SEED)
    whole = [frame for name, frame in ORACLE_FRAMES.items() if not name.startswith("bfd")]
    values = (0, 0xFF, 0x45, 0x60, 6, 17, 43, 44, 58, 60)  # that mean something at many places
    found = []
    for place in range(MUTATED):
        frame = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 1, 2, 3))):
            kind = chance.random()
            if kind < 0.6:
                at = chance.randrange(12, min(len(frame), 90))
                flipped = frame[at] ^ 1 << chance.randrange(8)
                frame[at] = chance.choice((flipped, chance.randrange(256), *values))
            elif kind < 0.8:
                del frame[chance.randrange(SHORTEST, len(frame) + 1) :]
            else:
                frame += bytes(chance.randrange(20))
        found.append(_from(FIRST_MUTATED + place, bytes(frame[:MTU])))
    return found


@cache
def _by_source() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for frame in (*capture(), *mutated()):
        found.setdefault(frame[6:12].hex(":"), []).append(frame)
    return found


def frames_of(source: str) -> list[bytes]:
    """All made-up packets with this source address; none for captured traffic."""
    return _by_source().get(source, [])


def name_of(source: str) -> str:
    """What to call the flows of a source address: the frame's name, its octets if it has none; else the address."""
    number = int(source.replace(":", ""), 16)
    if 0 <= number - FIRST_ADDRESS < len(NAMES):
        return NAMES[number - FIRST_ADDRESS]
    return next((frame.hex() for frame in frames_of(source)), source)


def ip_packet(frame: bytes) -> bytes | None:
    """The IP packet in an Ethernet frame with tags and SNAP or without, padding included; None: there is none."""
    layer3 = 12
    while frame[layer3 : layer3 + 2] in (b"\x81\x00", b"\x88\xa8"):
        layer3 += 4
    layer3 += 2 if frame[layer3 : layer3 + 1] >= b"\x06" else 10  # a length, LLC and SNAP
    return frame[layer3:] if frame[layer3 - 2 : layer3] in (b"\x08\x00", b"\x86\xdd") else None


def ip_length(packet: bytes) -> int:
    """Total length as the IP header says it."""
    if packet[0] >> 4 == 4:
        return int.from_bytes(packet[2:4], "big")
    return 40 + int.from_bytes(packet[4:6], "big")


def traffic(paths: list[Path], per_capture: int = 20) -> list[bytes]:
    """Frames of real captures, the first of each, without what follows the IP packet.

    Only what contradicts nothing is taken, and no padding: such packets are among the made-up ones, in flows of
    their own whose differences are known to the octet. In one flow with others no reason could be held against them.
    """
    found = []
    for path in paths:
        if "fuzz" in path.name:
            continue
        try:
            whole = [octets for octets, length in frames(path)[:per_capture] if len(octets) == length]
        except (ValueError, Scapy_Exception):
            continue  # another link type, or no capture
        found += [_trimmed(octets) for octets in whole if SHORTEST <= len(octets) <= MTU and _is_sound(octets)]
    return found


def _is_sound(frame: bytes) -> bool:
    """Whether an IP header, if there is one, has the version of its ethertype and a length that can be."""
    packet = ip_packet(frame)
    if packet is None:
        return True
    version, header = (4, 20) if frame[-len(packet) - 2] == 0x08 else (6, 40)
    return len(packet) > header and packet[0] >> 4 == version and header < ip_length(packet) <= len(packet)


def _trimmed(frame: bytes) -> bytes:
    packet = ip_packet(frame)
    return frame[: len(frame) - len(packet) + ip_length(packet)] if packet else frame


def flow_name(flow: Flow) -> str:
    """The name of the packet that a flow is of: its source address tells them apart."""
    return name_of(str(flow["sourceMacAddress"]))


def flow_packets(flow: Flow) -> list[bytes]:
    """The IP packets that a flow is of."""
    return [packet for frame in frames_of(str(flow["sourceMacAddress"])) if (packet := ip_packet(frame))]
