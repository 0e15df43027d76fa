"""CPU time in user space for each sampled packet, at a pace that nobody is overloaded by: xdpfix beside its peers.

All see the same frames of the same veth, in turn, on the same processor, and export IPFIX to a collector that
counts what really comes. CPU is user and system time of the process tree, from before the first frame until all
has settled. What an agent sends at its end is in what it accounted for, and not in the CPU: xdpfix's is stated apart.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.collecting import CollectingSink
from bench.results import Results
from bench.running import SETTLE, Running, cpu_meanwhile, cpu_seconds, lost
from bench.traffic import READER_CPU, RECEIVER, Wire
from lib.wait import wait_until

ABOUT = (
    "64-byte IPv4/UDP frames of 65 536 flows at 200 000 a second, all sampled (1:1); CPU is user and system time of "
    "the agent, pinned to one processor, the traffic being made and received on another one."
)
FLOWS = 65536
RATE = 200_000
FRAMES, ROUNDS = 800_000, 3
GOAL = 0.15
# Memory for all flows, and no timeout while it is measured: their own work is what is compared.
PMACCTD = """
daemonize: false
pcap_interface: {interface}
plugins: nfprobe
aggregate: src_host, dst_host, src_port, dst_port, proto, tos
nfprobe_receiver: {target}
nfprobe_version: 10
nfprobe_maxflows: 200000
nfprobe_timeouts: maxlife=3600:expint=600:udp=600:general=600
pidfile: {folder}/pid
"""


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def listening(wire: Wire) -> bool:
    """Whether somebody takes packets from the receiver by AF_PACKET."""
    with wire.namespace.enter():
        sockets = Path("/proc/thread-self/net/packet").read_text().splitlines()[1:]
    number = str(wire.namespace.ifindex(RECEIVER))
    return any(line.split()[4] == number for line in sockets)


@contextmanager
def agent(wire: Wire, command: Sequence[str]) -> Iterator[int]:
    """Run a peer on the reader's processor; SIGTERM and its own last messages at the end."""
    silent = subprocess.DEVNULL
    process = wire.namespace.popen("taskset", "-c", str(READER_CPU), *command, stdout=silent, stderr=silent)
    try:
        wait_until(lambda: listening(wire) or process.poll() is not None, what=f"{command[0]} takes packets")
        assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            for pid in tree(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()
            raise


def measured(pids: Callable[[], Iterable[int]], send: Callable[[int, int, float], object]) -> list[float]:
    """CPU seconds a million packets, in some rounds."""
    return [cpu_meanwhile(pids, lambda: send(FRAMES, FLOWS, RATE)) / (FRAMES / 1e6) for _ in range(ROUNDS)]


def accounted(results: Results, name: str, sink: CollectingSink) -> None:
    """What the collector has received of an agent that has ended."""
    sink.rest()
    results.figure(f"{name}: packets in the records received", "%", [100 * sink.totals()[1] / (ROUNDS * FRAMES)])


def peer(
    results: Results, wire: Wire, name: str, command: Sequence[str], sink: CollectingSink, last: Sequence[str] = ()
) -> float:
    """Measure a peer; the median. `last`: a command at its end."""
    with agent(wire, command) as pid:
        spent = measured(lambda: tree(pid), wire.send)
        if last:
            wire.namespace.run(*last)
    figure = results.figure(f"{name}: user-space CPU a million packets", "s", spent)
    accounted(results, name, sink)
    return figure.value


def ours(results: Results, wire: Wire, sink: CollectingSink) -> float:
    """The same for xdpfix; the median."""
    with Running(wire, sink.target) as running:
        idle = cpu_meanwhile(lambda: [running.pid], lambda: None) / SETTLE
        running.sample(1)
        spent = measured(lambda: [running.pid], running.send)
        figure = results.figure("xdpfix: user-space CPU a million packets", "s", spent, at_most=GOAL)
        ticks = idle * (FRAMES / RATE + SETTLE) / (FRAMES / 1e6)
        results.figure("xdpfix: of them for ticks, samples or not", "s", [ticks])
        results.figure("xdpfix: samples lost", "", [lost(running.settle())], at_most=0)
        before = cpu_seconds([running.pid])
        running.flush()
        wait_until(lambda: sink.totals()[0] >= FLOWS, what="all flows have come to the collector")
        results.figure("xdpfix: CPU for the export of 65 536 flows", "s", [cpu_seconds([running.pid]) - before])
    accounted(results, "xdpfix", sink)
    return figure.value


def main() -> None:
    """One after the other."""
    os.sched_setaffinity(0, {READER_CPU})
    with Results("paced", ABOUT) as results, Wire() as wire, TemporaryDirectory() as folder:
        with CollectingSink(wire.namespace) as sink:
            least = ours(results, wire, sink)
        with CollectingSink(wire.namespace) as sink:
            command = ("softflowd", "-d", "-i", RECEIVER, "-n", sink.target, "-v", "10", "-m", "200000")
            files = ("-p", f"{folder}/softflowd.pid", "-c", f"{folder}/softflowd.ctl")
            expire = ("softflowctl", "-c", f"{folder}/softflowd.ctl", "expire-all")
            softflowd = peer(
                results, wire, "softflowd", (*command, *files, "-t", "general=600", "-t", "udp=600"), sink, expire
            )
        with CollectingSink(wire.namespace) as sink:
            config = Path(folder, "pmacctd.conf")
            config.write_text(PMACCTD.format(interface=RECEIVER, target=sink.target, folder=folder))
            pmacctd = peer(results, wire, "pmacctd", ("pmacctd", "-f", str(config)), sink)
        results.figure("softflowd's CPU by xdpfix's", "times", [softflowd / least])
        results.figure("pmacctd's CPU by xdpfix's", "times", [pmacctd / least])


if __name__ == "__main__":
    main()
