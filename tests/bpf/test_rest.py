"""The data thread's rest, which samples end at the end of a step, and a wake-up at once; and what is read then."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lib.testrun import Kernel
from lib.traffic import udp_frame
from lib.wait import wait_until
from sampler._native import ffi, lib
from sampler.daemon.datapath import Datapath
from sampler.kernel.ring import BATCH_SIZE, FEED_BATCH, SAMPLE_SIZE, Ring

LONG = 600.0  # longer than any test may take


@pytest.fixture
def ring(kernel: Kernel) -> Iterator[Ring]:
    with Ring(kernel.maps, 8) as ring:
        yield ring


def test_a_sample_in_a_half_filled_batch_ends_it(kernel: Kernel, ring: Ring) -> None:
    batch = ring.new_batch()
    kernel.run("sample_tc_ingress", udp_frame())
    assert ring.rest(LONG, 0.001) == lib.RING_SAMPLES
    # It waits until it is taken.
    assert ring.rest(LONG, 0.001) == lib.RING_SAMPLES
    assert (ring.read(batch), ring.peek(batch)) == (0, 1)
    assert ring.rest(0.005, 0.001) == lib.RING_TIME


def test_it_ends_where_a_lost_batch_is_not_counted_yet(kernel: Kernel, ring: Ring) -> None:
    """Two peeks tell a lost batch from a late one: ticks go on until they have."""
    batch = ring.new_batch()
    room = 8 * 4096 // (BATCH_SIZE * 128)
    kernel.run("sample_tc_ingress", udp_frame(), repeat=BATCH_SIZE * (room + 20))
    ring.rest(0, 1)  # the wake-up of a ring that is an eighth full
    while ring.read(batch):
        pass
    ticks = 0
    while ring.rest(0.005, 0.001) == lib.RING_SAMPLES:
        ticks += 1
        ring.peek(batch)
        ring.read(batch)
    stats = ring.stats()
    assert ticks == 2
    assert stats["lost"] > 0
    assert stats["pending"] == 0


def test_a_sample_during_the_rest_ends_it(kernel: Kernel, ring: Ring) -> None:
    timer = threading.Timer(0.05, lambda: kernel.run("sample_tc_ingress", udp_frame()))
    timer.start()
    assert ring.rest(LONG, 0.001) == lib.RING_SAMPLES
    timer.join()


def test_a_wake_up_ends_it(kernel: Kernel, ring: Ring) -> None:
    ring.wake()
    assert ring.rest(LONG, 1.0) == lib.RING_CALLED
    timer = threading.Timer(0.05, ring.wake)
    timer.start()
    assert ring.rest(LONG, 1.0) == lib.RING_CALLED
    timer.join()


def test_an_eighth_of_a_ring_ends_it(kernel: Kernel, ring: Ring) -> None:
    timer = threading.Timer(0.05, lambda: kernel.run("sample_tc_ingress", udp_frame(), repeat=8 * BATCH_SIZE))
    timer.start()
    assert ring.rest(LONG, LONG / 2) == lib.RING_READY
    timer.join()


class FilledRing(Ring):
    """Samples come as soon as the data thread rests."""

    def __init__(self, kernel: Kernel, samples: int) -> None:
        super().__init__(kernel.maps, 512)  # an eighth is more than that
        self._kernel, self._samples = kernel, samples

    def rest(self, timeout: float, step: float) -> int:
        if self._samples:
            self._kernel.run("sample_tc_ingress", udp_frame(), repeat=self._samples)
        self._samples = 0
        return super().rest(timeout, step)


class Watched(Datapath):
    """Looks behind each tick what the ring counts."""

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring, {}, lambda: None)
        self.seen: list[dict[str, int]] = []

    def _tick(self) -> None:
        super()._tick()
        self.seen.append(self._ring.stats())


def test_the_tick_behind_a_rest_takes_all(kernel: Kernel) -> None:
    """Also what one CPU has beyond a batch buffer, whose half-filled batch is looked at when its ring is empty."""
    with FilledRing(kernel, 1400) as ring:
        datapath = Watched(ring)
        datapath.start()
        wait_until(lambda: datapath.ticks >= 2)
        datapath.finish()
        assert datapath.error is None
        assert [(stats["received"], stats["pending"]) for stats in datapath.seen[:2]] == [(0, 0), (1400, 0)]


def test_few_samples_come_between_two_looks_at_what_ended(kernel: Kernel) -> None:
    """However long the buffer is, which is made for all CPUs."""
    counts: list[int] = []
    ingest = ffi.callback("void(void *, void *, unsigned int)", lambda _handle, _samples, count: counts.append(count))
    pending = ffi.callback("unsigned long long(void *)", lambda _handle: 0)
    inlet: Any = (0, int(ffi.cast("uintptr_t", ingest)), int(ffi.cast("uintptr_t", pending)))
    with Ring(kernel.maps, 256) as ring:
        kernel.run("sample_tc_ingress", udp_frame(), repeat=2 * FEED_BATCH)
        assert not ring.feed(bytearray(4 * FEED_BATCH * SAMPLE_SIZE), [inlet], LONG * 1e6, wait=False)
    assert sum(counts) > 2 * FEED_BATCH - 2 * BATCH_SIZE  # the first batch had begun before
    assert max(counts) <= FEED_BATCH
