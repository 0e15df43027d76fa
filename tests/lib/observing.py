"""Foreign programs observed without a daemon: maps, gates and a ring in this process, and what they gave."""

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Self

from lib.testrun import set_tunnel_ports
from lib.traffic import udp_frame
from lib.wait import wait_until
from sampler._native import ffi, lib
from sampler.kernel.foreign import ForeignProgram
from sampler.kernel.gates import Gates
from sampler.kernel.loader import Programs, load_tracing
from sampler.kernel.maps import MAP_TYPE_PERCPU_ARRAY, Maps
from sampler.kernel.ring import Ring
from sampler.kernel.selection import KernelRule, Selection

IN = lib.DIRECTION_INGRESS
ALWAYS = Fraction(1)
VERDICTS = {getattr(lib, f"VERDICT_{name}"): name for name in ("ABORTED", "DROP", "PASS", "TX", "REDIRECT")}
# What foreign programs are told by a frame's octet; UNKNOWN is none of the kernel's.
ABORTED, DROP, PASS, TX, REDIRECT, UNKNOWN = 0, 1, 2, 3, 4, 77
ACTION = 11


def frame(action: int, **packet: Any) -> bytes:
    """A frame of UDP (lib.traffic.udp_frame) on which the foreign programs decide so."""
    made = bytearray(udp_frame(**packet))
    made[ACTION] = action
    return bytes(made)


def expected(decided: dict[str, int]) -> Counter[str]:
    """The verdicts in samples by what foreign programs decided: the kernel aborts what it does not know."""
    return Counter({"ABORTED": decided.get("unknown", 0)}) + Counter(
        {name: count for name, count in decided.items() if name != "unknown"}
    )


class Observer:
    """What tracers share. A context manager."""

    def __init__(self, ring_pages: int = 64) -> None:
        self.maps = Maps()
        self.ring = Ring(self.maps, ring_pages)  # 64: for 1000 samples and more of a CPU
        self.gates = Gates(self.maps)
        self._generations = itertools.count()
        set_tunnel_ports(self.maps)

    def take(self, probability: Fraction) -> None:
        """Sample so many frames from now on."""
        self.gates.set_selection(next(self._generations) % 2**16, Selection(KernelRule(None, probability)))

    def open(self, *ifindexes: int) -> None:
        """Let what foreign programs get from these interfaces be sampled."""
        for ifindex in ifindexes:
            self.gates.open(ifindex, IN, observed=True)

    def close_gates(self) -> None:
        for ifindex, direction in list(self.gates.observed()):
            self.gates.close(ifindex, direction)

    def samples(self, at_least: int = 0) -> list[Any]:
        """All that were taken since the last call; waits for so many."""
        taken: list[Any] = []

        def enough() -> bool:
            for read in (self.ring.read, self.ring.peek):
                batch = self.ring.new_batch()
                while count := read(batch):
                    read_now = ffi.from_buffer("struct sample[]", batch)
                    taken.extend(ffi.new("struct sample *", read_now[i]) for i in range(count))
            return len(taken) >= at_least

        wait_until(enough, what=f"{at_least} samples")
        return taken

    def counts(self) -> Counter[str]:
        """What became of samples (Gates.counters), without what is 0."""
        return +Counter(self.gates.counters()[0])

    @contextmanager
    def loaded(self, loader: str, program_id: int) -> Iterator[Programs]:
        """The tracing programs on a foreign program, not attached."""
        size = ffi.sizeof("struct observed")
        observed = int(lib.bpf_create_map(MAP_TYPE_PERCPU_ARRAY, b"observed", 4, size, 1, 0))
        with ForeignProgram(program_id) as foreign:
            programs = load_tracing(loader, self.maps, observed, foreign)
        try:
            yield programs
        finally:
            programs.close()
            os.close(observed)

    def close(self) -> None:
        self.ring.close()
        self.maps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def verdicts(samples: list[Any]) -> Counter[str]:
    """Samples by their verdict."""
    return Counter(VERDICTS[sample.meta.verdict] for sample in samples)
