"""The flow cache: which samples make one flow, when flows end, and that every sample is accounted for."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter._native import ffi, lib
from exporter.cache import Cache
from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from exporter.transports.connection import Endpoint
from lib.harness import ARP, START, TCP_V4, TCP_V6, UDP_V4, VLAN, VXLAN, Harness
from lib.samples import batch, sample

MAIN = main_selector(ExporterOptions())
FIN, SYN, RST, ACK = 1, 2, 4, 16
IDLE, ACTIVE, DETECTED, FORCED, RESOURCES = 1, 2, 3, 4, 5


def ledger_sums(stats: dict[str, int]) -> bool:
    parts = [n for name, n in stats.items() if name.startswith(("samples_excluded", "samples_lost"))]
    rest = stats["samples_cached"] + stats["samples_pending"] + stats["samples_exported"]
    return stats["samples_ingested"] == sum(parts) + rest


def reasons(harness: Harness) -> list[int]:
    return [record["flowEndReason"] for record in harness.records]


def test_samples_of_one_key_make_one_flow():
    with Harness() as harness:
        harness.tick()
        harness.ingest(sample(tcp_flags=SYN), sample(ip_octets=1500, ip_length=1500, frame_octets=1514))
        assert (harness.stats["flows"], harness.stats["samples_cached"]) == (1, 2)
        harness.flush()
        (record,) = harness.records
        assert record["packetDeltaCount"] == 2
        assert record["octetDeltaCount"] == 1540
        assert record["octetDeltaSumOfSquares"] == 40**2 + 1500**2
        assert (record["minimumIpTotalLength"], record["maximumIpTotalLength"]) == (40, 1500)
        assert record["layer2OctetDeltaCount"] == 1568


@pytest.mark.parametrize(
    "change",
    [
        {"ifindex": 3},
        {"direction": 1},
        {"ip_ttl": 63},
        {"ip_tos": 0},
        {"src_port": 1},
        {"src_addr": "192.0.2.9"},
        {"src_mac": "00:00:5e:00:53:09"},
        {"tunnel": VXLAN},
        VLAN,
    ],
)
def test_every_part_of_the_key_tells_flows_apart(change: dict):
    with Harness() as harness:
        harness.tick()
        harness.ingest(sample(), sample(**change), sample(), sample(**change))
        assert (harness.stats["flows"], harness.stats["samples_cached"]) == (2, 4)


@pytest.mark.parametrize(("option", "direction", "name"), [("input", 0, "input"), ("output", 1, "output")])
def test_a_direction_can_be_switched_off(option: str, direction: int, name: str):
    with Harness(**{f"enable_{option}_sampling": False}) as harness:
        harness.ingest(sample(direction=direction), sample(direction=1 - direction))
        assert harness.stats[f"samples_excluded_{name}"] == 1
        assert harness.stats["samples_cached"] == 1
        assert ledger_sums(harness.stats)


@pytest.mark.parametrize("base", [UDP_V4, TCP_V6 | {"ip_protocol": 17}])
def test_bfd_is_excluded_as_in_ovs(base: dict):
    """RFC 5881: UDP to port 3784 or 3785, over either IP version; TCP to these ports is no BFD."""
    with Harness() as harness:
        harness.ingest(*(sample(base, dst_port=port) for port in (3783, 3784, 3785, 3786)))
        harness.ingest(sample(dst_port=3784))
        assert (harness.stats["samples_excluded_bfd"], harness.stats["samples_cached"]) == (2, 3)


def test_own_export_traffic_is_excluded_by_its_exact_5_tuple():
    with Harness() as harness:
        harness.tick()
        (own,) = harness.exporter.endpoints()
        base = UDP_V4 | {"src_addr": own.source, "dst_addr": own.destination}
        exact = {"src_port": own.source_port, "dst_port": own.destination_port}
        harness.ingest(
            sample(base | exact),
            sample(base | exact | {"direction": 1}),
            sample(base | exact | {"src_port": own.source_port ^ 1}),
            sample(base | exact | {"ip_protocol": 6}),
            sample(base | exact | {"src_addr": "192.0.2.77"}),
        )
        assert (harness.stats["samples_excluded_own"], harness.stats["samples_cached"]) == (2, 3)
        assert ledger_sums(harness.stats)


def test_own_traffic_over_ipv6_is_excluded():
    with Cache(ExporterOptions()) as cache:
        cache.set_weight(0, Fraction(1), [MAIN])
        cache.set_endpoints([Endpoint("2001:db8::1", 1000, "2001:db8::2", 4739)])
        own = TCP_V6 | {"ip_protocol": 17, "dst_port": 4739}
        cache.ingest(batch([sample(own), sample(own, dst_addr="2001:db8::3")]), 2)
        assert cache.stats()["excluded_own"] == 1


def test_labelled_packets_are_keyed_by_layer_2():
    """OVS 2.5.0 has no MPLS fields: two labels would be two records that nobody can tell apart."""
    with Harness(cache_active_timeout=60) as harness:
        harness.tick()
        for ethertype in (0x8847, 0x8848):
            harness.ingest(
                sample(ethertype=ethertype, mpls_label=1),
                sample(ARP, ethertype=ethertype, dst_mac=TCP_V4["dst_mac"], mpls_label=2),
            )
        assert harness.stats["flows"] == 2
        harness.flush()
        assert all("ipVersion" not in record.values for record in harness.records)


def test_interfaces_may_have_points_of_their_own():
    points = ((9, 900), (3, 300), (70, 7))
    with Harness(obs_point_id=1, interface_obs_point_ids=points, cache_active_timeout=0) as harness:
        harness.tick()
        harness.ingest(*(sample(ifindex=ifindex) for ifindex in (3, 9, 70, 2, 71)))
        assert [r["observationPointId"] for r in harness.records] == [300, 900, 7, 1, 1]


def test_a_generation_without_weight_is_counted_and_not_guessed():
    with Harness() as harness:
        harness.ingest(sample(generation=7), sample())
        assert harness.stats["samples_lost_generation"] == 1
        assert harness.stats["flows"] == 1
        assert ledger_sums(harness.stats)


def test_weights_of_16_generations_are_known_at_once():
    with Harness() as harness:
        for generation in range(1, 17):
            harness.set_weight(generation, Fraction(1, generation))
        harness.ingest(*(sample(generation=generation) for generation in range(17)))
        assert harness.stats["samples_lost_generation"] == 1
        harness.flush()
        assert harness.records[0]["packetDeltaCount"] == sum(range(1, 17))


def test_flows_end_when_idle():
    with Harness(cache_idle_timeout=15) as harness:
        harness.tick()
        harness.ingest(sample())
        harness.tick(START + 10)
        harness.ingest(sample())
        harness.tick(START + 24.9, ticks=100)
        assert reasons(harness) == []
        harness.tick(START + 25.2, ticks=3)
        assert reasons(harness) == [IDLE]


def test_flows_end_when_active_too_long():
    with Harness(cache_active_timeout=60) as harness:
        harness.tick()
        for second in range(61):
            harness.tick(START + second)
            harness.ingest(sample())
        harness.tick(START + 60.2)
        assert reasons(harness) == [ACTIVE]


@pytest.mark.parametrize("flag", [FIN, RST])
def test_flows_end_a_linger_after_fin_or_rst(flag: int):
    """2 s without a packet: what comes in that time still belongs to the flow."""
    with Harness() as harness:
        harness.tick()
        harness.ingest(sample(tcp_flags=SYN), sample(tcp_flags=flag | ACK))
        harness.tick(START + 1)
        harness.ingest(sample(tcp_flags=ACK))
        harness.tick(START + 2.9, ticks=20)
        assert reasons(harness) == []
        harness.tick(START + 3.2, ticks=5)
        assert reasons(harness) == [DETECTED]
        assert harness.records[0]["packetDeltaCount"] == 3


def test_when_something_is_due():
    """Nothing without flows; then the flow that ends first, within the wheel's granularity; at once over the limit."""
    never, slot = 2**64 - 1, 2**26
    options = {"cache_idle_timeout": 10, "cache_active_timeout": 60}
    with Cache(ExporterOptions(**options)) as cache:
        cache.set_weight(0, Fraction(1), [MAIN])
        assert cache.due_ns() == never
        cache.expire(100 * 10**9, 1)
        cache.ingest(batch([sample(time=100 * 10**9), sample(src_port=1, time=103 * 10**9)]), 2)
        assert 110 * 10**9 - slot < cache.due_ns() <= 110 * 10**9
        assert cache.expire(cache.due_ns() + slot, 10) == 1
        assert 113 * 10**9 - slot < cache.due_ns() <= 113 * 10**9
        cache.set_options(ExporterOptions(**options, cache_max_flows=0))
        assert cache.due_ns() == 0
        assert cache.expire(104 * 10**9, 10) == 1
        assert cache.due_ns() == never


