"""How packets were sampled, as options data tells it: RFC 5476, from a whole exporter to the oracle.

P-numbers are requirements of PSAMP.
"""

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from exporter.cache import Cache
from exporter.options import ExporterOptions
from exporter.optionsdata.figures import Estimate
from exporter.optionsdata.sampling import limits
from exporter.selector import main_selector
from exporter.status import Metering
from lib.harness import START, Harness, every_kind
from lib.samples import batch, sample

DOMAIN = 7
STATS = 60


def harness(**options) -> Harness:
    return Harness(**{"profile": "full", "obs_domain_id": DOMAIN, "stats_interval": STATS, **options})


def test_p11_p10_selector_and_selection_sequence():
    """RFC 5476 6.5.1, 6.5.2: algorithm 4 with its probability, and the one Selector of the sequence at its point."""
    with harness(obs_point_id=12) as it:
        it.set_weight(0, Fraction(1, 400))
        it.tick()
        (selector,) = it.told("samplingProbability")
        assert (selector["selectorId"], selector["selectorAlgorithm"]) == (1, 4)
        assert selector["samplingProbability"] == 1 / 400
        (sequence,) = it.told("selectionSequenceId", "observationPointId")
        assert sequence.order == ["selectionSequenceId", "observationPointId", "selectorId"]
        assert (sequence["observationPointId"], sequence["selectorId"]) == (12, selector["selectorId"])
        it.set_weight(1, Fraction(1, 50))
        it.tick(START + 1)
        assert [record["samplingProbability"] for record in it.told("samplingProbability")] == [1 / 400, 1 / 50]


def test_p12_p15_selection_sequence_statistics():
    """RFC 5476 6.5.3, RFC 5474 5.4: packets that came to the Selector and those it took, each stats_interval."""
    with harness() as it:
        it.tick()
        it.exporter.set_metering(Metering(123_456_789, 1234, 5))
        it.tick(START + STATS)
        it.exporter.set_metering(Metering(223_456_789, 2234, 5))
        it.tick(START + 2 * STATS)
        first, second = it.told("selectorIdTotalPktsObserved")
        assert (first["selectorIdTotalPktsObserved"], first["selectorIdTotalPktsSelected"]) == (123_456_789, 1234)
        assert second["selectorIdTotalPktsObserved"] == 223_456_789


def test_p12_another_selector_counts_from_its_begin():
    """What the gates did before was for another one; for flow rules they do what nobody counts apart."""
    with harness() as it:

        def statistics() -> list[tuple[int, int, int]]:
            names = ("selectionSequenceId", "selectorIdTotalPktsObserved", "selectorIdTotalPktsSelected")
            return [tuple(record[name] for name in names) for record in it.told(names[1])]

        it.tick()
        it.exporter.set_metering(Metering(1000, 100, 0))
        it.exporter.set_weight(1, Fraction(1, 5), [replace(main_selector(it.options), id=2)])
        it.exporter.set_metering(Metering(1500, 200, 0))
        it.tick(START + STATS)
        assert statistics() == [(2, 500, 100)]
        # The same one over generations; then flow exporters come and go, and it is told no more.
        it.exporter.set_weight(2, Fraction(1), [replace(main_selector(it.options, Fraction(1, 5)), id=2)])
        it.tick(START + 2 * STATS)
        it.exporter.set_metering(Metering(None, 300, 0))
        it.exporter.set_metering(Metering(2500, 400, 0))
        it.tick(START + 3 * STATS)
        assert statistics() == [(2, 500, 100)] * 2
        it.exporter.set_weight(3, Fraction(1), [replace(main_selector(it.options), id=3)])
        it.exporter.set_metering(Metering(2510, 410, 0))
        it.tick(START + 4 * STATS)
        assert statistics() == [(2, 500, 100)] * 2 + [(3, 10, 10)]


def test_p13_accuracy_of_the_totals():
    """RFC 5476 6.5.4, with IANA's limits for estimates: 95 % of them have the true total between their limits.

    A million times a million packets would not change that: the variance is that of the samples that were taken.
    """
    inside = {"packetTotalCount": 0, "octetTotalCount": 0}
    chance = random.Random(5)
    runs, population, probability = 400, 1000, Fraction(1, 20)
    sizes = [chance.choice((64, 576, 1500)) for _ in range(population)]
    for _ in range(runs):
        taken = [size for size in sizes if chance.random() < probability]
        with Cache(ExporterOptions(), 1) as cache:
            cache.set_weight(1, probability, [main_selector(ExporterOptions())])
            described = [sample(ip_octets=size, ip_length=size, generation=1) for size in taken]
            cache.ingest(batch(described), len(described))
            counted = cache.selected()[1, main_selector(ExporterOptions()).id]
        for name, true, estimate in (
            ("packetTotalCount", population, Estimate(counted.packets_estimate, counted.packets_variance)),
            ("octetTotalCount", sum(sizes), Estimate(counted.octets_estimate, counted.octets_variance)),
        ):
            low, high = limits(estimate)
            inside[name] += low <= true <= high
    # Of 400 true intervals 380 hold in the mean, and fewer than 356 in one of 10^6 such tests (binomial, 0.95).
    assert min(inside.values()) >= 356 and max(inside.values()) < 400


@pytest.mark.parametrize("counts", ["scaled", "raw"])
def test_p13_accuracy_reports(counts: str):
    """One record for packets (86) and one for octets (85), over all generations; k (1 - p) / p^2 by the formula."""
    with harness(counts=counts) as it:
        it.set_weight(1, Fraction(1, 10))
        it.tick()
        it.ingest(*(sample(generation=1, ip_octets=100, ip_length=100) for _ in range(25)))
        it.set_weight(2, Fraction(1, 4))
        it.ingest(*(sample(generation=2, ip_octets=200, ip_length=200) for _ in range(9)))
        it.tick(START + STATS)
        packets, octets = it.told("confidenceLevel")
        assert packets.order[:3] == ["observationDomainId", "selectorId", "informationElementId"]
        assert [packets[name] for name in packets.order[:3]] == [DOMAIN, 1, 86]
        assert octets["informationElementId"] == 85
        for record, first, second in ((packets, 1, 1), (octets, 100, 200)):
            total = 25 * 10 * first + 9 * 4 * second
            variance = 25 * first**2 * 0.9 / 0.01 + 9 * second**2 * 0.75 / 0.0625
            assert record["confidenceLevel"] == 0.95
            assert record["upperCILimit"] == pytest.approx(total + 1.959964 * variance**0.5)
            assert record["lowerCILimit"] == pytest.approx(max(total - 1.959964 * variance**0.5, 0))


def test_the_probability_can_be_kept_back():
    """For a collector that would multiply by it; no selector is told then."""
    with harness(announce_selector=False) as it:
        it.exporter.set_metering(Metering(10, 1, 0))
        it.tick()
        it.tick(START + STATS)
        assert not it.told("selectorId") and not it.told("selectionSequenceId")
        assert it.told("samplingInterval")


def test_no_record_has_what_collectors_take_for_another_rate():
    """samplingPacketInterval, -Space (305, 306) and the old 35, 48 to 50: read as rates by one collector or another."""
    with harness() as it:
        it.tick()
        it.ingest(*every_kind())
        it.tick(START + STATS + 1, ticks=61)
        numbers = {number for t in it.receiver.oracle.templates.values() for pen, number, _ in t.fields if not pen}
        assert not numbers & {305, 306, 35, 48, 49, 50} and {304, 311, 34} <= numbers
