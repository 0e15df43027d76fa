"""The gate: exact at 1, exact observed counts, the geometric law in the kernel, the sample budget, the lost batches."""

import math
from fractions import Fraction

import pytest

from lib.frames import FRAMES
from lib.testrun import IFINDEX
from sampler._native import lib
from sampler.gates import scale
from sampler.maps import log2_table

FRAME = FRAMES["ipv4 tcp"]


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
    kernel.gates.set_sampling(Fraction(1, n), 1)
    seen = kernel.gates.observed()[IFINDEX, 0]
    kernel.run("sample_tc_ingress", FRAME, repeat=5000, segments=segments, segment_size=100)
    assert kernel.gates.observed()[IFINDEX, 0] == seen + 5000 * segments


@pytest.mark.parametrize("n", [2, 10])
def test_law_of_gaps(kernel, n):
    """Chi-square of 4000 gaps against Geometric(1/n), at a false alarm of 1e-6 (Wilson-Hilferty)."""
    kernel.gates.set_sampling(Fraction(1, n), 1)
    kernel.run("sample_tc_ingress", FRAME, repeat=20)  # past what an earlier rate drew
    gaps, passed, taken = [], 0, kernel.state().batch.sequence
    while len(gaps) < 4000:
        kernel.run("sample_tc_ingress", FRAME)
        passed += 1
        if kernel.state().batch.sequence != taken:
            gaps.append(passed)
            passed, taken = 0, taken + 1
    bins = 6 * n // 2
    expected = [4000 * (1 - 1 / n) ** k / n for k in range(bins)] + [4000 * (1 - 1 / n) ** bins]
    found = [gaps.count(k + 1) for k in range(bins)] + [sum(gap > bins for gap in gaps)]
    statistic = sum((f - e) ** 2 / e for f, e in zip(found, expected, strict=True))
    bound = bins * (1 - 2 / (9 * bins) + 4.7534 * math.sqrt(2 / (9 * bins))) ** 3
    assert statistic < bound


def test_sample_carries_generation_of_its_draw(kernel):
    kernel.take_all(generation=5)
    kernel.run("sample_tc_egress", FRAME)
    kernel.take_all(generation=6)
    assert kernel.sample("sample_tc_egress", FRAME).meta.generation == 5
    assert kernel.sample("sample_tc_egress", FRAME).meta.generation == 6


def test_budget(kernel):
    before = kernel.gates.counters()[0]
    kernel.gates.set_sampling(Fraction(1), 0, budget=10)
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
