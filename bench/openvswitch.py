"""What sampling 1:1 adds to Open vSwitch's userspace datapath, and what xdpfix takes for the same packets.

Open vSwitch reads the veth through an AF_PACKET socket and drops what it has processed; its IPFIX is its own bridge
exporter. It loses what its socket does not hold, so its CPU is for each packet that it has processed. xdpfix has
no datapath under it: it is charged with its process, over the same process while nothing comes, and, in the kernel, its
program over an empty one.

Both begin each round without flows.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.collecting import CollectingSink
from bench.live import bpf_stats, empty_cost
from bench.results import Results
from bench.running import Running, cpu_meanwhile, lost
from bench.traffic import READER_CPU, RECEIVER, Wire
from lib.ovs import OpenVSwitch
from lib.wait import wait_until

ABOUT = (
    "64-byte IPv4/UDP frames of 65 536 flows at 100 000 a second, sampled 1:1; CPU is user and system time of the "
    "processes, pinned to one processor, and for xdpfix also what the kernel says its program takes. Each round makes "
    "all flows anew. What idling takes for as long is in neither: Open vSwitch is charged with what it takes with "
    "IPFIX less what it takes without, xdpfix's process with what it takes with the frames less what it takes without."
)
FLOWS = 65536
RATE = 100_000
FRAMES, ROUNDS = 300_000, 3
TENTH = 0.1


def switch_cost(wire: Wire, switch: OpenVSwitch) -> tuple[float, float]:
    """(CPU seconds for a million processed packets, share of the packets that were processed)."""
    received = switch.received()
    spent = cpu_meanwhile(lambda: switch.pids, lambda: wire.send(FRAMES, FLOWS, RATE))
    processed = switch.received() - received
    return spent / (processed / 1e6), processed / FRAMES


def switch(results: Results, wire: Wire) -> list[float]:
    """What sampling adds to a packet in Open vSwitch, s a million."""
    off, on, shares = [], [], []
    due = 0.0  # messages: one a record
    with (
        TemporaryDirectory() as folder,
        CollectingSink(wire.namespace) as sink,
        OpenVSwitch(wire.namespace, Path(folder), RECEIVER) as running,
    ):
        for _ in range(ROUNDS):
            for sampled, spent in ((False, off), (True, on)):
                if sampled:
                    running.sample_to(sink.target)
                cpu, share = switch_cost(wire, running)
                spent.append(cpu)
                shares.append(share)
            assert running.sampled() >= shares[-1] * FRAMES
            running.flush()
            due += shares[-1] * FLOWS
            wait_until(lambda due=due: len(sink.messages) > due, what="flow records of Open vSwitch")
    results.figure("Open vSwitch, without IPFIX: CPU a million packets", "s", off)
    results.figure("Open vSwitch, IPFIX 1:1: CPU a million packets", "s", on)
    results.figure("Open vSwitch: packets processed", "%", [100 * share for share in shares])
    added = [after - before for before, after in zip(off, on, strict=True)]
    results.figure("Open vSwitch: what IPFIX adds to a million packets", "s", added)
    return added


def process_cost(running: Running, work: Callable[[], object]) -> float:
    """CPU seconds of xdpfix's process meanwhile, for a million packets."""
    return cpu_meanwhile(lambda: [running.pid], work) / (FRAMES / 1e6)


def ours(results: Results, wire: Wire) -> list[float]:
    """What xdpfix takes for a packet, s a million, in user space and in the kernel."""
    user, idle, kernel = [], [], []
    with CollectingSink(wire.namespace) as sink, Running(wire, sink.target) as running:
        running.sample(1)
        for _ in range(ROUNDS):
            running.flush()
            idle.append(process_cost(running, lambda: time.sleep(FRAMES / RATE)))  # as long as the frames take
            user.append(process_cost(running, lambda: running.send(FRAMES, FLOWS, RATE)) - idle[-1])
        with bpf_stats():
            for _ in range(ROUNDS):
                ns, runs = running.programs()
                empty = empty_cost(wire, "tc", lambda: running.send(FRAMES, FLOWS, RATE))
                ns, runs = (after - before for after, before in zip(running.programs(), (ns, runs), strict=True))
                kernel.append((ns / runs - empty) * 1e6 / 1e9)
        results.figure("xdpfix: samples lost", "", [lost(running.settle())], at_most=0)
        running.flush()
        offered = running.settle()["exporters"]["main"]["represented"]
        wait_until(lambda: sink.totals()[1] == offered, what="all flows have come to the collector")
        assert sink.totals()[0] >= ROUNDS * FLOWS  # each round made them anew
    results.figure("xdpfix: CPU a million packets, its process", "s", user)
    results.figure("xdpfix: CPU while idle for as long, not in it", "s", idle)
    results.figure("xdpfix: CPU a million packets, its program", "s", kernel)
    return [statistics.median(user) + statistics.median(kernel)]


def main() -> None:
    """Both, and how many times less it is."""
    os.sched_setaffinity(0, {READER_CPU})
    with Results("openvswitch", ABOUT) as results, Wire() as wire:
        taken = ours(results, wire)
        added = switch(results, wire)
        results.figure("xdpfix: CPU a million packets, in all", "s", taken)
        results.figure(
            "xdpfix by what IPFIX adds to Open vSwitch", "", [taken[0] / one for one in added], at_most=TENTH
        )


if __name__ == "__main__":
    main()
