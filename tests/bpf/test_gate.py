"""The gate: exact at 1, exact observed counts, the geometric law in the kernel, the sample budget, the lost batches."""

import math
from fractions import Fraction

import pytest

from lib.frames import FRAMES
from lib.testrun import IFINDEX
from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.maps import log2_table
from sampler.kernel.selection import scale

FRAME = FRAMES["ipv4 tcp"]
GOLDEN = 0x9E3779B97F4A7C15  # what a draw of next_random adds to its state


@pytest.mark.parametrize("n", [2, 400, 10**6, 2**32 - 1])
def test_mean_of_draws(n):
    # Stratified, so without chance; 2**22 strata leave an error of their own below 2e-7.
    assert lib.gate_mean(log2_table(), scale(Fraction(1, n)), 2**22) == pytest.approx(n, rel=1e-6)


def test_takes_every_packet_at_one(kernel):
    before, seen = kernel.gates.counters()[0]["appended"], kernel.gates.observed()[IFINDEX, 0]
    kernel.run("sample_tc_ingress", FRAME, repeat=1000)
    assert kernel.gates.counters()[0]["appended"] == before + 1000
    assert kernel.gates.observed()[IFINDEX, 0] == seen + 1000


@pytest.mark.parametrize("segments", [1, 3, 45])
@pytest.mark.parametrize("n", [2, 100, 10**6])
def test_observed_is_exact(kernel, n, segments):
    kernel.set_sampling(Fraction(1, n), 1)
    seen = kernel.gates.observed()[IFINDEX, 0]
    kernel.run("sample_tc_ingress", FRAME, repeat=5000, segments=segments, segment_size=100)
    assert kernel.gates.observed()[IFINDEX, 0] == seen + 5000 * segments


@pytest.mark.parametrize(("n", "segments"), [(2, 1), (10, 1), (10, 3), (100, 45)])
def test_p16_law_of_gaps(kernel, n, segments):
    """RFC 5475 5.2.2: chi-square of 4000 gaps against the geometric law, at a false alarm of 1e-6 (Wilson-Hilferty).

    Each packet is taken with 1/n; so of super-packets each one with 1 - (1 - 1/n)^segments, independent of others.
    """
    kernel.set_sampling(Fraction(1, n), 1)
    skb = {"segments": segments, "segment_size": 1} if segments > 1 else {}
    gaps, passed, taken = [], 0, kernel.state().batch.sequence
    while len(gaps) < 4000:
        kernel.run("sample_tc_ingress", FRAME, **skb)
        passed += 1
        if kernel.state().batch.sequence != taken:
            gaps.append(passed)
            passed, taken = 0, taken + 1
    p = 1 - (1 - 1 / n) ** segments
    bins = round(3 / p)
    expected = [4000 * (1 - p) ** k * p for k in range(bins)] + [4000 * (1 - p) ** bins]
    found = [gaps.count(k + 1) for k in range(bins)] + [sum(gap > bins for gap in gaps)]
    statistic = sum((f - e) ** 2 / e for f, e in zip(found, expected, strict=True))
    bound = bins * (1 - 2 / (9 * bins) + 4.7534 * math.sqrt(2 / (9 * bins))) ** 3
    assert statistic < bound


def test_nested_sample_is_counted_lost(kernel):
    """A program that interrupts one that is filling a sample on the same CPU leaves it alone."""
    before = kernel.gates.counters()[0]
    sequence = kernel.state().batch.sequence
    state = kernel.state()
    state.busy = 1
    kernel.maps.update("cpus", kernel.cpu, state)
    try:
        assert kernel.run("sample_tc_ingress", FRAME, repeat=3) == -1
        assert kernel.run("sample_xdp", FRAME, repeat=3) == 2
    finally:
        state = kernel.state()
        assert state.busy == 1, "the mark is not ours to take away"
        state.busy = 0
        kernel.maps.update("cpus", kernel.cpu, state)
    after = kernel.gates.counters()[0]
    assert after["lost_nested"] - before["lost_nested"] == after["selected"] - before["selected"] == 6
    assert kernel.state().batch.sequence == sequence
    kernel.sample("sample_tc_ingress", FRAME)
    assert kernel.state().busy == 0


def test_gates_that_fall_together(kernel):
    """Interface numbers equal modulo half the slots, up to GATE_PROBES of them; then a sentence."""
    # lib.GATE_SLOTS / 2 apart: the same first slot. The loopback's gate is open already.
    others = [IFINDEX + number * lib.GATE_SLOTS // 2 for number in range(1, lib.GATE_PROBES + 1)]
    for ifindex in others[:-1]:
        kernel.gates.open(ifindex, 0)
    with pytest.raises(StartError, match=f"number {others[-1]} finds no free gate: 4 .* modulo 4096; sample fewer"):
        kernel.gates.open(others[-1], 0)
    kernel.gates.open(others[-1], 1)  # the other direction has slots of its own
    seen = kernel.gates.observed()
    kernel.run("sample_tc_ingress", FRAME, repeat=5)
    grown = {key: count - seen[key] for key, count in kernel.gates.observed().items() if count != seen[key]}
    assert grown == {(IFINDEX, 0): 5}
    kernel.gates.close(others[0], 0)
    kernel.gates.open(others[-1], 0)
    for ifindex in others[1:]:
        assert kernel.gates.close(ifindex, 0) == 0
    kernel.gates.close(others[-1], 1)


def test_p03_budget(kernel):
    """RFC 5474 8.4: the rate of what is reported has a limit, which is configured; what is beyond it is counted."""
    before = kernel.gates.counters()[0]
    kernel.set_sampling(Fraction(1), 0, budget=10)
    kernel.run("sample_tc_ingress", FRAME, repeat=1000)
    after = kernel.gates.counters()[0]
    lost = after["lost_budget"] - before["lost_budget"]
    appended = after["appended"] - before["appended"]
    assert lost >= 900
    assert lost + appended == after["selected"] - before["selected"] == 1000


def test_batches_without_reader_are_counted_lost(kernel):
    before = kernel.gates.counters()[0]
    start = kernel.state().batch.sequence
    kernel.run("sample_tc_ingress", FRAME, repeat=100)
    full = (start + 100) // lib.BATCH_SIZE - start // lib.BATCH_SIZE
    assert kernel.gates.counters()[0]["lost_ring"] - before["lost_ring"] == full * lib.BATCH_SIZE


def test_closed_gate_takes_nothing(kernel):
    kernel.gates.close(IFINDEX, 1)
    before = kernel.gates.counters()[0]["selected"]
    kernel.run("sample_tc_egress", FRAME, repeat=100)
    assert kernel.gates.counters()[0]["selected"] == before
    kernel.gates.open(IFINDEX, 1)


def test_each_cpu_has_random_numbers_of_its_own(kernel):
    """Seeded when the maps are made, drawn from where there is something to draw, and nowhere else."""
    state, seeds = ffi.new("struct cpu_state *"), set()
    for cpu in range(kernel.maps.cpus):
        kernel.maps.lookup("cpus", cpu, state)
        seeds.add(state.random)
    assert len(seeds) == kernel.maps.cpus
    before = kernel.state().random
    kernel.run("sample_tc_ingress", FRAME, repeat=10)
    assert kernel.state().random == before
    kernel.set_sampling(Fraction(1, 2), 1)
    kernel.run("sample_tc_ingress", FRAME, repeat=100)
    drawn = (kernel.state().random - before) * pow(GOLDEN, -1, 2**64) % 2**64
    assert 20 < drawn < 90
