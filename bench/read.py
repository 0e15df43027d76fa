"""`xdpfix read` beside softflowd, nfpcapd and pmacctd (nfprobe) on one capture: wall time of the whole process, CPU.

xdpfix runs as it is installed, from a wheel. Tools take turns; each must account every packet of the capture.
"""

import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench import TREE
from bench.results import Results
from lib.traffic import udp_frame

PACKETS, FLOWS = 4_000_000, 100_000
GAP_NS = 950  # between packets: 1.05 million a second
CHUNK = 50_000
# Of port 53, say, nfpcapd keeps every packet by itself.
PORT = 5001
ROUNDS = 5
GOAL = 5
TICKS = os.sysconf("SC_CLK_TCK")
IDLE_S = 0.5  # without CPU time: a program that does not end has read its file
PACKET_DELTA_COUNT = 2
SO_RCVBUFFORCE = 33
BUFFER = 1 << 29


@dataclass(frozen=True)
class Run:
    """What one process took, in seconds, and what it told of."""

    wall: float
    cpu: float
    packets: int
    records: int


class Sink:
    """A collector that keeps datagrams for later: while a tool runs it costs as little as may be."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(IDLE_S)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._ended = False
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def _receive(self) -> None:
        while True:
            try:
                self.messages.append(self._socket.recv(65535))
            except TimeoutError:
                if self._ended:
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()


def write_capture(path: Path) -> None:
    """Flows by source address and port, in random order, the same each time."""
    order = random.Random(1)
    base = bytes(udp_frame(payload=22))
    frames = []
    for flow in range(FLOWS):
        addresses = struct.pack(">I", 0x0A000000 + flow) + base[30:34]
        frames.append(
            base[:26] + addresses + struct.pack(">HH", 1024 + flow % 60000, PORT) + base[38:40] + bytes(2) + base[42:]
        )
    header = struct.Struct("<IIII").pack
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for first in range(0, PACKETS, CHUNK):
            parts = []
            for number, frame in enumerate(order.choices(frames, k=CHUNK), start=first):
                microseconds = number * GAP_NS // 1000
                parts.append(
                    header(1_700_000_000 + microseconds // 10**6, microseconds % 10**6, len(frame), len(frame))
                )
                parts.append(frame)
            file.write(b"".join(parts))


def install(folder: Path) -> Path:
    """Install the tree as `make install` does; the program."""
    pip = [TREE / ".venv/bin/pip", "--quiet", "--disable-pip-version-check"]
    tools = os.environ | {"PATH": f"{TREE}/.venv/bin:{os.environ['PATH']}"}
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheel", TREE]
    subprocess.run(wheel, check=True, env=tools)
    packages = folder / "packages"
    wheels = (folder / "wheel").iterdir()
    subprocess.run([*pip, "install", "--no-compile", "--target", packages, *wheels], check=True)
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", packages], check=True)
    program = folder / "xdpfix"
    program.write_text((TREE / "scripts/xdpfix.in").read_text().replace("@PREFIX@/lib/xdpfix", str(packages)))
    program.chmod(0o755)
    return program


def messages_of(octets: bytes) -> Iterator[bytes]:
    """The messages of an IPFIX file."""
    offset = 0
    while offset < len(octets):
        (length,) = struct.unpack_from(">H", octets, offset + 2)
        yield octets[offset : offset + length]
        offset += length


def _templates(octets: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Each template of a set's content: its id, octets a record, and where packetDeltaCount is, in how many octets."""
    offset = 0
    while offset + 4 <= len(octets):
        number, count = struct.unpack_from(">HH", octets, offset)
        offset += 4
        size, at, length = 0, 0, 0
        for _ in range(count):
            element, octet_count = struct.unpack_from(">HH", octets, offset)
            offset += 8 if element & 0x8000 else 4
            if element == PACKET_DELTA_COUNT:
                at, length = size, octet_count
            size += octet_count
        yield number, size, at, length


def account(messages: Iterator[bytes]) -> tuple[int, int]:
    """Packets and flow records in these messages; without the decoder that takes 45 us a record."""
    known: dict[int, tuple[int, int, int]] = {}
    packets = records = 0
    for message in messages:
        offset = 16
        while offset < len(message):
            number, length = struct.unpack_from(">HH", message, offset)
            begin, end = offset + 4, offset + length
            if number == 2:
                known |= {template: rest for template, *rest in _templates(message[begin:end])}
            elif number in known and known[number][2]:
                size, at, octets = known[number]
                counts = range(begin + at, end - size + at + 1, size)
                packets += sum(int.from_bytes(message[place : place + octets], "big") for place in counts)
                records += len(counts)
            offset += length
    return packets, records


def timed(command: list[object]) -> tuple[float, float]:
    """Wall and CPU seconds of a process and its children."""
    start = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed, with code {process.returncode}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime


def xdpfix_writes(program: Path, capture: Path, folder: Path) -> Run:
    """To a file of messages."""
    path = folder / "flows.ipfix"
    took = timed([program, "read", "--write", path, capture])
    return Run(*took, *account(messages_of(path.read_bytes())))