def test_what_is_unfinished_is_due_at_once():
    """Options data waits for its pace, so ticks must not be far apart; then nothing is due but flows."""
    with Harness(profile="full", cache_idle_timeout=10) as harness:
        exporter = harness.exporter
        exporter.set_interfaces([(number, f"eth{number}", "") for number in range(2000)])
        harness.tick()
        now = round(harness.now * 10**9)
        assert exporter.due_ns(now) == now
        harness.tick(START + 10, ticks=100)
        assert exporter.due_ns(round(harness.now * 10**9)) == 2**64 - 1
        harness.ingest(sample())
        assert harness.now * 10**9 < exporter.due_ns(round(harness.now * 10**9)) <= (harness.now + 10) * 10**9


def test_flows_end_by_force():
    with Harness() as harness:
        harness.tick()
        harness.ingest(*(sample(src_port=port) for port in range(3000)))
        harness.flush()
        assert reasons(harness) == [FORCED] * 3000
        assert harness.stats["flows"] == 0 and ledger_sums(harness.stats)


def test_a_full_cache_ends_the_oldest_flow():
    with Harness(cache_max_flows=3) as harness:
        harness.tick()
        harness.ingest(*(sample(src_port=port) for port in (1, 2, 3, 1, 4, 2, 5)))
        # 4 ends 1, the oldest by start although it was seen since; then 5 ends 2.
        assert [r["sourceTransportPort"] for r in harness.records] == [1, 2]
        assert reasons(harness) == [RESOURCES] * 2
        assert harness.stats["flows"] == 3


