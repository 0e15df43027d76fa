"""From 1 to 256 interfaces: start, memory, idle CPU, and what a packet costs on one of them.

What the kernel takes to attach is shown apart: it waits for an RCU grace period for each program that is attached to
tcx (tcx_entry_sync in kernel/bpf/tcx.c), one after the other.
"""

import os
import statistics
import time
from contextlib import ExitStack

from bench.daemon import Measured, Traffic, interfaces, running
from bench.results import Results
from lib.netns import Namespace
from lib.programs import TC_UNSPEC, program
from lib.traffic import udp_frame
from sampler._native import ffi, lib

COUNTS = (1, 4, 16, 64, 256)
# Seconds after the start until nothing of it is left to do (looks for what interfaces have in common), and of idling.
SETTLED, IDLE_SECONDS = 3.0, 8.0
ROUNDS, REPEAT = 7, 50_000
NEVER = 2**32 - 1
FRAME = udp_frame(payload=18)
ABOUT = (
    "A daemon on 1 to 256 veths of a namespace, both directions at tcx. Start: from the fork to the kernel's time "
    "stamp of the first sample, and to READY. Idle CPU: the scheduler's run time of all threads. A packet: the "
    "daemon's own program by BPF_PROG_TEST_RUN on its last interface, over an empty program in the same round."
)


def packet_cost(namespace: Namespace, measured: Measured, link: str) -> list[float]:
    """Ns of a packet that comes in by this link, over an empty program: a round each."""
    ours, empty = lib.trace_open(measured.program("sample_tc_ingre")), program("tc", TC_UNSPEC)
    skb = ffi.new("struct bpf_skb_context *", (namespace.ifindex(link), 0, 0))

    def cost(fd: int) -> int:
        value, mean = ffi.new("__u32 *"), ffi.new("__u32 *")
        error = lib.bpf_test_run(fd, FRAME, len(FRAME), skb, 0, REPEAT, value, mean)
        assert not error, os.strerror(-error)
        return int(mean[0])

    def rounds() -> list[float]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        return [float(-cost(empty) + cost(ours)) for _ in range(ROUNDS)]

    try:
        return namespace.call(rounds)
    finally:
        os.close(ours)
        os.close(empty)


def main() -> None:
    """Measure all numbers of interfaces."""
    with Results("interfaces", ABOUT) as results:
        measure(results)


def measure(results: Results) -> None:
    """Curves over the number of interfaces, and figures of the largest."""
    seconds: dict[str, list[tuple[float, float]]] = {"first sample": [], "READY": [], "own CPU time until then": []}
    memory: list[tuple[float, float]] = []
    idle: list[tuple[float, float]] = []
    packet: dict[str, list[tuple[float, float]]] = {"not sampled": [], "sampled": []}
    for count in COUNTS:
        last = f"a{count - 1}"
        with ExitStack() as stack:
            namespace = stack.enter_context(interfaces(count))
            traffic = stack.enter_context(Traffic(namespace, ["b0"]))
            measured = stack.enter_context(running(namespace))
            ready, cpu, resident = measured.ready, measured.cpu(), measured.resident()
            first = measured.first_sample()
            traffic.stop()
            time.sleep(SETTLED)
            idling = [measured.idle(IDLE_SECONDS / 2) for _ in range(2)]
            costs = {"sampled": packet_cost(namespace, measured, last)}
            measured.set_sampling(NEVER)
            costs["not sampled"] = packet_cost(namespace, measured, last)
            observed = sum(measured.daemon.show("stats")["packets_observed"].values())
            assert observed >= 2 * ROUNDS * REPEAT, f"the gate of {last} saw {observed} packets"
        for line, value in (("first sample", first), ("READY", ready), ("own CPU time until then", cpu)):
            seconds[line].append((count, value))
        memory.append((count, resident))
        idle.append((count, statistics.mean(idling)))
        for line, rounds in costs.items():
            packet[line].append((count, statistics.median(rounds)))
        if count in (COUNTS[0], COUNTS[-1]):
            results.figure(f"{count} interfaces, start to first sample", "s", [first], at_most=1)
            results.figure(f"{count} interfaces, start to READY", "s", [ready])
            results.figure(f"{count} interfaces, idle CPU", "% of a core", idling, at_most=0.2)
            results.figure(f"{count} interfaces, memory at start", "MB", [resident])
            for line, rounds in costs.items():
                results.figure(f"{count} interfaces, packet {line}", "ns over empty", rounds)
    results.curve("start", "interfaces", "seconds", seconds)
    results.curve("memory at start", "interfaces", "MB", {"resident": memory})
    results.curve("idle CPU", "interfaces", "% of a core", {"idle": idle})
    results.curve("packet", "interfaces", "ns over empty", packet)


if __name__ == "__main__":
    main()
