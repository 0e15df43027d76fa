"""What observing an XDP program costs a frame: instructions, in a virtual machine whose clocks count them.

    make bench-vm PARTS=observed

Hosts that are locked down refuse tracing programs, and an emulated machine's time says nothing. Its instructions do:
those that the kernel executes for a frame, trampolines of tracing programs among them, the same number each time.
BPF_PROG_TEST_RUN with a 64-byte IPv4/UDP frame; samples are read between the rounds.
"""

import os
from fractions import Fraction

from bench.inmachine import in_machine
from bench.results import Results

REPEAT = 10_000  # samples that a ring holds
INTERVALS = {"not sampled (1:1000000000)": 10**9, "1:1000": 1000, "1:100": 100, "1:1": 1}


UNIT = "instructions over the program alone"
ABOUT = (
    "BPF_PROG_TEST_RUN with a 64-byte IPv4/UDP frame in an emulated machine: instructions that the kernel executes for "
    "a frame, trampolines of tracing programs among them, over those for an empty XDP program."
)


def measure(results: Results) -> None:
    """Inside: a figure for each way and rate."""
    # Here, for a host that only starts the machine has no use for them.
    from lib.foreign import Foreign
    from lib.observing import IN, Observer
    from lib.testrun import IFINDEX, run
    from lib.traffic import udp_frame
    from sampler.kernel.loader import load
    from sampler.kernel.tracer import Tracer

    frame = udp_frame(payload=18)

    def instructions(fd: int) -> int:
        return run(fd, "xdp", frame, REPEAT)[1]

    def table(observer: Observer, way: str, fd: int, over: int) -> None:
        for label, interval in INTERVALS.items():
            observer.take(Fraction(1, interval))
            instructions(fd)  # with gaps of the rate before
            observer.samples()
            results.figure(f"{way}, {label}", UNIT, [instructions(fd) - over])
            observer.samples()

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Observer(1024) as observer, Foreign("foreign_empty") as foreign:
        alone = instructions(foreign.fd)
        observer.gates.open(IFINDEX, IN)
        programs = load("libbpf", observer.maps)
        table(observer, "xdpfix's own program", programs.fd("sample_xdp"), alone)
        programs.close()
        observer.close_gates()
        with Tracer(observer.maps, "libbpf", foreign.id):
            closed = instructions(foreign.fd) - alone
            observer.open(IFINDEX)
            table(observer, "observing another one", foreign.fd, alone)
        results.note(f"The empty program costs {alone} instructions; observed by a gate that is closed {closed} more.")


if __name__ == "__main__":
    in_machine("observed", ABOUT, measure)