@pytest.mark.parametrize(("active", "flows", "reason"), [(0, 0, ACTIVE), (0, 100, ACTIVE), (60, 0, RESOURCES)])
def test_no_cache_means_a_record_for_each_sample(
    active: int, flows: int, reason: int, caplog: pytest.LogCaptureFixture
):
    """As OVS: reason 2 without an active timeout, 5 without room; the log says so."""
    with Harness(cache_active_timeout=active, cache_max_flows=flows) as harness:
        harness.tick()
        harness.ingest(sample(), sample(), sample())
        assert reasons(harness) == [reason] * 3
    assert "is 0: every sample is a record of its own" in caplog.text


def test_what_comes_before_the_first_tick_waits_for_it():
    with Harness(cache_active_timeout=0) as harness:
        harness.ingest(sample())
        assert harness.stats["samples_pending"] == 1
        harness.tick()
        harness.tick()
        assert len(harness.records) == 1


def test_colliding_hashes_do_not_merge_flows():
    """All flows in one bucket and with one hash: the key decides."""
    with Cache(ExporterOptions(cache_max_flows=500), seed=1) as cache:
        lib.cache_set_hash_mask(cache.handle, 0)
        cache.set_weight(0, Fraction(1), [MAIN])
        described = [sample(src_port=port) for port in range(300)]
        cache.ingest(batch(described + described), 600)
        assert (cache.stats()["flows"], cache.stats()["cached"]) == (300, 600)
        copied = cache.copy(1000)
        assert [flow.samples for flow in copied] == [2] * 300


