"""Weights: totals right to one unit, whatever the weights and however they are cut into records; no bias."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter._native import ffi
from exporter.cache import Cache, weight_table
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from lib.harness import ARP, START, UDP_V4, Harness
from lib.samples import batch, sample

MAIN = main_selector(ExporterOptions())

# Two-sided false-alarm rate of 1e-6 under the normal distribution.
SIGMAS = 4.892


def pi(probability: Fraction, packets: int) -> Fraction:
    """Probability that a super-packet of so many wire packets is hit at least once."""
    return 1 - (1 - probability) ** packets


def test_the_weight_of_a_packet_is_one_over_its_probability():
    assert weight_table(Fraction(1, 400))[1] == 400 << 32
    assert weight_table(Fraction(1)) == (0, *[1 << 32] * 64)
    assert weight_table(Fraction(1, 2**32 - 1))[1] == (2**32 - 1) << 32


@pytest.mark.parametrize("probability", [Fraction(1), Fraction(1, 3), Fraction(1, 400), Fraction(1, 2**32 - 1)])
@pytest.mark.parametrize("packets", [1, 2, 45, 64, 65, 1000])
def test_super_packets_weigh_one_over_their_inclusion_probability(probability: Fraction, packets: int):
    """Tabled to 64 packets, computed above: both to a relative error below 1e-9 (32 fraction bits)."""
    with Cache(ExporterOptions()) as cache:
        cache.set_weight(0, probability, [MAIN])
        cache.ingest(batch([sample(packets=packets, ip_octets=40 * packets)]), 1)
        (flow,) = cache.copy(1)
        counted = flow.packets + Fraction(flow.packets_fraction, 2**32)
        expected = packets / pi(probability, packets)
        assert abs(counted / expected - 1) < 1e-9


@pytest.mark.parametrize("probability", [Fraction(0), Fraction(-1, 2), Fraction(3, 2), Fraction(1, 2**32)])
def test_no_probability_out_of_range_is_taken(probability: Fraction):
    with Cache(ExporterOptions()) as cache, pytest.raises(ValueError, match="out of range"):
        cache.set_weight(0, probability, [MAIN])


SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 3),  # generation
        st.integers(0, 5),  # flow
        st.integers(1, 60),  # wire packets
        st.integers(20, 9000),  # IP length of each
        st.booleans(),  # end everything behind it
    ),
    min_size=1,
    max_size=60,
)
PROBABILITIES = st.lists(
    st.fractions(min_value=Fraction(1, 5000), max_value=1, max_denominator=100_000), min_size=4, max_size=4
)


@given(samples=SAMPLES, probabilities=PROBABILITIES)
@settings(max_examples=60, deadline=None)
def test_totals_are_right_to_one_unit(samples: list, probabilities: list[Fraction]):
    """The fraction cut from a record goes to the next one: sums of records differ by less than 1 from the exact sum.

    Beside that one unit stands the rounding of weights to 32 fraction bits.
    """
    exact = {name: Fraction(0) for name in ("packetDeltaCount", "octetDeltaCount", "octetDeltaSumOfSquares")}
    rounding = dict.fromkeys(exact, Fraction(0))
    with Harness() as harness:
        for generation, probability in enumerate(probabilities):
            harness.set_weight(generation, probability)
        harness.tick()
        for generation, port, packets, length, ends in samples:
            octets = packets * length - length // 3
            last = length - length // 3
            harness.ingest(
                sample(
                    UDP_V4,
                    src_port=port,
                    generation=generation,
                    packets=packets,
                    ip_length=length if packets > 1 else last,
                    ip_octets=octets,
                    frame_octets=octets + 14 * packets,
                )
            )
            weight = 1 / pi(probabilities[generation], packets)
            amounts = (packets, octets, (packets - 1) * length**2 + last**2)
            for name, amount in zip(exact, amounts, strict=True):
                exact[name] += weight * amount
                rounding[name] += Fraction(amount, 2**33)
            if ends:
                harness.flush()
        harness.flush()
        for name, expected in exact.items():
            total = sum(record[name] for record in harness.records)
            assert -1 - rounding[name] < total - expected <= rounding[name]


def test_octets_are_not_carried_into_a_record_that_has_none():
    with Harness(cache_active_timeout=0) as harness:
        harness.set_weight(1, Fraction(2, 3))
        harness.tick()
        harness.ingest(
            sample(generation=1, ip_octets=41), sample(ARP, generation=1), sample(generation=1, ip_octets=41)
        )
        totals = [record.values.get("octetDeltaCount") for record in harness.records]
        assert sorted(totals, key=str) == sorted([61, None, 62], key=str)


def test_counters_saturate_instead_of_wrapping():
    with Cache(ExporterOptions()) as cache:
        cache.set_weight(0, Fraction(1, 2**32 - 1), [MAIN])
        cache.ingest(batch([sample(ip_octets=2**32 - 1, ip_length=2**32 - 1)] * 3), 3)
        (flow,) = cache.copy(1)
        assert flow.ip_octets_sumsq == 2**64 - 1
        assert flow.ip_octets == 2**64 - 1
        assert flow.packets == 3 * (2**32 - 1)


@pytest.mark.parametrize("packets", [1, 2, 10, 45])
@pytest.mark.parametrize("interval", [2, 100])
def test_super_packets_are_counted_without_bias(packets: int, interval: int):
    """Bernoulli(p) on wire packets, an skb taken when any of its packets is hit: the estimate's mean is the truth.

    The estimator of N skbs has variance N s^2 (1 - pi) / pi: within 4.892 standard deviations, 1e-6 false alarms.
    """
    rng = random.Random(packets * 1000 + interval)
    probability = Fraction(1, interval)
    skbs = 60_000
    chance = float(pi(probability, packets))
    hits = sum(rng.random() < chance for _ in range(skbs))
    with Cache(ExporterOptions()) as cache:
        cache.set_weight(0, probability, [MAIN])
        one = batch([sample(packets=packets, ip_octets=40 * packets, time=round(START))])
        many = ffi.new("struct sample[]", hits)
        for item in many:
            ffi.memmove(ffi.addressof(item), one, ffi.sizeof("struct sample"))
        cache.ingest(many, hits)
        (flow,) = cache.copy(1)
        sigma = packets * math.sqrt(skbs * (1 - chance) / chance)
        assert abs(flow.packets - skbs * packets) < SIGMAS * sigma + 1
        assert abs(flow.ip_octets - skbs * packets * 40) < 40 * (SIGMAS * sigma + 1)
