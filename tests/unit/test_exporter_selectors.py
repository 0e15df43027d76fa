"""Several selectors of one exporter: who takes a sample, with which weight, into whose flows; and that all sums."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.cache import KNOWN_GENERATIONS, LASTING_FIRST, Cache
from exporter.collectors import Endpoint
from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import Selected, Selector, main_selector
from lib.harness import START, TCP_V6, UDP_V4, Harness
from lib.samples import batch, sample

ONE = Fraction(1)


class AnyDomain(dict):
    """Templates of a session by (domain, id): what is known in one domain is known in all."""

    def get(self, key, default=None):
        return next((template for (_, number), template in self.items() if number == key[1]), default)


class DomainsHarness(Harness):
    """What is shown here is whose flows the samples make, not which templates go before them."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.receiver.oracle.templates = AnyDomain()


def whole(rule: int | None, domain: int = 0, point: int = 0) -> Selector:
    return Selector(number_of(rule), rule, ONE, domain, point)


def number_of(rule: int | None) -> int:
    """Selector.id, where no rule ever moves."""
    return 1 if rule is None else 2 + rule


def rules(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


def test_a_sample_counts_for_each_rule_that_took_it():
    """As two sample actions of Open vSwitch do: each has a flow of its own domain and point."""
    with DomainsHarness() as harness:
        harness.exporter.set_weight(1, ONE, [whole(0, 1, 10), whole(5, 1, 11), whole(63, 2, 10), whole(None, 3, 12)])
        harness.tick()
        harness.ingest(
            sample(generation=1, rules=rules(0, 63)),  # and main, by default
            sample(generation=1, rules=rules(5), main=0),
            sample(generation=1, rules=rules(5, 6, 63), main=0),
        )
        harness.flush()
        got = Counter(
            (r.domain, r["observationPointId"]) for r in harness.records for _ in range(r["packetDeltaCount"])
        )
        assert got == {(1, 10): 1, (1, 11): 2, (2, 10): 2, (3, 12): 1}
        stats = harness.stats
        assert (stats["samples_ingested"], stats["samples_selected"], stats["samples_pairs"]) == (3, 3, 6)


def test_p02_each_selector_of_a_domain_has_a_number_of_its_own():
    """RFC 5476 6.1: the one it was given, so the same from generation to generation."""
    selectors = [whole(None, 1), whole(0, 1, 10), whole(5, 1, 10), whole(63, 2)]
    with DomainsHarness(cache_active_timeout=0) as harness:
        for generation, chosen in enumerate((selectors, selectors[1:], selectors)):
            harness.exporter.set_weight(generation, ONE / (generation + 1), chosen)
            harness.tick(START + generation)
            harness.ingest(sample(generation=generation, rules=rules(63), main=0))
            harness.tick(START + generation + 0.9, ticks=10)
        records = [r for r in harness.receiver.oracle.options if "selectorAlgorithm" in r.values]
        numbers = {(record.domain, record["selectorId"]) for record in records}
        assert numbers == {(1, 1), (1, 2), (1, 7), (2, 65)}
        assert {record["samplingProbability"] for record in records} == {1, 1 / 2, 1 / 3}


def test_two_rules_of_one_domain_and_point_make_one_flow():
    with DomainsHarness() as harness:
        harness.exporter.set_weight(1, ONE, [whole(0, 1, 10), whole(1, 1, 10)])
        harness.tick()
        harness.ingest(sample(generation=1, rules=rules(0, 1)))
        harness.flush()
        assert [(r.domain, r["packetDeltaCount"]) for r in harness.records] == [(1, 2)]


def test_what_no_selector_takes_is_counted_and_left():
    """Rules of other exporters, and the main exporter's samples where there is no main selector."""
    with DomainsHarness() as harness:
        harness.exporter.set_weight(1, ONE, [whole(3)])
        harness.ingest(
            sample(generation=1, rules=rules(2, 4)),
            sample(generation=1, main=0, rules=0),
            sample(generation=9, main=0, rules=0),  # nobody's, whatever its generation
            sample(generation=1, rules=rules(3)),
            sample(generation=9, rules=rules(3, 4)),  # nobody knows for how many of ours
        )
        stats = harness.stats
        assert (stats["samples_unselected"], stats["samples_selected"], stats["samples_pairs"]) == (3, 2, 2)
        assert (stats["samples_lost_generation"], stats["samples_cached"]) == (1, 1)


def test_exclusion_counts_once_a_selector():
    with DomainsHarness(enable_output_sampling=False) as harness:
        harness.exporter.set_weight(1, ONE, [whole(0), whole(1)])
        both = {"generation": 1, "rules": rules(0, 1)}
        harness.ingest(sample(direction=1, **both), sample(**both))
        stats = harness.stats
        assert (stats["samples_excluded_output"], stats["samples_cached"]) == (2, 2)
        assert (stats["samples_selected"], stats["samples_pairs"]) == (2, 4)


def test_rules_take_bfd_which_the_main_selector_leaves_out():
    """As Open vSwitch: what a bridge samples has no BFD, what a flow's action samples has."""
    with DomainsHarness() as harness:
        harness.exporter.set_weight(1, ONE, [whole(None), whole(0), whole(1)])
        bfd = {"generation": 1, "dst_port": 3784}
        harness.ingest(
            sample(UDP_V4, main=1, rules=rules(0, 1), **bfd),
            sample(UDP_V4, main=0, rules=rules(1), **bfd),
            sample(UDP_V4, main=1, rules=0, **bfd),
        )
        stats = harness.stats
        assert (stats["samples_excluded_bfd"], stats["samples_cached"]) == (2, 3)
        assert (stats["samples_selected"], stats["samples_pairs"]) == (3, 5)


def test_an_interface_has_a_point_of_its_own_for_the_main_selector_only():
    with DomainsHarness(interface_obs_point_ids=((2, 900),), cache_active_timeout=0) as harness:
        harness.exporter.set_weight(1, ONE, [whole(None, 0, 10), whole(0, 0, 11)])
        harness.tick()
        harness.ingest(sample(generation=1, rules=1), sample(generation=1, rules=1, ifindex=3))
        assert [r["observationPointId"] for r in harness.records] == [900, 11, 10, 11]


@pytest.mark.parametrize("thinning", [ONE, Fraction(1, 3), Fraction(2**64 - 1, 2**64), Fraction(1, 2**32 - 1)])
@pytest.mark.parametrize("gate", [ONE, Fraction(1, 7), Fraction(1, 65535)])
@pytest.mark.parametrize("packets", [1, 45, 1000])
def test_the_weight_is_one_over_gate_times_thinning(gate: Fraction, thinning: Fraction, packets: int):
    with Cache(ExporterOptions()) as cache:
        cache.set_weight(0, gate, [Selector(2, 0, thinning, 0, 0)])
        cache.ingest(batch([sample(rules=1, packets=packets, ip_octets=40 * packets)]), 1)
        (flow,) = cache.copy(1)
        counted = flow.packets + Fraction(flow.packets_fraction, 2**32)
        assert abs(counted / (packets / ((1 - (1 - gate) ** packets) * thinning)) - 1) < 1e-9


def test_the_rarest_sample_stands_for_2_to_the_96_packets_which_no_counter_holds():
    with Cache(ExporterOptions()) as cache:
        cache.set_weight(0, Fraction(1, 2**32 - 1), [Selector(2, 0, Fraction(1, 2**64), 0, 0)])
        cache.ingest(batch([sample(rules=1)]), 1)
        (flow,) = cache.copy(1)
        assert (flow.packets, flow.ip_octets_sumsq) == (2**64 - 1, 2**64 - 1)
        assert cache.stats()["represented"] == 2**64 - 1


@pytest.mark.parametrize(
    ("rule", "thinning"), [(64, ONE), (-1, ONE), (0, Fraction(0)), (0, Fraction(1, 2**65)), (None, Fraction(3, 2))]
)
def test_no_selector_is_out_of_range(rule: int | None, thinning: Fraction):
    with pytest.raises(ValueError, match="out of range"):
        Selector(1, rule, thinning, 0, 0)


def test_selectors_tell_what_they_counted_by_generation():
    with DomainsHarness() as harness:
        exporter, cache = harness.exporter, harness.exporter.cache
        exporter.set_weight(1, Fraction(1, 2), [whole(0), Selector(3, 1, Fraction(1, 5), 0, 0)])
        exporter.set_weight(2, Fraction(1, 3), [whole(1)])
        harness.ingest(
            sample(generation=1, rules=rules(0, 1)), sample(generation=1, rules=1), sample(generation=2, rules=2)
        )
        expected = {(0, 1): Selected(0, 0), (1, 2): Selected(2, 4), (1, 3): Selected(1, 10), (2, 3): Selected(1, 3)}
        assert cache.selected() == expected
        assert exporter.selected() == {1: Selected(0, 0), 2: Selected(2, 4), 3: Selected(2, 13)}
        # The same generation again, as after a change of another exporter: nothing is forgotten.
        exporter.set_weight(1, Fraction(1, 2), [whole(0), whole(2)])
        assert cache.selected() == {k: v for k, v in expected.items() if k != (1, 3)} | {(1, 4): Selected(0, 0)}
        assert exporter.selected()[3] == Selected(2, 13)
        assert harness.stats["packets_represented"] == 17
        for generation in range(3, 3 + KNOWN_GENERATIONS):
            exporter.set_weight(generation, ONE, [whole(0)])
        assert {generation for generation, _ in cache.selected()} == set(range(3, 3 + KNOWN_GENERATIONS))
        # The other ones of before may come again as others.
        assert exporter.selected() == {2: Selected(2, 4)}
        assert harness.stats["packets_represented"] == 17


def test_a_lasting_generation_stays_and_is_told_beside_the_others():
    with Harness(template_interval=1, stats_interval=1) as harness:
        exporter = harness.exporter
        first, second = Selector(100, 0, Fraction(1, 10), 0, 7), Selector(101, 1, Fraction(1, 4), 0, 8)
        exporter.set_weight(LASTING_FIRST, ONE, [first])
        harness.ingest(sample(UDP_V4, generation=LASTING_FIRST, rules=rules(0)))
        exporter.set_weight(LASTING_FIRST, ONE, [first, second])
        for generation in range(1, 2 * KNOWN_GENERATIONS):
            exporter.set_weight(generation, ONE / 3, [main_selector(harness.options)])
        harness.ingest(sample(UDP_V4, generation=LASTING_FIRST, rules=rules(1)))
        assert exporter.selected() == {1: Selected(0, 0), 100: Selected(1, 10), 101: Selected(1, 4)}
        harness.tick()
        harness.tick(START + 5, ticks=50)
        reports = [record.values for record in harness.told("selectorId", "samplingProbability")]
        told = {report["selectorId"]: report["samplingProbability"] for report in reports}
        assert told == {1: pytest.approx(1 / 3), 100: pytest.approx(0.1), 101: 0.25}
        harness.flush()
        counted = {record.values["observationPointId"]: record.values["packetDeltaCount"] for record in harness.records}
        assert counted == {7: 10, 8: 4}


def test_selectors_of_a_lasting_generation_end():
    """Their numbers are others' from then on; nothing that was counted is lost, and nothing is told of them."""
    with Harness(template_interval=1, stats_interval=1) as harness:
        exporter = harness.exporter
        first, second = Selector(100, 0, ONE, 0, 7), Selector(101, 0, Fraction(1, 4), 0, 8)
        exporter.set_weight(LASTING_FIRST, ONE, [first])
        harness.ingest(sample(UDP_V4, generation=LASTING_FIRST, rules=rules(0)))
        harness.tick()
        exporter.set_weight(LASTING_FIRST, ONE, [])
        assert exporter.selected() == {1: Selected(0, 0)}
        harness.tick(START + 5, ticks=50)
        exporter.set_weight(LASTING_FIRST, ONE, [second])
        harness.ingest(sample(UDP_V4, generation=LASTING_FIRST, rules=rules(0)))
        assert exporter.selected() == {1: Selected(0, 0), 101: Selected(1, 4)}
        assert harness.stats["packets_represented"] == 5
        told = len(harness.told("selectorId", "samplingProbability"))
        harness.tick(START + 10, ticks=50)
        reports = harness.told("selectorId", "samplingProbability")[told:]
        assert {report.values["selectorId"] for report in reports} == {1, 101}
        harness.flush()
        counted = {record.values["observationPointId"]: record.values["packetDeltaCount"] for record in harness.records}
        assert counted == {7: 1, 8: 4}
    with Exporter(ExporterOptions(), pause=lambda _: None) as alone:
        for selectors in ([first], [], [second]):
            alone.set_weight(LASTING_FIRST, ONE, selectors)
        assert set(alone.selected()) == {101}


@pytest.mark.parametrize("protocol", [6, 17, 132])
def test_own_sessions_are_excluded_by_their_protocol(protocol: int):
    with Cache(ExporterOptions()) as cache:
        cache.set_weight(0, ONE, [main_selector(ExporterOptions())])
        cache.set_endpoints([Endpoint("2001:db8::1", 1000, "2001:db8::2", 4739, protocol)])
        own = TCP_V6 | {"dst_port": 4739}
        cache.ingest(batch([sample(own, ip_protocol=number) for number in (6, 17, 132, 1)]), 4)
        assert (cache.stats()["excluded_own"], cache.stats()["cached"]) == (1, 3)


FRACTIONS = st.fractions(min_value=Fraction(1, 3000), max_value=1, max_denominator=100_000)
DOMAINS = st.integers(0, 2)


@st.composite
def generations(draw: st.DrawFn) -> list[tuple[Fraction, dict[int | None, Selector]]]:
    made = []
    for _ in range(draw(st.integers(1, 3))):
        numbers = draw(st.sets(st.sampled_from([None, 0, 1, 2, 31, 63]), max_size=4))
        points = st.integers(1, 2)
        selectors = {n: Selector(number_of(n), n, draw(FRACTIONS), draw(DOMAINS), draw(points)) for n in numbers}
        made.append((draw(FRACTIONS), selectors))
    return made


SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 3),  # generation, perhaps one that is not known
        st.sets(st.sampled_from([0, 1, 2, 31, 63])),
        st.booleans(),  # for the main exporter
        st.integers(0, 3),  # flow
        st.integers(1, 50),  # wire packets
        st.booleans(),  # end everything behind it
    ),
    max_size=50,
)


