"""xdpfix on a veth at full rate: what is left of the rate that the veth reaches with a program that only drops.

Every run's ledger is checked: offered = counted + lost, and at the end what the collector has received. Rates of runs
next to each other are compared, for the machine's speed changes from minute to minute.
"""

import os
import statistics
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from bench.collecting import CollectingSink
from bench.results import Results
from bench.running import Running, lost, program_stats
from bench.traffic import READER_CPU, Wire
from lib.programs import bpf
from lib.wait import wait_until

ABOUT = (
    "64-byte IPv4/UDP frames, which the kernel makes on one processor and a tcx program drops at the end of the veth; "
    "xdpfix and its collector on another processor. Medians of paired runs of 500 000 frames."
)
FRAMES = 500_000
FLOWS = 65536
ROUNDS, FEWER = 5, 3  # for a figure with a goal, for a point of a curve
RATES = (1, 10, 100, 1000, 10_000)
GROWTH = (1, 1000, 65536, 1_000_000)
NEW_FLOWS = 500_000  # a second, before they are measured
# Goals by 1 in N: what is left of the rate, and ns over an empty program.
LEFT = {1: 0.75, 100: 0.97}
COST = {1: 130, 1000: 10}
ALONE, EMPTY, SAMPLED = "a program that only drops", "an empty program in xdpfix's place", "xdpfix"
BPF_ENABLE_STATS, BPF_STATS_RUN_TIME = 32, 0

Without = Callable[[], AbstractContextManager[object]]


def frame_times(
    running: Running, wire: Wire, rounds: int, sampling: int, flows: int, without: dict[str, Without]
) -> dict[str, list[float]]:
    """ns a frame: with xdpfix, and with what is in its place, by turns."""
    times: dict[str, list[float]] = {label: [] for label in (*without, SAMPLED)}
    for _ in range(rounds):
        running.sample(None)
        for label, place in without.items():
            with place():
                times[label].append(wire.send(FRAMES, flows))
        running.sample(sampling)
        times[SAMPLED].append(running.send(FRAMES, flows))
    return times


def left(times: dict[str, list[float]], label: str) -> list[float]:
    """The rate with xdpfix by that with something in its place, turn by turn."""
    return [before / after for before, after in zip(times[label], times[SAMPLED], strict=True)]


def by_rate(results: Results, wire: Wire, hook: str) -> None:
    """Rates with xdpfix at this hook by those without it, one frame in N sampled."""
    without: dict[str, Without] = {EMPTY: lambda: wire.beside(hook)}
    if hook == "tc":
        without = {ALONE: nullcontext} | without
    lines: dict[str, list[tuple[float, float]]] = {label: [] for label in without}
    with CollectingSink(wire.namespace) as sink, Running(wire, sink.target, hook) as running:
        running.sample(1)
        running.send(FRAMES, FLOWS)  # those that follow find their flows
        for sampling in RATES:
            rounds = ROUNDS if sampling in LEFT else FEWER
            times = frame_times(running, wire, rounds, sampling, FLOWS, without)
            if sampling == RATES[0]:
                for label, spent in times.items():
                    name = f"{hook}: rate, {label}{', 1:1' * (label == SAMPLED)}"
                    results.figure(name, "Mpps", [1e3 / ns for ns in spent])
            for label in without:
                name = f"{hook}: rate with 1:{sampling} by that of {label}"
                figure = results.figure(name, "", left(times, label), at_least=LEFT.get(sampling))
                lines[label].append((float(sampling), figure.value))
        results.curve(f"{hook}: rate left by sampling rate, 64 k flows", "one packet in", "of the rate", lines)
        missing = lost(running.settle())
        results.figure(
            f"{hook}: samples lost, {running.offered / 1e6:g} M frames, 64 k flows", "", [missing], at_most=0
        )
        check(running, sink)


def by_flows(results: Results, wire: Wire) -> None:
    """The same at tc, 1:1, by the number of flows, which are in the cache already."""
    without: dict[str, Without] = {EMPTY: lambda: wire.beside("tc")}
    rates: list[tuple[float, float]] = []
    losses: list[tuple[float, float]] = []
    with CollectingSink(wire.namespace) as sink, Running(wire, sink.target) as running:
        for flows in GROWTH:
            running.sample(1)
            running.send(max(FRAMES, flows), flows, NEW_FLOWS)
            before = lost(running.settle())
            times = frame_times(running, wire, FEWER, 1, flows, without)
            rates.append((float(flows), statistics.median(left(times, EMPTY))))
            losses.append((float(flows), 100 * (lost(running.settle()) - before) / (FEWER * FRAMES)))
        results.curve("tc: rate left by flows, 1:1", "flows", "of the rate", {EMPTY: rates})
        results.curve("tc: samples lost by flows, 1:1", "flows", "%", {"at full rate": losses})
        check(running, sink)


def check(running: Running, sink: CollectingSink) -> None:
    """The collector gets all that was counted."""
    running.flush()
    represented = running.settle()["exporters"]["main"]["represented"]
    wait_until(lambda: sink.totals()[1] >= represented, what="all flows have come to the collector")
    assert sink.totals()[1] == represented


@contextmanager
def bpf_stats() -> Iterator[None]:
    """The kernel counts what programs take, for the while: as long as the descriptor is open, however this ends."""
    fd = bpf(BPF_ENABLE_STATS, struct.pack("I", BPF_STATS_RUN_TIME))
    try:
        yield
    finally:
        os.close(fd)


def empty_cost(wire: Wire, hook: str, send: Callable[[], object]) -> float:
    """ns of a run of an empty program at this hook, while these frames are sent."""
    with wire.beside(hook) as fd:
        send()
        ns, runs = program_stats([Path(f"/proc/self/fdinfo/{fd}")])
    return ns / runs


def cost(results: Results, wire: Wire, hook: str) -> None:
    """What xdpfix's program takes, by the kernel's own count, over an empty one: beside it, at XDP after it."""
    with CollectingSink(wire.namespace) as sink, Running(wire, sink.target, hook) as running, bpf_stats():
        for sampling, goal in COST.items():
            over = []
            for _ in range(ROUNDS):
                running.sample(sampling)
                ns, runs = running.programs()

                def send(running: Running = running) -> None:
                    running.send(FRAMES, FLOWS)

                if hook == "tc":
                    empty = empty_cost(wire, hook, send)
                else:
                    send()
                ns, runs = (after - before for after, before in zip(running.programs(), (ns, runs), strict=True))
                if hook == "xdp":
                    running.sample(None)
                    empty = empty_cost(wire, hook, lambda: wire.send(FRAMES, FLOWS))
                assert runs == FRAMES
                over.append(ns / runs - empty)
            results.figure(f"{hook}: 1:{sampling}, BPF_ENABLE_STATS, over an empty program", "ns", over, at_most=goal)


def main() -> None:
    """Both hooks."""
    os.sched_setaffinity(0, {READER_CPU})
    with Results("live", ABOUT) as results, Wire() as wire:
        with wire.dropping_at_xdp():
            rates = [1e3 / wire.send(FRAMES, FLOWS) for _ in range(ROUNDS)]
        results.figure("xdp: rate, a program that only drops", "Mpps", rates)
        for hook in ("tc", "xdp"):
            by_rate(results, wire, hook)
            cost(results, wire, hook)
        by_flows(results, wire)


if __name__ == "__main__":
    main()
