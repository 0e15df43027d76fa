"""Options changed while flows live: nothing is lost, and from then on the new ones count."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter._native import ffi
from exporter.cache import Cache
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from lib.harness import START, Harness
from lib.samples import batch, sample

ACK, FIN = 16, 1
IDLE, ACTIVE, DETECTED, FORCED, RESOURCES = 1, 2, 3, 4, 5


def change(harness: Harness, **options) -> None:
    harness.options = replace(harness.options, **options)
    harness.exporter.cache.set_options(harness.options)


def ends(harness: Harness) -> list[tuple[int, int]]:
    return [(record["sourceTransportPort"], record["flowEndReason"]) for record in harness.records]


def start_flows(harness: Harness, count: int = 4) -> None:
    """Flows of ports 0, 1, …, begun a second after one another."""
    for port in range(count):
        harness.tick(START + port)
        harness.ingest(sample(src_port=port))


@pytest.mark.parametrize(
    ("option", "reason"), [("cache_idle_timeout", IDLE), ("cache_active_timeout", ACTIVE)], ids=["idle", "active"]
)
def test_a_shorter_timeout_ends_flows_that_are_over_it(option: str, reason: int):
    with Harness(cache_active_timeout=4000, cache_idle_timeout=4000) as harness:
        start_flows(harness)  # the first one is 3 s old
        harness.tick(START + 10)
        change(harness, **{option: 8})
        harness.tick(START + 10.2)
        assert sorted(ends(harness)) == [(0, reason), (1, reason), (2, reason)]
        harness.tick(START + 11.2)
        assert ends(harness)[3:] == [(3, reason)]


def test_a_longer_timeout_keeps_flows_that_would_have_ended():
    with Harness(cache_active_timeout=60, cache_idle_timeout=5) as harness:
        start_flows(harness, 1)
        change(harness, cache_idle_timeout=0, cache_active_timeout=100)
        harness.tick(START + 99, ticks=99)
        assert ends(harness) == []
        harness.tick(START + 100.2)
        assert ends(harness) == [(0, ACTIVE)]


def test_a_lower_limit_ends_the_oldest():
    with Harness(cache_max_flows=100) as harness:
        start_flows(harness, 5)
        change(harness, cache_max_flows=2)
        harness.tick(START + 5)
        assert ends(harness) == [(0, RESOURCES), (1, RESOURCES), (2, RESOURCES)]
        harness.ingest(sample(src_port=9))
        assert ends(harness)[3:] == [(3, RESOURCES)]


def test_what_is_too_much_goes_out_at_the_pace_of_expiry():
    """A collector is not flooded: 768 records a tick here, one more for each sample that starts a flow."""
    with Harness(cache_max_flows=5000) as harness:
        harness.tick()
        harness.ingest(*(sample(src_port=port) for port in range(5000)))
        change(harness, cache_max_flows=10)
        harness.ingest(sample(src_port=5000))
        assert harness.stats["flows"] == 5000
        harness.tick(START)
        assert harness.stats["flows"] == 5000 - 768
        harness.tick(START + 1)
        assert harness.stats["flows"] == 10


@pytest.mark.parametrize(
    ("option", "reason"), [("cache_active_timeout", ACTIVE), ("cache_max_flows", RESOURCES)], ids=["active", "flows"]
)
def test_caching_switched_off_ends_all_and_on_again_caches(option: str, reason: int):
    before = getattr(ExporterOptions(), option)
    with Harness() as harness:
        start_flows(harness, 2)
        change(harness, **{option: 0})
        harness.ingest(sample(src_port=0))  # a record of its own
        harness.tick(START + 3, ticks=3)
        assert sorted(ends(harness)) == [(0, reason), (0, reason), (1, reason)]
        change(harness, **{option: before})
        harness.ingest(sample(src_port=0), sample(src_port=0))
        assert harness.stats["flows"] == 1 and len(harness.records) == 3


def test_a_direction_can_be_switched_off_and_on():
    with Harness() as harness:
        change(harness, enable_input_sampling=False)
        harness.ingest(sample(direction=0), sample(direction=1))
        change(harness, enable_output_sampling=False, enable_input_sampling=True)
        harness.ingest(sample(direction=0), sample(direction=1))
        stats = harness.stats
        assert (stats["samples_excluded_input"], stats["samples_excluded_output"], stats["flows"]) == (1, 1, 2)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 20),  # seconds to wait
        st.lists(st.tuples(st.integers(1, 6), st.sampled_from([0, ACK, FIN])), max_size=6),
        st.none() | st.tuples(st.sampled_from([0, 1, 7, 60]), st.sampled_from([0, 1, 9, 70]), st.integers(0, 4)),
    ),
    max_size=25,
)


@given(steps=STEPS)
@settings(max_examples=150, deadline=None)
def test_any_changes_lose_nothing_and_end_every_flow_when_it_is_due(steps: list):
    """Each flow against the options of the moment of each tick; then all samples are in the flows that ended."""
    second = 10**9
    options = ExporterOptions(cache_active_timeout=60, cache_idle_timeout=15, cache_max_flows=5)
    with Cache(options) as cache:
        cache.set_weight(0, Fraction(1), [main_selector(options)])
        now, sent, got = 1000, 0, 0
        flows = ffi.new("struct flow *[]", 4096)

        def take() -> int:
            count = cache.take(flows, 4096)
            samples = sum(flows[i].samples for i in range(count))
            cache.release(flows, count)
            return samples

        for wait, samples, changed in steps:
            if changed is not None:
                active, idle, limit = changed
                options = replace(options, cache_active_timeout=active, cache_idle_timeout=idle, cache_max_flows=limit)
                cache.set_options(options)
            for _ in range(wait):
                now += 1
                cache.expire(now * second + second // 5, 1000)
                living = cache.copy(100)
                assert len(living) <= options.cache_max_flows
                for flow in living:
                    assert flow.first + options.cache_active_timeout * second > now * second
                    assert not options.cache_idle_timeout or flow.last + options.cache_idle_timeout * second > (
                        now * second
                    )
            described = [sample(src_port=port, tcp_flags=flags, time=now * second) for port, flags in samples]
            cache.ingest(batch(described), len(described))
            sent += len(described)
            got += take()
            stats = cache.stats()
            assert stats["pairs"] == sent == got + stats["cached"]
        while cache.flush(FORCED, 100):
            pass
        assert got + take() == sent