@given(made=generations(), samples=SAMPLES)
@settings(max_examples=60, deadline=None)
def test_records_of_each_domain_sum_to_its_selectors_truth(made: list, samples: list):
    """To less than one unit a domain, fractions carried, beside the rounding of weights (1e-9); the ledger sums."""
    exact: Counter[int] = Counter()
    pairs = unselected = unknown = 0
    with DomainsHarness() as harness:
        for generation, (gate, selectors) in enumerate(made):
            harness.exporter.set_weight(generation, gate, list(selectors.values()))
        harness.tick()
        for generation, bits, main, port, packets, ends in samples:
            octets = {"ip_octets": 100 * packets, "ip_length": 100, "packets": packets}
            taken = {"generation": generation, "rules": rules(*bits), "main": int(main)}
            harness.ingest(sample(UDP_V4, src_port=port, **octets, **taken))
            wanted = bits | ({None} if main else set())
            if generation >= len(made):
                unknown += bool(wanted)
                unselected += not wanted
            else:
                gate, selectors = made[generation]
                mine = wanted & selectors.keys()
                pairs += len(mine)
                unselected += not mine
                for number in mine:
                    chance = (1 - (1 - gate) ** packets) * selectors[number].thinning
                    exact[selectors[number].obs_domain_id] += octets["ip_octets"] / chance
            if ends:
                harness.flush()
        harness.flush()
        stats = harness.stats
        assert stats["samples_ingested"] == stats["samples_selected"] + stats["samples_unselected"] == len(samples)
        assert (stats["samples_unselected"], stats["samples_lost_generation"]) == (unselected, unknown)
        assert stats["samples_pairs"] == pairs + unknown == stats["samples_exported"] + unknown
        for domain in range(3):
            total = sum(r["octetDeltaCount"] for r in harness.records if r.domain == domain)
            assert -1 - 1e-9 * float(exact[domain]) < total - exact[domain] <= 1e-9 * float(exact[domain])
