"""Where the time of a sampled packet goes, in ns: the programs as they are, ended at one place after the other.

A gate that takes what nobody looks at ends ahead of the clock; without a ring all is done but the copy of a full batch.
The clock's share is that of a program that only calls it, as are those of the helpers that are not called.
"""

import os

from bench.kernelrun import KINDS, ROUNDS, KernelRun
from bench.packet import PLAIN, VXLAN, rated
from bench.results import Results
from bench.varied import load, verdict
from lib.programs import instruction
from lib.rules import rule
from sampler.kernel.selection import Selection

FRAMES = {"plain": PLAIN, "VXLAN inside": VXLAN}
NOBODY = Selection(None, [rule(ifindexes=frozenset({9}))])
# Helper functions of the kernel by <linux/bpf.h>.
KTIME_GET_NS, GET_PRANDOM_U32, LOAD_BYTES = 5, 7, {"tc": 26, "xdp": 189}
ABOUT = (
    "BPF_PROG_TEST_RUN of the programs, brought to an end at one place after the other: ns between one and the next, "
    "every packet taken, a 64-byte IPv4/UDP frame and one inside VXLAN."
)


def call(kind: str, helper: int) -> int:
    """Load a program that only calls a helper without arguments. Gives its descriptor."""
    return load(kind, instruction(0x85, 0, 0, 0, helper) + verdict(kind))


def loading(kind: str, size: int) -> int:
    """Load a program that only has the kernel copy the first octets, a multiple of 4, to its stack."""
    code = (
        instruction(0xB7, 2) + instruction(0xBF, 3, 10) + instruction(0x07, 3, 0, 0, -size)
    )  # r2 = 0, r3 = r10 - size
    code += instruction(0xB7, 4, 0, 0, size) + instruction(0x85, 0, 0, 0, LOAD_BYTES[kind])  # r4 = size, call
    return load(kind, code + verdict(kind))


def stages(run: KernelRun, ringless: KernelRun, kind: str, frame: bytes, clock_fd: int) -> dict[str, float]:
    """One round: ns from a stage to the next, which sum to what a packet costs."""

    def cost(of: KernelRun, selection: Selection) -> float:
        of.select(selection)
        return of.over_empty(kind, frame, 1)[0]

    clock = run.helper(kind, frame, clock_fd, 1)[0]
    gate, batched, whole = cost(run, NOBODY), cost(ringless, rated(1)), cost(run, rated(1))
    return {
        "gate": gate,
        "clock": clock,
        "loading and parsing, into the batch": batched - gate - clock,
        "from the batch to the ring": whole - batched,
        "all": whole,
    }


def measure(results: Results, run: KernelRun, ringless: KernelRun) -> None:
    """Figures for each program and frame."""
    for kind in KINDS:
        clock_fd, random_fd, loading_fd = call(kind, KTIME_GET_NS), call(kind, GET_PRANDOM_U32), loading(kind, 60)
        for name, frame in FRAMES.items():
            found = [stages(run, ringless, kind, frame, clock_fd) for _ in range(ROUNDS)]
            for stage in found[0]:
                results.figure(f"{kind}, {name}: {stage}", "ns", [one[stage] for one in found])
        drawn = [2 * ns for ns in run.helper(kind, PLAIN, random_fd)]
        results.figure(f"{kind}: not called: the kernel's 64 random bits", "ns", drawn)
        loaded = run.helper(kind, PLAIN, loading_fd)
        results.figure(f"{kind}: not called: the kernel's load of 60 octets", "ns", loaded)
        for fd in (clock_fd, random_fd, loading_fd):
            os.close(fd)


def main() -> None:
    """Figures for libbpf."""
    with (
        Results("stages", ABOUT) as results,
        KernelRun("libbpf") as run,
        KernelRun("libbpf", has_ring=False) as ringless,
    ):
        measure(results, run, ringless)


if __name__ == "__main__":
    main()
