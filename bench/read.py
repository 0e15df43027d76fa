"""`xdpfix read` beside softflowd, nfpcapd and pmacctd (nfprobe) on one capture: wall time of the whole process, CPU.

xdpfix runs as it is installed, from a wheel. Tools take turns. xdpfix must account every packet and flow of the
capture; what the others account is stated.
"""

import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import TREE
from bench.collecting import CollectingSink, account
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
IDLE_S = 0.5  # without CPU time: a process waits, or is at its end


@dataclass(frozen=True)
class Run:
    """What one process took, in seconds, and what it told of."""

    wall: float
    cpu: float
    records: int
    packets: int


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


@contextmanager
def started(command: Sequence[object]) -> Iterator[subprocess.Popen[bytes]]:
    """A silent process in a group of its own; nothing of it is left where it has not been waited for."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(list(map(str, command)), stdout=silent, stderr=silent, start_new_session=True)
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ended(process: subprocess.Popen[bytes]) -> float:
    """Wait for its end; CPU seconds of it and of the children that it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def timed(command: list[object]) -> tuple[float, float]:
    """Wall and CPU seconds of a process and its children."""
    start = time.monotonic()
    with started(command) as process:
        cpu = ended(process)
    if process.returncode:
        sys.exit(f"{command[0]} failed, with code {process.returncode}")
    return time.monotonic() - start, cpu


def to_sink(command: Callable[[str], list[object]]) -> Run:
    """Run what sends to this address by UDP."""
    with CollectingSink() as sink:
        took = timed(command(sink.target))
        sink.rest()
        return Run(*took, *sink.totals())


def xdpfix_writes(program: Path, capture: Path, folder: Path) -> Run:
    """To a file of messages."""
    path = folder / "flows.ipfix"
    took = timed([program, "read", "--write", path, capture])
    return Run(*took, *account(messages_of(path.read_bytes())))


def xdpfix_sends(program: Path, capture: Path, folder: Path) -> Run:
    """By UDP, at the pace that a collector's default buffer takes."""
    return to_sink(lambda target: [program, "read", "--target", target, capture])


def softflowd(program: Path, capture: Path, folder: Path) -> Run:
    """By UDP. With room for all flows: its default is 8192."""
    places = ["-p", folder / "softflowd.pid", "-c", "none"]  # it would wait for somebody at its control socket
    how = ["softflowd", "-d", "-r", capture, "-m", "200000", "-v", "10", *places]
    return to_sink(lambda target: [*how, "-n", target])


def nfpcapd(program: Path, capture: Path, folder: Path) -> Run:
    """To files of its own, which nfdump sums up."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        took = timed(["nfpcapd", "-r", capture, "-w", name])
        told = subprocess.run(["nfdump", "-R", name, "-I"], check=True, capture_output=True, text=True).stdout
    figures = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
    return Run(*took, int(figures["Flows"]), int(figures["Packets"]))


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
    with CollectingSink() as sink:
        config = folder / "pmacctd.conf"
        config.write_text(
            f"daemonize: false\npcap_savefile: {capture}\nplugins: nfprobe\nnfprobe_receiver: {sink.target}\n"
            "nfprobe_version: 10\nnfprobe_maxflows: 200000\naggregate: src_host,dst_host,src_port,dst_port,proto,tos\n"
            "plugin_pipe_size: 268435456\nplugin_buffer_size: 65536\n"
        )
        start = time.monotonic()
        with started(["pmacctd", "-f", config]) as process:
            moved = when_idle(process.pid)
            told = time.monotonic()
            os.kill(process.pid, signal.SIGINT)
            cpu = ended(process)
        wall = moved - start + time.monotonic() - told
        sink.rest()
        return Run(wall, cpu, *sink.totals())


def when_idle(group: int) -> float:
    """Wait until a process group has read its file: its CPU time stands still, or its leader has ended. When it did."""
    ticks, moved = 0, time.monotonic()
    # It sleeps before it begins, too.
    while time.monotonic() < moved + (IDLE_S if ticks > TICKS else 10 * IDLE_S):
        if os.waitid(os.P_PID, group, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return time.monotonic()
        now = _cpu_ticks(group)
        if now > ticks + TICKS // 50:  # more than its own clock takes
            ticks, moved = now, time.monotonic()
        time.sleep(0.02)
    return moved


Tool = Callable[[Path, Path, Path], Run]
OURS: dict[str, Tool] = {"xdpfix read --write": xdpfix_writes, "xdpfix read --target": xdpfix_sends}
PEERS: dict[str, Tool] = {"nfpcapd -r -w": nfpcapd, "softflowd -r": softflowd}
SLOWEST = "pmacctd, nfprobe"  # by far: one round of it is enough


def main() -> None:
    """Run the tools by turns and store what they took."""
    about = (
        f"A pcap file of {PACKETS} UDP packets of 64 octets, {FLOWS} flows in random order, read by each tool in turn, "
        f"{ROUNDS} rounds ({SLOWEST}: one). Wall time is that of the whole process, its start included. Packets "
        "accounted: those in the flow records that a tool has written or sent."
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
            results.figure(f"{tool}: packets accounted", "%", [100 * run.packets / PACKETS for run in found])
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
