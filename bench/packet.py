"""What a packet costs in the kernel: ns over an empty program of the same type, in the same round.

BPF_PROG_TEST_RUN with a 64-byte IPv4/UDP frame, alone, in flows by turns, and one inside VXLAN; the ring is read by a
thread on another CPU, so that a sampled packet pays for the ring too, and a round that loses samples does not count.
Rules have no main exporter beside them.
"""

import statistics
from collections.abc import Iterable
from fractions import Fraction

from bench.kernelrun import KINDS, ROUNDS, KernelRun
from bench.results import Results
from lib import tunnel_frames
from lib.rules import exactly, key_offset, rule
from lib.traffic import udp_frame
from sampler.kernel.selection import KernelRule, Selection

PLAIN, VXLAN = udp_frame(payload=18), tunnel_frames.FRAMES["vxlan"].frame  # 60 octets: the FCS is the link's
VXLAN_INNER = 50  # octets in front of the inner frame
FLOWS = (1_000, 65_536)
INTERVALS = (1, 10, 100, 1_000, 10_000)
RULES = (1, 2, 4, 8, 16, 32, 64)
CURVE_ROUNDS = 5
ABOUT = (
    "BPF_PROG_TEST_RUN with a 64-byte IPv4/UDP frame: ns over an empty program of the same type in the same round, "
    "with the ring being read on the other core and nothing lost. Flows: a program before both varies the frame."
)
NS = "ns over empty"


def rated(interval: int) -> Selection:
    """The main exporter alone."""
    return Selection(KernelRule(None, Fraction(1, interval)))


def ruled(count: int, matching: bool = False, probability: int = 1) -> Selection:
    """Rules for every packet that ask for IPv4, UDP and both addresses, and both ports.

    Those that do not match differ from the packet in the last that is looked at, the destination port.
    """
    addresses = bytes.fromhex("c6336402c0000201")
    asked = exactly(key_offset("ethertype"), b"\x08\x00") | exactly(key_offset("ip_protocol"), b"\x11")
    asked |= exactly(key_offset("src_addr"), addresses[:4]) | exactly(key_offset("dst_addr"), addresses[4:])
    ports = [((1, 65535),) if matching else ((1000 + bit, 65535),) for bit in range(count)]
    rules = [rule(asked, Fraction(1, probability), ((1, 65535),), port) for port in ports]
    # One takes all that it accepts: every packet passes the gate.
    return Selection(None, [*rules[1:], rule(asked, 1, ((1, 65535),), ports[0])])


# Selection, frame, and the goal of issue 6 in ns.
CASES: dict[str, tuple[Selection, bytes, float | None]] = {
    "not sampled (1:1000000000)": (rated(10**9), PLAIN, 10),
    "1:1000": (rated(1000), PLAIN, 10),
    "1:100": (rated(100), PLAIN, None),
    "1:1": (rated(1), PLAIN, 130),
    "1:1, 1500 octets": (rated(1), udp_frame(payload=1458), None),
    "1:1, VXLAN inside": (rated(1), VXLAN, 180),
    "no rule for this interface": (Selection(None, [rule(ifindexes=frozenset({9}))]), PLAIN, None),
    "1 rule, not matching": (ruled(1), PLAIN, None),
    "64 rules, none matching": (ruled(64), PLAIN, None),
    "1 rule, matching": (ruled(1, matching=True), PLAIN, None),
    "64 rules, all matching": (ruled(64, matching=True), PLAIN, None),
    "64 rules, all drawing": (ruled(64, matching=True, probability=2), PLAIN, None),
}
RULES_GOAL = 150  # of 64 rules over one


def cases(results: Results, run: KernelRun, loader: str) -> None:
    """A figure for each program and case."""
    for kind in KINDS:
        for label, (selection, frame, goal) in CASES.items():
            run.select(selection)
            results.figure(f"{loader}, {kind}, {label}", NS, run.over_empty(kind, frame), at_most=goal)
        over = []
        for _ in range(ROUNDS):  # in turns, or it would be the difference between two minutes of the machine
            cost = {}
            for count in (1, 64):
                run.select(ruled(count))
                (cost[count],) = run.over_empty(kind, PLAIN, 1)
            over.append(cost[64] - cost[1])
        results.figure(f"{loader}, {kind}, 64 rules over 1, not matching", "ns", over, at_most=RULES_GOAL)


def flows(results: Results, run: KernelRun, loader: str) -> None:
    """Each packet is of another flow."""
    run.select(rated(1))
    for kind in KINDS:
        for count in FLOWS:
            found = run.over_empty_varied(kind, PLAIN, count)
            results.figure(f"{loader}, {kind}, 1:1, {count} flows", NS, found, at_most=130)
            found = run.over_empty_varied(kind, VXLAN, count, VXLAN_INNER)
            results.figure(f"{loader}, {kind}, 1:1, {count} flows inside VXLAN", NS, found, at_most=180)


def line(run: KernelRun, kind: str, points: Iterable[tuple[int, Selection]]) -> list[tuple[float, float]]:
    """The median for each selection, by its number."""
    made = []
    for number, selection in points:
        run.select(selection)
        made.append((float(number), statistics.median(run.over_empty(kind, PLAIN, CURVE_ROUNDS))))
    return made


def curves(results: Results, run: KernelRun) -> None:
    """How it grows with the rate and with the rules."""
    by_rate = {kind: line(run, kind, ((n, rated(n)) for n in INTERVALS)) for kind in KINDS}
    results.curve("a packet by the sampling interval", "1:N", NS, by_rate)
    by_rules = {
        f"{kind}, {'all' if matching else 'none'} matching": line(run, kind, ((n, ruled(n, matching)) for n in RULES))
        for kind in KINDS
        for matching in (False, True)
    }
    results.curve("a packet by the number of rules, 1:1", "rules", NS, by_rules)


def main() -> None:
    """Figures for both loaders; curves for libbpf."""
    with Results("packet", ABOUT) as results:
        for loader in ("libbpf", "bcc"):
            with KernelRun(loader) as run:
                cases(results, run, loader)
                flows(results, run, loader)
                if loader == "libbpf":
                    curves(results, run)
                results.note(f"{loader}: nothing lost; {run.retried} rounds that lost samples were measured again")


if __name__ == "__main__":
    main()
