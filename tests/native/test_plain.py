"""Records that are read without libpcap against the same octets read by libpcap: a pipe's are all libpcap's.

Same samples, same counts and, where a capture is damaged, the same words about it.
"""

import os
import random
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from fuzz import seeds

from lib.capturefile import PCAP_MAGIC, PCAP_MAGIC_NANO, pcap
from lib.corpus import captures
from lib.tunnel_frames import ports
from sampler._native import ffi
from sampler.captures.capture import Capture, CaptureError, batches

FRAMES = [bytes(frame) for name, frame in seeds.frames().items() if not name.startswith("l3-")]
PADDED = [frame + bytes(random.Random(i).randrange(1200)) for i, frame in enumerate(FRAMES * 20)]
MODIFIED_MAGIC = 0xA1B2CD34  # Kuznetzov's patched tcpdump: longer record headers
SECONDS, FRACTION, CAPTURED, LENGTH = range(4)
SNAPSHOT_AT = 16


def outcome(path: Path) -> tuple[list[bytes], str, str]:
    """Samples as octets by the batch, what was counted, and what was said of damage."""
    read: list[bytes] = []
    try:
        with Capture(str(path)) as capture:
            capture.set_tunnels(ports())
            error = ""
            try:
                for batch, count in batches(capture):
                    read.append(bytes(ffi.buffer(batch, count * ffi.sizeof("struct sample"))))
            except CaptureError as damage:
                error = str(damage)
            stats = capture.stats()
    except CaptureError as refusal:
        return [], "", str(refusal).replace(str(path), "")
    counted = {name: value for name, value in vars(stats).items() if name != "position"}
    return read, str(counted), error.replace(str(path), "")


def by_libpcap(content: bytes, folder: Path) -> tuple[list[bytes], str, str]:
    """The outcome of the same octets in a pipe with a name."""
    path = folder / "pipe"
    os.mkfifo(path)

    def write() -> None:
        # The reader leaves what is no capture, or damaged.
        with suppress(BrokenPipeError), path.open("wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return outcome(path)
    finally:
        writer.join()
        path.unlink()


def same(content: bytes, folder: Path) -> tuple[list[bytes], str, str]:
    path = folder / "capture"
    path.write_bytes(content)
    found = outcome(path)
    assert found == by_libpcap(content, folder)
    return found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [PCAP_MAGIC, PCAP_MAGIC_NANO, MODIFIED_MAGIC])
def test_every_form_of_header(order: str, magic: int, tmp_path: Path) -> None:
    content = pcap(PADDED, order=order, magic=magic, tick=999)
    samples, _, error = same(content, tmp_path)
    if magic != MODIFIED_MAGIC:
        assert error == "" and sum(map(len, samples)) == len(PADDED) * ffi.sizeof("struct sample")
    for cut in (1, 5, 15, 16, 17, 600):
        samples, _, error = same(content[:-cut], tmp_path)
        assert "cut off" in error or magic == MODIFIED_MAGIC or len(PADDED[-1]) + 16 == cut


@pytest.mark.parametrize("field", [SECONDS, FRACTION, CAPTURED, LENGTH])
@pytest.mark.parametrize(
    "value", [0, 1, 999_999, 1_000_000, 65_535, 65_536, 262_144, 262_145, 2**31 - 1, 2**31, 2**32 - 1]
)
def test_a_record_that_is_odd(field: int, value: int, tmp_path: Path) -> None:
    """In the middle: what comes behind it is read as well, if libpcap can."""
    content = bytearray(pcap(PADDED, tick=999))
    at = len(pcap(PADDED[: len(PADDED) // 2]))
    struct.pack_into("<I", content, at + 4 * field, value)
    samples, *_ = same(bytes(content), tmp_path)
    assert sum(map(len, samples)) >= len(PADDED) // 2 * ffi.sizeof("struct sample")


@pytest.mark.parametrize("snapshot", [0, 1, 60, 200, 262_144, 2**31 - 1, 2**32 - 1])
def test_a_snapshot_length(snapshot: int, tmp_path: Path) -> None:
    """Records longer than it are cut to it, as libpcap does."""
    content = bytearray(pcap(PADDED))
    struct.pack_into("<I", content, SNAPSHOT_AT, snapshot)
    samples, _, error = same(bytes(content), tmp_path)
    assert error == "" and sum(map(len, samples)) == len(PADDED) * ffi.sizeof("struct sample")


@pytest.mark.parametrize("version", [(2, 2), (2, 3), (2, 5), (3, 0), (543, 0)])
def test_a_version(version: tuple[int, int], tmp_path: Path) -> None:
    content = bytearray(pcap(PADDED))
    struct.pack_into("<HH", content, 4, *version)
    same(bytes(content), tmp_path)


def block(kind: int, body: bytes) -> bytes:
    """A block of pcapng (draft-ietf-opsawg-pcapng), little-endian."""
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + length + body + length


def test_a_block_of_pcapng_that_looks_like_a_header(tmp_path: Path) -> None:
    """libpcap has read on to the first interface: what is before its position is the file's to choose."""
    section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    # Its last octets are 24 as pcap begins, the length of the block as the link type.
    begin = struct.pack("<IHHIII", PCAP_MAGIC, 2, 4, 0, 0, 65_535)
    options = struct.pack("<HH", 1, len(begin)) + begin
    interface = block(1, struct.pack("<HHI", 1, 0, 65_535) + options)
    packets = [
        block(6, struct.pack("<5I", 0, 0, i, len(frame), len(frame)) + frame + bytes(-len(frame) % 4))
        for i, frame in enumerate(FRAMES)
    ]
    samples, _, error = same(section + interface + b"".join(packets), tmp_path)
    assert error == "" and sum(map(len, samples)) == len(FRAMES) * ffi.sizeof("struct sample")


def test_records_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    longest = 262_144
    frames = [FRAMES[0] + bytes(200_000), *PADDED[:50], FRAMES[1] + bytes(longest - len(FRAMES[1])), *PADDED[50:90]]
    content = bytearray(pcap(frames))
    struct.pack_into("<I", content, SNAPSHOT_AT, longest)
    samples, _, error = same(bytes(content), tmp_path)
    assert error == "" and sum(map(len, samples)) == len(frames) * ffi.sizeof("struct sample")
    frames.append(FRAMES[1] + bytes(longest + 1 - len(FRAMES[1])))
    content = bytearray(pcap(frames))
    struct.pack_into("<I", content, SNAPSHOT_AT, longest)
    assert "cannot be read behind packet 92" in same(bytes(content), tmp_path)[2]


def test_a_capture_that_does_not_begin_the_file(tmp_path: Path) -> None:
    """Standard input may be a file that somebody has read the begin of."""
    path = tmp_path / "capture"
    path.write_bytes(b"something else" + pcap(PADDED[:30]))
    descriptor = os.open(path, os.O_RDONLY)
    before = os.dup(0)
    try:
        os.lseek(descriptor, len(b"something else"), os.SEEK_SET)
        os.dup2(descriptor, 0)
        samples, counted, error = outcome(Path("-"))
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(descriptor)
    assert (samples, counted, error) == by_libpcap(pcap(PADDED[:30]), tmp_path)
    assert error == "" and samples


@pytest.mark.parametrize("package", ["tcpdump", "ndpi"])
def test_the_corpus(package: str, tmp_path: Path) -> None:
    paths = captures(package)
    if not paths:
        pytest.skip("the corpus is not there: python3 tests/lib/corpus.py fetches it")
    for path in paths:
        assert same(path.read_bytes(), tmp_path), path
