"""Measures programs by BPF_PROG_TEST_RUN, as ns over an empty program of the same type, with a consumer of the ring."""

import os
import threading
from contextlib import ExitStack
from typing import Self

from bench.varied import Varied, empty
from lib.programs import TYPES
from lib.testrun import IFINDEX, run, set_tunnel_ports
from sampler._native import ffi, lib
from sampler.kernel.gates import Gates
from sampler.kernel.loader import load
from sampler.kernel.maps import Maps
from sampler.kernel.ring import Ring
from sampler.kernel.selection import Selection

REPEAT = 100_000
ROUNDS = 9
RETRIES = 20  # of a round in which samples were lost
RING_PAGES = 2048
KINDS = {"xdp": "sample_xdp", "tc": "sample_tc_ingress"}


def duration(fd: int, kind: str, frame: bytes) -> float:
    """Mean ns of one run of the program."""
    return float(run(fd, kind, frame, REPEAT)[1])


class KernelRun:
    """The programs as one loader loads them, a gate at ingress, and a thread on another CPU that empties the rings.

    A context manager; the calling thread is pinned to a CPU of its own meanwhile.

    Attributes:
        retried: rounds that were measured again, because the consumer came late and samples were lost.

    """

    def __init__(self, loader: str, has_ring: bool = True) -> None:
        self.retried = 0
        self._allowed = os.sched_getaffinity(0)
        self._stack = ExitStack()
        self._maps = self._stack.enter_context(Maps())
        set_tunnel_ports(self._maps)
        self._programs = load(loader, self._maps)
        self._stack.callback(self._programs.close)
        self._empty = {kind: empty(kind) for kind in TYPES}
        for fd in self._empty.values():
            self._stack.callback(os.close, fd)
        self._gates = Gates(self._maps)
        self._gates.open(IFINDEX, lib.DIRECTION_INGRESS)
        self._consumed = has_ring
        if has_ring:
            self._start_consumer(self._stack.enter_context(Ring(self._maps, RING_PAGES)))
        os.sched_setaffinity(0, {min(self._allowed)})
        self._stack.callback(os.sched_setaffinity, 0, self._allowed)

    def _start_consumer(self, ring: Ring) -> None:
        stop = threading.Event()

        def consume() -> None:
            os.sched_setaffinity(0, {max(self._allowed)})
            batch = ring.new_batch()
            while not stop.is_set():
                ring.rest(0.01, 0.01)
                while ring.read(batch):
                    pass

        def end() -> None:
            stop.set()
            ring.wake()
            consumer.join()

        consumer = threading.Thread(target=consume)
        consumer.start()
        self._stack.callback(end)

    def select(self, selection: Selection) -> None:
        """Sample by this from now on."""
        self._gates.set_selection(1, selection)

    def over_empty(self, kind: str, frame: bytes, rounds: int = ROUNDS) -> list[float]:
        """What the program costs over an empty one, in ns: a number a round."""
        return self._rounds(kind, frame, self._programs.fd(KINDS[kind]), self._empty[kind], rounds)

    def over_empty_varied(self, kind: str, frame: bytes, flows: int, start: int = 0) -> list[float]:
        """The same with frames of as many flows; both programs have the one before them that varies the frame.

        `start`: octets in front of the IPv4 packet's Ethernet header. Its last 64 samples are shown to differ.
        """
        program = self._programs.fd(KINDS[kind])
        with Varied(kind, program, flows, start) as ours, Varied(kind, self._empty[kind], flows, start) as theirs:
            found = self._rounds(kind, frame, ours.fd, theirs.fd, ROUNDS)
        state = self._state()
        keys = {bytes(ffi.buffer(ffi.addressof(sample, "key"))) for sample in state.batch.samples}
        if len(keys) != min(flows, lib.BATCH_SIZE):
            raise RuntimeError(f"{flows} flows were to pass, and the last {lib.BATCH_SIZE} samples have {len(keys)}")
        return found

    def helper(self, kind: str, frame: bytes, fd: int, rounds: int = ROUNDS) -> list[float]:
        """What another program costs over an empty one."""
        return self._rounds(kind, frame, fd, self._empty[kind], rounds)

    def _rounds(self, kind: str, frame: bytes, fd: int, empty_fd: int, rounds: int) -> list[float]:
        found: list[float] = []
        for _ in range(rounds + RETRIES):
            lost = self._lost()
            ns = duration(fd, kind, frame) - duration(empty_fd, kind, frame)
            if self._consumed and self._lost() != lost:
                self.retried += 1
                continue
            found.append(ns)
            if len(found) == rounds:
                return found
        raise RuntimeError(f"samples were lost in more than {RETRIES} rounds: no CPU is free for their consumer")

    def _lost(self) -> int:
        return int(self._state().samples[lib.KERNEL_LOST_RING])

    def _state(self) -> "ffi.CData":
        """The struct cpu_state of the measuring CPU."""
        state = ffi.new("struct cpu_state *")
        self._maps.lookup("cpus", min(self._allowed), state)
        return state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
