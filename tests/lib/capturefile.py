"""Capture files made up by tests, octet by octet: pcap, with what real writers do not do."""

import struct
from collections.abc import Sequence

PCAP_MAGIC = 0xA1B2C3D4
PCAP_MAGIC_NANO = 0xA1B23C4D
FIRST_SECOND = 100


def pcap(
    frames: Sequence[bytes],
    link_type: int = 1,
    *,
    times: Sequence[int] = (),
    order: str = "<",
    magic: int = PCAP_MAGIC,
    cut: int = 0,
    tick: int = 1,
) -> bytes:
    """A capture file of which `cut` octets of each frame were not captured.

    Packet i is at second times[i], without times at second 100 + i, and `tick` fractions of it.
    """
    parts = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)]
    for second, frame in zip(times or range(FIRST_SECOND, FIRST_SECOND + len(frames)), frames, strict=True):
        captured = frame[: len(frame) - cut]
        parts += [struct.pack(f"{order}IIII", second, tick, len(captured), len(frame)), captured]
    return b"".join(parts)
