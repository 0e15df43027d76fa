"""Raw counts: counters of samples, which collectors multiply by samplingInterval (34) = N. The product is the truth."""

from fractions import Fraction

import pytest

from exporter.selector import Selector
from lib.harness import START, UDP_V4, Harness
from lib.samples import sample
from sampler import config
from sampler.errors import ConfigError
from sampler.rules.rawrates import Rate, check_raw

DOMAIN = 7


def raw(**options) -> Harness:
    return Harness(**{"profile": "full", "obs_domain_id": DOMAIN, "counts": "raw", **options})


def announced(harness: Harness) -> list[tuple[int, int]]:
    """(domain, N) in the order in which they went out."""
    records = [record for record in harness.receiver.oracle.options if "samplingInterval" in record.values]
    return [(record["observationDomainId"], record["samplingInterval"]) for record in records]


def test_packets_that_stand_alone_are_counted_as_they_are():
    with raw() as it:
        it.set_weight(1, Fraction(1, 400))
        it.tick()
        it.ingest(*(sample(UDP_V4, generation=1, ip_octets=100, ip_length=100, frame_octets=114) for _ in range(7)))
        it.flush()
        (record,) = it.records
        assert announced(it) == [(DOMAIN, 400)]
        assert (record["packetDeltaCount"], record["octetDeltaCount"], record["layer2OctetDeltaCount"]) == (7, 700, 798)
        assert record["octetDeltaSumOfSquares"] == 7 * 100**2


@pytest.mark.parametrize("interval", [1, 2, 3, 100, 65535, 2**32 - 1])
def test_n_times_raw_is_what_scaled_counts_say(interval: int):
    """Super-packets too: their weight is 1 / pi(s), and raw counts are that divided by N. To one unit of N."""
    packets = [1, 2, 10, 45, 64, 65, 200]
    sums = {}
    for counts in ("raw", "scaled"):
        with raw(counts=counts) as it:
            it.set_weight(1, Fraction(1, interval))
            it.tick()
            it.ingest(
                *(
                    sample(UDP_V4, generation=1, packets=n, ip_octets=1000 * n, ip_length=1000, frame_octets=1014 * n)
                    for n in packets
                    for _ in range(50)
                )
            )
            it.flush()
            ((_, told),) = announced(it)
            assert told == (interval if counts == "raw" else 1)
            sums[counts] = {
                name: sum(record[name] for record in it.records) * told
                for name in ("packetDeltaCount", "octetDeltaCount", "layer2OctetDeltaCount")
            }
    for name, scaled in sums["scaled"].items():
        assert abs(sums["raw"][name] - scaled) <= interval + 1


def test_rule_3_another_rate_ends_all_flows_then_is_announced_then_counts():
    """Reference 5, rule 3: what was counted by the old rate goes out before the new one is announced."""
    with raw() as it:
        it.set_weight(1, Fraction(1, 100))
        it.tick()
        it.ingest(*(sample(UDP_V4, generation=1, src_port=port) for port in range(30)))
        it.set_weight(2, Fraction(1, 10))
        it.receiver.read()
        assert it.stats["flows"] == 0
        assert [record["flowEndReason"] for record in it.records] == [4] * 30
        assert announced(it) == [(DOMAIN, 100)]
        it.ingest(*(sample(UDP_V4, generation=2, src_port=port) for port in range(30)))
        it.flush()
        assert announced(it) == [(DOMAIN, 100), (DOMAIN, 10)]
        # A collector that multiplies each record by the last N that it heard.
        last, total = 0, 0
        for message in it.receiver.oracle.messages:
            for record in message.records:
                last = record.values.get("samplingInterval", last)
                total += last * record.values.get("packetDeltaCount", 0)
        assert total == 30 * 100 + 30 * 10


