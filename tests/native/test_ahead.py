"""A capture file read ahead by a thread against the same file read by who asks: same batches, counts and errors."""

import threading
from pathlib import Path

import pytest
from fuzz import seeds

from lib.capturefile import pcap
from lib.corpus import captures
from lib.tunnel_frames import ports
from sampler._native import ffi
from sampler.captures.capture import Capture, CaptureError, CaptureStats

SAMPLE = ffi.sizeof("struct sample")
FRAMES = [bytes(frame) for name, frame in seeds.frames().items() if not name.startswith("l3-")]


def position_apart(stats: CaptureStats) -> dict[str, object]:
    return {name: value for name, value in vars(stats).items() if name != "position"}


def steps(path: Path, size: int, *, ahead: bool) -> list[object]:
    """Each batch with what was counted by its end, then what was said of the end, twice."""
    found: list[object] = []
    with Capture(str(path)) as capture:
        capture.set_tunnels(ports())
        batch = ffi.new("struct sample[]", size)
        if ahead:
            capture.start(size)
        ends = 0
        while ends < 2:
            try:
                if ahead:
                    given = capture.next()
                    if given is None:
                        continue
                    batch, count = given
                else:
                    count = capture.read(batch) or 0
                found.append((bytes(ffi.buffer(batch, count * SAMPLE)), position_apart(capture.stats())))
                ends += not count
            except CaptureError as error:
                found.append((str(error), position_apart(capture.stats())))
                ends += 1
    return found


@pytest.mark.parametrize("size", [1, 7, 2048])
@pytest.mark.parametrize("cut", [0, 5])
def test_made_up_captures(size: int, cut: int, tmp_path: Path) -> None:
    """Of times that end batches before they are full, and one that is cut off."""
    path = tmp_path / "capture"
    content = pcap(FRAMES * 40, times=[1000 + i // 300 for i in range(len(FRAMES) * 40)])
    path.write_bytes(content[: len(content) - cut])
    found = steps(path, size, ahead=True)
    assert found == steps(path, size, ahead=False)
    assert (
        sum(len(octets) for octets, _ in found if isinstance(octets, bytes)) == (len(FRAMES) * 40 - bool(cut)) * SAMPLE
    )


@pytest.mark.parametrize("package", ["tcpdump", "ndpi"])
def test_the_corpus(package: str) -> None:
    paths = captures(package)
    if not paths:
        pytest.skip("the corpus is not there: python3 tests/lib/corpus.py fetches it")
    for path in paths:
        try:
            Capture(str(path)).close()
        except CaptureError:
            continue
        assert steps(path, 64, ahead=True) == steps(path, 64, ahead=False), path


@pytest.mark.parametrize("batches", [0, 1, 5])
def test_it_is_left_at_any_time(batches: int, tmp_path: Path) -> None:
    """With more to come than there is room ahead: the thread ends, and what was counted is what was given out."""
    path = tmp_path / "capture"
    path.write_bytes(pcap(FRAMES * 40, times=[1000] * len(FRAMES) * 40))
    before = len(list(Path("/proc/self/task").iterdir()))
    with Capture(str(path)) as capture:
        capture.start(16)
        for i in range(batches):
            given = None
            while given is None:
                given = capture.next()
            assert given[1] == 16 and capture.stats().packets == 16 * (i + 1)
        assert capture.stats().packets == 16 * batches
        assert len(list(Path("/proc/self/task").iterdir())) == before + 1
    assert len(list(Path("/proc/self/task").iterdir())) == before


def test_what_is_taken_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(pcap(FRAMES * 400, times=[1000] * len(FRAMES) * 400))
    with Capture(str(path)) as capture:
        capture.set_sampling(10, 3)
        capture.start(64)
        taken = 0
        while (given := capture.next()) is None or given[1]:
            if given is not None:
                taken += given[1]
                assert {given[0][i].meta.generation for i in range(given[1])} == {3}
                assert capture.stats().sampled == taken
        assert capture.stats().packets == len(FRAMES) * 400


def test_many_at_once(tmp_path: Path) -> None:
    """Threads that start, wait and end at the same time, as the thread sanitizer likes to see it."""
    path = tmp_path / "capture"
    path.write_bytes(pcap(FRAMES * 20, times=[1000] * len(FRAMES) * 20))
    expected = steps(path, 5, ahead=False)
    results: list[list[object]] = []
    readers = [threading.Thread(target=lambda: results.append(steps(path, 5, ahead=True))) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert results == [expected] * 4