def test_the_index_grows_with_the_flows():
    with Cache(ExporterOptions(cache_max_flows=50_000)) as cache:
        cache.set_weight(0, Fraction(1), [MAIN])
        array = batch([sample(UDP_V4)])
        many = ffi.new("struct sample[]", 20_000)
        for i, item in enumerate(many):
            ffi.memmove(ffi.addressof(item), array, ffi.sizeof("struct sample"))
            item.key.src_port = i
        cache.ingest(many, len(many))
        cache.ingest(many, len(many))
        assert (cache.stats()["flows"], cache.stats()["cached"]) == (20_000, 40_000)


def test_a_batch_shorter_than_said_is_refused():
    with Exporter(ExporterOptions()) as exporter, pytest.raises(ValueError, match="352 octets"):
        exporter.ingest(bytearray(319), 2)


class Model:
    """The cache as its rules say, one flow after the other, without wheel, index or slab."""

    def __init__(self, active: int, idle: int, limit: int) -> None:
        self.active, self.idle, self.limit = active, idle, limit
        self.flows: dict[int, list] = {}  # port → first, last, packets, ended; in order of creation
        self.ended: list[tuple[int, int, int]] = []

    def ingest(self, port: int, now: int, flags: int) -> None:
        flow = self.flows.setdefault(port, [now, now, 0, False])
        flow[1] = now
        flow[2] += 1
        flow[3] |= bool(flags & (FIN | RST))
        if len(self.flows) > self.limit:
            oldest = next(iter(self.flows))
            self.ended.append((oldest, self.flows.pop(oldest)[2], RESOURCES))

    def tick(self, now: int) -> None:
        for port, (first, last, packets, ended) in list(self.flows.items()):
            due = [(last + 2, 0, DETECTED)] if ended else []
            due += [(first + self.active, 1, ACTIVE)] + ([(last + self.idle, 2, IDLE)] if self.idle else [])
            when, _, reason = min(due)
            if when <= now:
                self.ended.append((port, packets, reason))
                del self.flows[port]


STEPS = st.lists(
    st.tuples(
        st.integers(0, 40), st.lists(st.tuples(st.integers(1, 6), st.sampled_from([0, ACK, FIN, RST])), max_size=6)
    ),
    max_size=25,
)


@given(steps=STEPS, active=st.integers(1, 120), idle=st.integers(0, 30), limit=st.integers(1, 5), lazy=st.booleans())
@settings(max_examples=300, deadline=None)
def test_flows_end_as_a_plain_model_says(steps: list, active: int, idle: int, limit: int, lazy: bool):
    """Expiry and eviction, against the model; ticks lie 0.2 s after the whole second, past the wheel's granularity.

    `lazy`: the cache is only asked when it says that something is due.
    """
    model = Model(active, idle, limit)
    second = 10**9
    with Cache(ExporterOptions(cache_active_timeout=active, cache_idle_timeout=idle, cache_max_flows=limit)) as cache:
        cache.set_weight(0, Fraction(1), [MAIN])
        now = 1000
        flows = ffi.new("struct flow *[]", 4096)
        ended = []
        for wait, samples in steps:
            for _ in range(wait):
                now += 1
                if not lazy or cache.due_ns() <= now * second + second // 5:
                    cache.expire(now * second + second // 5, 1000)
                model.tick(now)
            described = [sample(src_port=port, tcp_flags=flags, time=now * second) for port, flags in samples]
            cache.ingest(batch(described), len(described))
            for port, flags in samples:
                model.ingest(port, now, flags)
            count = cache.take(flows, 4096)
            ended += [
                (
                    int.from_bytes(ffi.buffer(ffi.addressof(flows[i].key, "src_port"))[:], "big"),
                    flows[i].packets,
                    flows[i].end_reason,
                )
                for i in range(count)
            ]
            cache.release(flows, count)
            assert sorted(ended) == sorted(model.ended)
            evicted = [item for item in ended if item[2] == RESOURCES]
            assert evicted == [item for item in model.ended if item[2] == RESOURCES]
            stats = cache.stats()
            assert stats["flows"] == len(model.flows)
            assert stats["ingested"] == stats["cached"] + stats["pending"] + stats["released"]