def test_samples_that_come_late_count_for_the_new_rate():
    """Samples taken by the old rate are on the ring when it changes: each stands for 100, and N is 10."""
    with raw() as it:
        it.set_weight(1, Fraction(1, 100))
        it.tick()
        it.set_weight(2, Fraction(1, 10))
        it.ingest(*(sample(UDP_V4, generation=1) for _ in range(3)), sample(UDP_V4, generation=2))
        it.flush()
        assert announced(it) == [(DOMAIN, 10)] or announced(it)[-1] == (DOMAIN, 10)
        assert [record["packetDeltaCount"] for record in it.records] == [31]


def test_the_same_rate_in_another_generation_ends_nothing():
    with raw() as it:
        it.set_weight(1, Fraction(1, 100))
        it.tick()
        it.ingest(sample(UDP_V4, generation=1))
        it.set_weight(2, Fraction(1, 100))
        assert it.stats["flows"] == 1


def test_scaled_counts_end_nothing_for_another_rate():
    """Their weights are fixed when samples are taken."""
    with raw(counts="scaled") as it:
        it.set_weight(1, Fraction(1, 100))
        it.tick()
        it.ingest(sample(UDP_V4, generation=1))
        it.set_weight(2, Fraction(1, 10))
        assert it.stats["flows"] == 1


def test_each_domain_has_the_rate_of_its_selectors():
    """Behind one gate, thinned: N is one over the selector's own probability."""
    with raw() as it:
        selectors = [Selector(7, 0, Fraction(1, 5), 1, 10), Selector(8, 1, Fraction(1), 2, 20)]
        it.exporter.set_weight(1, Fraction(1, 3), selectors)
        it.tick()
        it.ingest(*(sample(UDP_V4, generation=1, rules=0b11, main=0) for _ in range(4)))
        it.flush()
        it.tick(START + 1)
        assert dict(announced(it)) == {1: 15, 2: 3}
        assert [(record.domain, record["packetDeltaCount"]) for record in it.records] == [(1, 4), (2, 4)]
        probabilities = {
            record.domain: record["samplingProbability"]
            for record in it.receiver.oracle.options
            if "samplingProbability" in record.values
        }
        assert probabilities == {1: pytest.approx(1 / 15), 2: pytest.approx(1 / 3)}


def test_a_probability_that_is_not_one_in_a_whole_number_is_refused():
    check_raw([Rate("a", 1, 1), Rate("b", 65535, 2), Rate("c", 13107, 3), Rate("d", 13107, 3)])
    with pytest.raises(ConfigError) as caught:
        check_raw([Rate("flow_exporter[0].sample[1].probability", 10000, 1)])
    assert str(caught.value) == (
        'flow_exporter[0].sample[1].probability = 10000: with counts = "raw" collectors multiply by 65535 / '
        'probability, which must be whole: take 4369 (one in 15) or 13107 (one in 5), or use counts = "scaled"'
    )


def test_a_flow_exporter_with_raw_counts_is_held_to_it():
    rules = [{"probability": 13107, "obs_domain_id": 1}, {"probability": 13107, "obs_domain_id": 1}]
    table = {"collector_set_id": 3, "targets": ["192.0.2.1"], "counts": "raw", "sample": rules}
    assert config.parse({"flow_exporter": [table]}).flow_exporters[0].options.counts == "raw"
    rules[1]["probability"] = 13108
    with pytest.raises(ConfigError, match=r"^flow_exporter 3: rule 2: probability = 13108: with counts"):
        config.parse({"flow_exporter": [table]})
    assert config.parse({"flow_exporter": [table | {"counts": "scaled"}]})


def test_two_rates_in_one_domain_are_refused():
    with pytest.raises(ConfigError) as caught:
        check_raw([Rate("one", 65535, 5), Rate("two", 13107, 6), Rate("three", 13107, 5)])
    message = str(caught.value)
    assert message.startswith("three = 13107: one is 65535")
    assert "observation domain 5" in message and "another obs_domain_id" in message and "\n" not in message
