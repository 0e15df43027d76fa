"""Captures through the native parser: every link type, damaged files, and pipes with half-written records."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import seeds
from scapy.layers.inet import TCP

from lib.capturefile import PCAP_MAGIC, PCAP_MAGIC_NANO, pcap
from sampler._native import ffi
from sampler.captures.capture import Capture, CaptureError, batches


def pcapng(frames: list[bytes], link_type: int = 1) -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))

    content = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(
        1, struct.pack("<HHI", link_type, 0, 0)
    )
    content += block(0xBAD, b"a block that no one knows")
    for i, frame in enumerate(frames):
        time = (100 + i) * 1_000_000
        content += block(6, struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame)) + frame)
    return content


def samples(path: Path) -> list[bytes]:
    """Every sample of a capture, as octets."""
    with Capture(str(path)) as capture:
        return [
            bytes(ffi.buffer(batch + i, ffi.sizeof("struct sample")))
            for batch, n in batches(capture, 7)
            for i in range(n)
        ]


def first(content: bytes, tmp_path: Path):
    """The first sample of a capture file with this content."""
    path = tmp_path / "capture"
    path.write_bytes(content)
    octets = samples(path)[0]
    sample = ffi.new("struct sample *")
    ffi.memmove(sample, octets, len(octets))
    return sample


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(PCAP_MAGIC, 1000), (PCAP_MAGIC_NANO, 1)])
def test_times_are_the_captures_own(order: str, magic: int, unit: int, tmp_path: Path) -> None:
    frame = bytes(seeds.frames()["ipv4-tcp"])
    sample = first(pcap([frame], order=order, magic=magic, tick=7), tmp_path)
    assert sample.meta.time == 100_000_000_000 + 7 * unit


def test_a_time_beyond_ipfix_is_kept_within_it(tmp_path: Path) -> None:
    content = bytearray(pcapng([bytes(seeds.frames()["ipv4-tcp"])]))
    at = content.index(struct.pack("<II", 0, 100_000_000))
    content[at : at + 4] = b"\xff\xff\xff\x7f"
    assert first(bytes(content), tmp_path).meta.time // 10**9 == 2**32 - 2


def test_a_time_before_1970_is_1970(tmp_path: Path) -> None:
    """libpcap takes the 32 bits of seconds for signed."""
    content = bytearray(pcap([bytes(seeds.frames()["ipv4-tcp"])], tick=0xFFFFFFFF))
    content[24:28] = b"\xff" * 4
    assert first(bytes(content), tmp_path).meta.time == 0


def test_pcapng_gives_the_same_samples_as_pcap(tmp_path: Path) -> None:
    frames = [bytes(frame) for name, frame in seeds.frames().items() if not name.startswith("l3-")]
    (tmp_path / "a").write_bytes(pcap(frames, tick=0))
    (tmp_path / "b").write_bytes(pcapng(frames))
    assert len(samples(tmp_path / "a")) == len(frames)
    assert samples(tmp_path / "a") == samples(tmp_path / "b")


@pytest.mark.parametrize(
    ("link", "number", "ethernet"),
    [("ip", 101, 0), ("ip", 228, 0), ("null", 0, 0), ("loop", 108, 0), ("sll", 113, 14), ("sll2", 276, 14)],
)
def test_link_types_give_the_same_ip_packet(link: str, number: int, ethernet: int, tmp_path: Path) -> None:
    packet = seeds.IPV4 / seeds.TCP_SYN
    sample = first(pcap([seeds.link_header(link, packet) + bytes(packet)], number), tmp_path)
    reference = first(pcap([bytes(seeds.ETHERNET / packet)]), tmp_path)
    assert sample.key.ethernet_header_length == ethernet
    assert sample.meta.frame_octets == len(packet) + ethernet
    assert sample.meta.ip_octets == len(packet) == reference.meta.ip_octets
    for field in ("ip_version", "ip_protocol", "ip_tos", "ip_ttl", "src_port", "dst_port"):
        assert getattr(sample.key, field) == getattr(reference.key, field), field
    assert bytes(sample.key.src_addr) == bytes(reference.key.src_addr)
    assert sample.meta.tcp_flags == reference.meta.tcp_flags == int(packet[TCP].flags)
    # The seeds say "outgoing", and the second cooked form names the interface.
    assert sample.key.direction == (1 if link.startswith("sll") else 0)
    assert sample.key.ifindex == (7 if link == "sll2" else 0)


def test_a_snapped_frame_is_whole_by_its_lengths(tmp_path: Path) -> None:
    frame = bytes(seeds.frames()["ipv4-tcp"]) + bytes(0)
    sample = first(pcap([frame], cut=4), tmp_path)
    assert sample.meta.flags == 0
    assert sample.meta.frame_octets == len(frame)
    sample = first(pcap([frame], cut=len(frame) - 40), tmp_path)
    assert sample.meta.flags == 1  # SAMPLE_TRUNCATED, not SAMPLE_MALFORMED
    assert sample.meta.ip_octets == len(frame) - 14


def test_a_capture_cut_off_keeps_what_was_read(tmp_path: Path) -> None:
    frame = bytes(seeds.frames()["ipv4-tcp"])
    path = tmp_path / "capture"
    path.write_bytes(pcap([frame, frame, frame])[:-5])
    batch = ffi.new("struct sample[]", 8)
    with Capture(str(path)) as capture:
        assert capture.read(batch) == 2
        for _ in range(2):
            with pytest.raises(CaptureError, match="is cut off behind packet 2"):
                capture.read(batch)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no pcap or pcapng capture"),
        (b"#!/bin/sh\n" * 10, "no pcap or pcapng capture"),
        (pcap([], 105), r"link type IEEE802_11 \(105\) is not read"),
    ],
)
def test_what_is_no_capture_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=message) as raised:
        Capture(str(path))
    assert str(raised.value).startswith(str(path))


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        Capture(str(tmp_path / "none"))
    with pytest.raises(CaptureError, match="is a directory"):
        Capture(str(tmp_path))


READ_PIPE = """
import select, sys
from sampler._native import ffi
from sampler.captures.capture import Capture
batch = ffi.new("struct sample[]", 8)
with Capture("-") as capture:
    while (count := capture.read(batch)) != 0:
        if count is None:
            print("quiet", flush=True)
            select.select([capture.fd], [], [])
        else:
            print(count, flush=True)
