"""`xdpfix read` and collectors: a capture is read faster than they take its flows, and may end many at one moment."""

import argparse
import math
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from exporter.decoder import Decoder
from exporter.exporter import BURST_RECORDS
from exporter.options import ExporterOptions, Target
from lib.capturefile import pcap
from lib.receiver import StreamReceiver
from lib.traffic import udp_frame
from sampler.captures import read
from sampler.config import READ_MAX_FLOWS
from sampler.tunnels.ports import TunnelPorts

PROGRAM = str(Path(sys.executable).with_name("xdpfix"))
FORCED = 4  # IANA flowEndReason
FLOWS = 50_000
HOUR = 3600
FRAME = udp_frame()
SOURCE_AT = 26  # in the frame
FRAMES = [FRAME[:SOURCE_AT] + number.to_bytes(4, "big") + FRAME[SOURCE_AT + 4 :] for number in range(FLOWS)]


class Collector:
    """By UDP, with the receive buffer that a socket has: it is read only while the clock says that time passes.

    It takes the place of the module time in sampler.captures.read.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.target = Target("127.0.0.1", self._socket.getsockname()[1])
        self.decoder = Decoder()
        self.reasons: Counter[int] = Counter()  # records by flowEndReason
        self.slept: list[float] = []
        self.now = 0.0
        self.at_first_pause = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if len(self.slept) == 1:
            self.at_first_pause()
        self.read()

    def read(self) -> None:
        with suppress(BlockingIOError):
            while True:
                for record in self.decoder.decode(self._socket.recv(65535), "a session"):
                    if not record.scope_count:
                        self.reasons[record.get("flowEndReason")] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def run(collector: Collector, *paths: Path, **options: object) -> None:
    """`xdpfix read --target` of the collector, in this process."""
    settings = {"sampling": 1, "cache_max_flows": READ_MAX_FLOWS, "targets": (collector.target,), **options}
    arguments = {"files": [str(path) for path in paths], "options": ExporterOptions(**settings)}
    shown = {"tunnel_ports": TunnelPorts(), "json": False, "table": False, "write": None}
    assert read.main(argparse.Namespace(**arguments, **shown)) == 0


def written(path: Path, frames: list[bytes], times: list[int]) -> Path:
    path.write_bytes(pcap(frames, times=times))
    return path


def gap(folder: Path) -> list[Path]:
    """All flows in one second, and a packet an hour later."""
    return [written(folder / "a.pcap", [*FRAMES, FRAME], [1000] * FLOWS + [1000 + HOUR])]


def two_files(folder: Path) -> list[Path]:
    """The same, and the packet is in another capture."""
    first = written(folder / "a.pcap", FRAMES, [1000] * FLOWS)
    return [first, written(folder / "b.pcap", [FRAME], [1000 + HOUR])]


def no_gap(folder: Path) -> list[Path]:
    """A few thousand flows a second for some time, then a single one goes on."""
    times = [1000 + number * 20 // FLOWS for number in range(FLOWS)]
    return [written(folder / "a.pcap", [*FRAMES, *[FRAME] * 40], [*times, *range(1020, 1060)])]


def whole(folder: Path) -> list[Path]:
    """All flows in one second, and that is all."""
    return [written(folder / "a.pcap", FRAMES, [1000] * FLOWS)]


@pytest.mark.parametrize(
    ("capture", "max_flows"), [(gap, READ_MAX_FLOWS), (two_files, READ_MAX_FLOWS), (no_gap, READ_MAX_FLOWS), (whole, 9)]
)
def test_a_collector_gets_all_records(capture, max_flows, tmp_path, monkeypatch, capsys) -> None:
    """By UDP, into the buffer of any socket; with nine flows at most, packets end flows themselves."""
    with Collector() as collector:
        monkeypatch.setattr(read, "time", collector)
        run(collector, *capture(tmp_path), cache_max_flows=max_flows)
        collector.read()
        made = int(re.search(r"(\d+) records\n", capsys.readouterr().err)[1])
        assert made >= FLOWS
        assert (collector.decoder.stats.lost_records, collector.reasons.total()) == (0, made)


def test_a_signal_ends_the_pace(tmp_path, monkeypatch) -> None:
    """A stop right behind a gap: no pause is long, and what is still due ends with all that is left, as forced."""
    with Collector() as collector:
        monkeypatch.setattr(read, "time", collector)
        collector.at_first_pause = lambda: signal.raise_signal(signal.SIGTERM)
        run(collector, *gap(tmp_path))
        collector.read()
        assert max(collector.slept) <= 0.1
        assert collector.reasons.total() >= FLOWS
        assert collector.reasons[FORCED] >= FLOWS - 2 * BURST_RECORDS


def test_a_collector_that_stalls_is_waited_for_once(tmp_path, monkeypatch, capsys) -> None:
    """Not at each burst: of 50 000 flows there are 65."""
    with Collector() as clock, StreamReceiver(buffer=4096) as stalled:
        monkeypatch.setattr(read, "time", clock)
        # A thread connects, and takes time that this clock does not know.
        monkeypatch.setattr(read, "CONNECT_S", math.inf)
        clock.target = stalled.target
        run(clock, *gap(tmp_path))
        assert "lost on the way" in capsys.readouterr().err
        waited = sum(seconds for seconds in clock.slept if seconds == 0.001)
        # Sometimes the kernel finds room for some more messages, and the wait begins anew.
        assert read.STALL_S - 0.01 <= waited < 5 * read.STALL_S


def slow(server: socket.socket, taken: list[int]) -> None:
    """Take 2 MB/s at most, less than the pace."""
    moment = threading.Event()
    connection, _ = server.accept()
    with connection:
        while octets := connection.recv(1 << 16):
            taken.append(len(octets))
            moment.wait(0.03)


@pytest.mark.parametrize("capture", [gap, no_gap, whole])
def test_a_slow_collector_is_waited_for(capture, tmp_path: Path) -> None:
    """By TCP, which says when it takes no more; the real program and its clock."""
    taken: list[int] = []
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        server.bind(("127.0.0.1", 0))
        server.listen()
        reader = threading.Thread(target=slow, args=(server, taken))
        reader.start()
        target = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        command = [PROGRAM, "read", *map(str, capture(tmp_path)), "--target", target]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        reader.join()
    assert done.returncode == 0
    assert "lost on the way" not in done.stderr
    assert sum(taken) > FLOWS * 50
