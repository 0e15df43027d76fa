"""The data thread's rest: samples end it at the end of a step, and a wake-up at once."""

import threading
from collections.abc import Iterator

import pytest

from lib.testrun import Kernel
from lib.traffic import udp_frame
from sampler._native import lib
from sampler.kernel.ring import BATCH_SIZE, Ring

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
    ring.poll(0)  # the wake-up of a ring that is a quarter full
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


def test_a_quarter_of_a_ring_ends_it(kernel: Kernel, ring: Ring) -> None:
    timer = threading.Timer(0.05, lambda: kernel.run("sample_tc_ingress", udp_frame(), repeat=8 * BATCH_SIZE))
    timer.start()
    assert ring.rest(LONG, LONG / 2) == lib.RING_READY
    timer.join()