def xdpfix_sends(program: Path, capture: Path, folder: Path) -> Run:
    """By UDP, at the pace that a collector's default buffer takes."""
    with Sink() as sink:
        took = timed([program, "read", "--target", sink.address, capture])
    return Run(*took, *account(iter(sink.messages)))


def softflowd(program: Path, capture: Path, folder: Path) -> Run:
    """By UDP. With room for all flows: its default is 8192."""
    with Sink() as sink:
        places = ["-p", folder / "softflowd.pid", "-c", "none"]  # it would wait for somebody at its control socket
        took = timed(["softflowd", "-d", "-r", capture, "-m", "200000", "-v", "10", "-n", sink.address, *places])
    return Run(*took, *account(iter(sink.messages)))


def nfpcapd(program: Path, capture: Path, folder: Path) -> Run:
    """To files of its own, which nfdump sums up."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        took = timed(["nfpcapd", "-r", capture, "-w", name])
        told = subprocess.run(["nfdump", "-R", name, "-I"], check=True, capture_output=True, text=True).stdout
    figures = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
    return Run(*took, int(figures["Packets"]), int(figures["Flows"]))


def _cpu_ticks(group: int) -> int:
    """CPU time of a process group so far."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks


def pmacctd(program: Path, capture: Path, folder: Path) -> Run:
    """By UDP. It may stay behind the end of the file: told to go when its CPU time stands still, without that wait."""
    with Sink() as sink:
        config = folder / "pmacctd.conf"
        config.write_text(
            f"daemonize: false\npcap_savefile: {capture}\nplugins: nfprobe\nnfprobe_receiver: {sink.address}\n"
            "nfprobe_version: 10\nnfprobe_maxflows: 200000\naggregate: src_host,dst_host,src_port,dst_port,proto,tos\n"
            "plugin_pipe_size: 268435456\nplugin_buffer_size: 65536\n"
        )
        start = moved = time.monotonic()
        process = subprocess.Popen(
            ["pmacctd", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        ticks = 0
        # It sleeps before it begins, too.
        while time.monotonic() < moved + (IDLE_S if ticks > TICKS else 10 * IDLE_S):
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                moved = time.monotonic()
                break
            now = _cpu_ticks(process.pid)
            if now > ticks + TICKS // 50:  # more than its own clock takes
                ticks, moved = now, time.monotonic()
            time.sleep(0.02)
        told = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = moved - start + time.monotonic() - told
    return Run(wall, usage.ru_utime + usage.ru_stime, *account(iter(sink.messages)))


Tool = Callable[[Path, Path, Path], Run]
OURS: dict[str, Tool] = {"xdpfix read --write": xdpfix_writes, "xdpfix read --target": xdpfix_sends}
PEERS: dict[str, Tool] = {"nfpcapd -r -w": nfpcapd, "softflowd -r": softflowd}
SLOWEST = "pmacctd, nfprobe"  # by far: one round of it is enough


def main() -> None:
    """Run the tools by turns and store what they took."""
    about = (
        f"A pcap file of {PACKETS} UDP packets of 64 octets, {FLOWS} flows in random order, read by each tool in turn, "
        f"{ROUNDS} rounds ({SLOWEST}: one). Wall time is that of the whole process, its start included."
    )
    with Results("read", about) as results, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, capture = install(folder), folder / "capture.pcap"
        write_capture(capture)
        runs: dict[str, list[Run]] = {}
        for turn in range(ROUNDS):
            tools = OURS | PEERS | ({SLOWEST: pmacctd} if not turn else {})
            for tool, run in tools.items():
                runs.setdefault(tool, []).append(run(program, capture, folder))
        for tool, found in runs.items():
            results.figure(f"{tool}: wall", "s", [run.wall for run in found])
            results.figure(f"{tool}: CPU", "s", [run.cpu for run in found])
            results.figure(f"{tool}: packets", "M/s", [PACKETS / run.wall / 1e6 for run in found])
            counted = sorted({(run.packets, run.records) for run in found})
            results.note(f"{tool}: " + ", ".join(f"{p} packets in {r} records" for p, r in counted))
        fastest = [min(runs[peer][turn].wall for peer in PEERS) for turn in range(ROUNDS)]
        least = [min(runs[peer][turn].cpu for peer in PEERS) for turn in range(ROUNDS)]
        ours = runs["xdpfix read --write"]
        results.figure(
            "wall, fastest peer / xdpfix",
            "times",
            [f / o.wall for f, o in zip(fastest, ours, strict=True)],
            at_least=GOAL,
        )
        results.figure("CPU, least peer / xdpfix", "times", [c / o.cpu for c, o in zip(least, ours, strict=True)])
        results.note(
            "xdpfix reads in one thread and counts in another; to a collector it keeps to 154 000 records a second."
        )
        wrong = [tool for tool in OURS if any((run.packets, run.records) != (PACKETS, FLOWS) for run in runs[tool])]
        if wrong:
            sys.exit(f"not all packets and flows are there: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