print("end", flush=True)
"""


@pytest.mark.parametrize("form", [pcap, pcapng])
def test_a_pipe_gives_whole_records_at_once_and_never_waits_inside_one(form) -> None:
    frame = bytes(seeds.frames()["ipv4-tcp"])
    content = form([frame, frame])
    half = len(form([frame])) + 10
    with subprocess.Popen([sys.executable, "-c", READ_PIPE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        os.write(process.stdin.fileno(), content[:half])
        assert process.stdout.readline() == b"1\n"
        assert process.stdout.readline() == b"quiet\n"
        os.write(process.stdin.fileno(), content[half:])
        process.stdin.close()
        rest = process.stdout.read().split()
        # Between the two writes it may wake once more, and find half a record still.
        assert [word for word in rest if word != b"quiet"] == [b"1", b"end"]


def test_sampling_takes_the_share_it_says(tmp_path: Path) -> None:
    """100 000 packets, 1 in 10: 4.9 standard deviations (94.9) to each side is a false alarm of 1e-6."""
    frame = bytes(seeds.frames()["arp"])
    path = tmp_path / "capture"
    path.write_bytes(pcap([frame] * 100_000))
    with Capture(str(path)) as capture:
        capture.set_sampling(10, 3)
        taken = sum(count for batch, count in batches(capture) if batch[0].meta.generation == 3)
        assert abs(taken - 10_000) < 4.9 * 94.9
        assert capture.stats().packets == 100_000
        assert capture.stats().sampled == taken
