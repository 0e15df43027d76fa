"""From 1 to 256 interfaces: start, memory, idle CPU, and what a packet costs on one of them.

The last interface's first sample comes when all before it are attached: the kernel waits for an RCU grace period for
each program that is attached to tcx (tcx_entry_sync in kernel/bpf/tcx.c), one after the other.
"""

import os
import statistics
from contextlib import ExitStack

from bench.daemon import Measured, Traffic, interfaces, running
from bench.results import Results
from bench.running import lost
from lib.netns import Namespace
from lib.programs import TC_UNSPEC, program
from lib.testrun import run
from lib.traffic import udp_frame
from lib.wait import wait_until
from sampler._native import lib

COUNTS = (1, 4, 16, 64, 256)
# Seconds after the start until nothing of it is left to do (looks for what interfaces have in common), and of idling.
IDLE_SECONDS = 4.0
ROUNDS, REPEAT = 7, 20_000
RETRIES = 50  # of a round in which samples were lost
NEVER = 2**32 - 1
FRAME = udp_frame(payload=18)
ABOUT = (
    "A daemon on 1 to 256 veths of a namespace, both directions at tcx. Start: from the fork to the kernel's time "
    "stamps of the first samples of the first and of the last interface, and to READY; for each program that it "
    "attaches to tcx the kernel waits for an RCU grace period. Idle CPU: the scheduler's run time of all threads. A "
    "packet: the daemon's own program by BPF_PROG_TEST_RUN on its last interface, over an empty program in the same "
    "round, in which no sample is lost."
)


def packet_cost(namespace: Namespace, measured: Measured, link: str) -> list[float]:
    """Ns of a packet that comes in by this link, over an empty program: a round each.

    RuntimeError where samples were lost time and again.
    """
    ours, empty = lib.trace_open(measured.program("sample_tc_ingre")), program("tc", TC_UNSPEC)
    ifindex = namespace.ifindex(link)

    def cost(fd: int) -> int:
        return run(fd, "tc", FRAME, REPEAT, ifindex=ifindex)[1]

    def missing() -> int:
        return lost(wait_until(measured.idle_stats, what="an empty ring"))

    def rounds() -> list[float]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        found: list[float] = []
        before = missing()
        for _ in range(ROUNDS + RETRIES):
            ns = float(-cost(empty) + cost(ours))
            if (after := missing()) == before:
                found.append(ns)
            before = after
            if len(found) == ROUNDS:
                return found
        raise RuntimeError(f"samples were lost in more than {RETRIES} rounds: no CPU is free to read them")

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
    seconds: dict[str, list[tuple[float, float]]] = {
        line: [] for line in ("first sample", "first sample of the last interface", "READY", "own CPU time until then")
    }
    memory: list[tuple[float, float]] = []
    idle: list[tuple[float, float]] = []
    packet: dict[str, list[tuple[float, float]]] = {"not sampled": [], "sampled": []}
    for count in COUNTS:
        last = f"a{count - 1}"
        with ExitStack() as stack:
            namespace = stack.enter_context(interfaces(count))
            traffic = stack.enter_context(Traffic(namespace, sorted({"b0", f"b{count - 1}"})))
            measured = stack.enter_context(running(namespace))
            ready, cpu, resident = measured.ready, measured.cpu(), measured.resident()
            first, latest = measured.first_sample(), measured.first_sample(last)
            traffic.stop()
            idling = measured.idling(IDLE_SECONDS, 2)
            costs = {"sampled": packet_cost(namespace, measured, last)}
            measured.set_sampling(NEVER)
            costs["not sampled"] = packet_cost(namespace, measured, last)
            observed = sum(measured.daemon.show("stats")["packets_observed"].values())
            assert observed >= 2 * ROUNDS * REPEAT, f"the gate of {last} saw {observed} packets"
        for line, value in zip(seconds.values(), (first, latest, ready, cpu), strict=True):
            line.append((count, value))
        memory.append((count, resident))
        idle.append((count, statistics.mean(idling)))
        for line, rounds in costs.items():
            packet[line].append((count, statistics.median(rounds)))
        if count in (COUNTS[0], COUNTS[-1]):
            results.figure(f"{count} interfaces, start to first sample", "s", [first], at_most=1)
            results.figure(f"{count} interfaces, start to the last one's first sample", "s", [latest])
            results.figure(f"{count} interfaces, start to READY", "s", [ready])
            results.figure(f"{count} interfaces, idle CPU", "% of a core", idling, at_most=0.2)
            results.figure(f"{count} interfaces, memory at start", "MiB", [resident])
            for line, rounds in costs.items():
                results.figure(f"{count} interfaces, packet {line}", "ns over empty", rounds)
    results.curve("start", "interfaces", "seconds", seconds)
    results.curve("memory at start", "interfaces", "MiB", {"resident": memory})
    results.curve("idle CPU", "interfaces", "% of a core", {"idle": idle})
    results.curve("packet", "interfaces", "ns over empty", packet)


if __name__ == "__main__":
    main()
