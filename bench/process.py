"""The daemon as a process: start, idle CPU, memory of a million flows. `python -m bench.process`."""

import ctypes
import os
import socket
import subprocess
import time
from collections.abc import Callable

from bench.daemon import Measured, Traffic, interfaces, running
from bench.results import Results
from lib import tunnel_frames
from lib.daemon import PROGRAM
from lib.netns import Namespace
from lib.traffic import tcp_frame, udp_frame
from lib.wait import wait_until
from sampler.kernel.loader import load
from sampler.kernel.maps import Maps

STARTS, COMMANDS = 5, 7
IDLE_SECONDS = 5.0
FLOWS, TRIES = 1_000_000, 4
BURST = 512  # frames a system call
ABOUT = (
    "One daemon on a veth of a namespace. Start: from the fork to the kernel's time stamp of the first sample, a frame "
    "every 5 ms. Idle CPU: the scheduler's run time of all threads. Memory: VmRSS; each frame is a flow of its own, "
    "sampled 1:1 from a packet socket's frames."
)

# By kind: a frame, and where in it the four octets are that tell flows apart, of a source address.
VXLAN = tunnel_frames.FRAMES["vxlan"]
KINDS: dict[str, tuple[bytes, int]] = {
    "UDP over IPv4": (udp_frame(payload=18), 26),
    "TCP over IPv4": (tcp_frame(), 26),
    "UDP over IPv6": (udp_frame("2001:db8::1", "2001:db8::2", payload=18), 34),
    "VXLAN, TCP over IPv4 inside": (VXLAN.frame, len(VXLAN.frame) - len(bytes(VXLAN.inner)) + 26),
}
GOALS = {"UDP over IPv4": 250.0, "TCP over IPv4": 250.0}


class Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("length", ctypes.c_uint),
    )


def send_flows(namespace: Namespace, link: str, frame: bytes, at: int, flows: int) -> None:
    """Send as many frames that differ in the four octets from `at` on."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = bytearray(frame * BURST)
    start = ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
    vectors = (ctypes.c_size_t * (2 * BURST))()
    messages = (Message * BURST)()
    for i in range(BURST):
        vectors[2 * i], vectors[2 * i + 1] = start + i * len(frame), len(frame)
        messages[i].iov, messages[i].iovlen = ctypes.addressof(vectors) + 2 * i * ctypes.sizeof(ctypes.c_size_t), 1
    with namespace.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((link, 0))
        for first in range(0, flows, BURST):
            count = min(BURST, flows - first)
            for i in range(count):
                place = i * len(frame) + at
                buffer[place : place + 4] = (0x0A000000 + first + i).to_bytes(4, "big")
            sent = 0
            while sent < count:  # less than all where the socket's buffer is full of frames on their way
                taken = libc.sendmmsg(sock.fileno(), ctypes.byref(messages[sent]), count - sent, 0)
                assert taken > 0, os.strerror(ctypes.get_errno())
                sent += taken


def timed(rounds: int, run: Callable[[], object]) -> list[float]:
    """Seconds that each of the rounds took."""
    found = []
    for _ in range(rounds):
        began = time.monotonic()
        run()
        found.append(time.monotonic() - began)
    return found


def main() -> None:
    """Measure all of it."""
    with Results("process", ABOUT) as results:
        start(results)
        memory(results)


def start(results: Results) -> None:
    """Start, commands, idle."""
    first, ready, cpu, idle = [], [], [], []
    with interfaces(1) as namespace:
        for _ in range(STARTS):
            with Traffic(namespace, ["b0"]) as traffic, running(namespace) as measured:
                ready.append(measured.ready)
                cpu.append(measured.cpu())
                first.append(measured.first_sample())
                if len(first) == STARTS:
                    traffic.stop()
                    idle = measured.idling(IDLE_SECONDS, 3)
                    commands(results, measured)
        results.figure("start to first sample", "s", first, at_most=1)
        results.figure("start to READY", "s", ready)
        results.figure("CPU time until then", "s", cpu)
        with Traffic(namespace, ["b0"]), running(namespace, loader="bcc") as measured:
            results.figure("start to first sample, loader bcc", "s", [measured.first_sample()])
    with Maps() as maps:
        loads = timed(STARTS, lambda: load("libbpf", maps).close())
    results.figure("of that: programs relocated, verified, compiled", "s", loads)
    results.figure("idle CPU", "% of a core", idle, at_most=0.2)


def commands(results: Results, measured: Measured) -> None:
    """Commands as processes."""
    for command in (["--version"], ["show", "stats", "--socket", str(measured.daemon.socket)]):
        line = [str(PROGRAM), *command]
        seconds = timed(COMMANDS, lambda line=line: subprocess.run(line, check=True, capture_output=True))
        results.figure(f"xdpfix {' '.join(command[:2]).removesuffix(' --socket')}", "s", seconds)


def memory(results: Results) -> None:
    """Resident memory at a million flows of each kind, each in a daemon of its own."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for kind, (frame, at) in KINDS.items():
        with interfaces(1) as namespace, running(namespace) as measured:
            points = [(0.0, measured.resident())]
            for flows in (FLOWS // 100, FLOWS // 10, FLOWS):
                for _ in range(TRIES):  # where the ring ran over, the flows that are missing come with the same frames
                    send_flows(namespace, "b0", frame, at, flows)
                    wait_until(lambda: not measured.daemon.show("stats")["ring"]["pending"], what="an empty ring")
                    if living(measured) == flows:
                        break
                assert living(measured) == flows
                points.append((float(flows), measured.resident()))
            lines[kind] = points
            results.figure(f"memory at 1 M flows, {kind}", "MiB", [points[-1][1]], at_most=GOALS.get(kind))
            grown = (points[-1][1] - points[0][1]) * 2**20 / FLOWS
            results.figure(f"memory of a flow, {kind}", "octets", [grown])
    results.figure("memory at start", "MiB", [points[0][1] for points in lines.values()])
    results.curve("memory", "flows", "MiB", lines)
    results.note(f"a flow's size is the growth from none to {FLOWS}, index and filing included")


def living(measured: Measured) -> int:
    """Flows in the cache."""
    exporters = measured.daemon.show("exporters")
    return int(exporters["main"]["flows"])


if __name__ == "__main__":
    main()
