"""What an observed XDP program decided on packets, in the records of their flows."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter._native import lib
from exporter.losses import Reader
from exporter.profiles import kinds, profile
from exporter.snapshot import flow_row
from lib.harness import ARP, START, TCP_V6, UDP_V4, VXLAN, Harness
from lib.ipfix_oracle import OracleRecord
from lib.samples import sample

ABORTED, DROP, PASS, TX, REDIRECT = (
    getattr(lib, f"VERDICT_{name}") for name in ("ABORTED", "DROP", "PASS", "TX", "REDIRECT")
)
UNKNOWN = 99  # no program can decide so
FORWARDED, FORWARDED_WHOLE, DROPPED = 64, 66, 128
NAMES = ("forwardingStatus", "droppedPacketDeltaCount", "droppedOctetDeltaCount")


def export(*samples: dict, **options) -> list[OracleRecord]:
    """The records of these samples."""
    with Harness(profile="full", **options) as harness:
        harness.tick()
        harness.ingest(*samples)
        harness.flush()
        return harness.records


def told(record: OracleRecord) -> list[object]:
    """Status, dropped packets and dropped octets; None where the record does not say."""
    return [record.values.get(name) for name in NAMES]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((PASS,), [FORWARDED, 0, 0]),
        ((TX,), [FORWARDED_WHOLE, 0, 0]),
        ((REDIRECT,), [FORWARDED_WHOLE, 0, 0]),
        ((DROP,), [DROPPED, 1, 40]),
        ((ABORTED, DROP), [DROPPED, 2, 80]),
        ((DROP, PASS, DROP), [FORWARDED, 2, 80]),
        ((PASS, TX, DROP), [FORWARDED_WHOLE, 1, 40]),
        ((REDIRECT, PASS), [FORWARDED, 0, 0]),
        ((UNKNOWN,), [0, 0, 0]),
        ((DROP, UNKNOWN), [0, 1, 40]),
        ((DROP, UNKNOWN, PASS), [FORWARDED, 1, 40]),
    ],
)
@pytest.mark.parametrize("base", [UDP_V4, TCP_V6, TCP_V6 | {"tunnel": VXLAN}], ids=["udp", "tcp", "tunnel"])
def test_a_flow_is_dropped_if_all_its_packets_were(base: dict, verdicts: tuple[int, ...], expected: list[int]) -> None:
    """It is one flow, whatever was decided on each packet; the status is that of the last that was not dropped."""
    (record,) = export(*(sample(base, verdict=verdict) for verdict in verdicts))
    assert told(record) == expected
    assert record["packetDeltaCount"] == len(verdicts)


def test_a_flow_without_verdict_has_no_such_fields_and_is_no_larger() -> None:
    """Nor does one of profile "ovs", whose templates are Open vSwitch's."""
    (record,) = export(sample())
    assert (told(record), record.template.id) == ([None] * 3, 1024 + (1 * 4 + 3) * 7)
    (decided,) = export(sample(verdict=DROP))
    assert decided.template.id == record.template.id + 504
    assert decided.octets[: -(1 + 8 + 8)] == record.octets
    with Harness(profile="ovs") as harness:
        harness.tick()
        harness.ingest(sample(), sample(verdict=DROP))
        harness.flush()
        (ovs,) = harness.records
    assert (told(ovs), ovs.template.id, ovs["packetDeltaCount"]) == ([None] * 3, 264, 2)


def test_what_is_not_ip_has_no_octets_of_ip() -> None:
    (record,) = export(sample(ARP, verdict=DROP))
    assert told(record) == [DROPPED, 1, None]


def test_packets_of_one_key_with_and_without_verdict_are_two_flows() -> None:
    """So it is when the hook of an interface changes while a flow lives."""
    without, decided = sorted(export(sample(), sample(verdict=DROP), sample()), key=lambda record: record.template.id)
    assert (without["packetDeltaCount"], decided["packetDeltaCount"]) == (2, 1)
    assert (told(without), told(decided)) == ([None] * 3, [DROPPED, 1, 40])


def test_what_is_dropped_of_a_super_packet_is_all_of_it() -> None:
    (record,) = export(sample(verdict=DROP, packets=3, ip_octets=120), sample(verdict=TX))
    assert (told(record), record["packetDeltaCount"]) == ([FORWARDED_WHOLE, 3, 120], 4)


def test_each_record_of_a_flow_begins_anew() -> None:
    with Harness(profile="full", cache_active_timeout=10, cache_idle_timeout=0) as harness:
        harness.tick()
        harness.ingest(sample(verdict=PASS), sample(verdict=DROP))
        harness.tick(START + 11)
        harness.ingest(sample(verdict=DROP))
        harness.tick(START + 30)
        assert [told(record) for record in harness.records] == [[FORWARDED, 1, 40], [DROPPED, 1, 40]]


def test_without_a_cache_every_packet_says_what_became_of_it() -> None:
    verdicts = (PASS, DROP, TX, ABORTED)
    records = export(*(sample(verdict=verdict) for verdict in verdicts), cache_active_timeout=0)
    assert [record["forwardingStatus"] for record in records] == [FORWARDED, DROPPED, FORWARDED_WHOLE, DROPPED]


def test_counters_stay_at_their_end() -> None:
    with Harness(profile="full") as harness:
        harness.set_weight(1, Fraction(1, 2**32 - 1))
        harness.tick()
        octets = {"ip_octets": 2**32 - 1, "ip_length": 2**32 - 1}
        harness.ingest(*(sample(generation=1, verdict=DROP, **octets) for _ in range(3)))
        harness.flush()
        (record,) = harness.records
    assert told(record) == [DROPPED, 3 * (2**32 - 1), 2**64 - 1]
    assert record["octetDeltaCount"] == 2**64 - 1


SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 3),  # generation
        st.integers(0, 3),  # flow
        st.sampled_from([ABORTED, DROP, PASS, TX, REDIRECT]),
        st.integers(1, 60),  # wire packets
        st.integers(20, 9000),  # IP length of each
        st.booleans(),  # end everything behind it
    ),
    min_size=1,
    max_size=40,
)
PROBABILITIES = st.lists(
    st.fractions(min_value=Fraction(1, 5000), max_value=1, max_denominator=100_000), min_size=4, max_size=4
)


@given(samples=SAMPLES, probabilities=PROBABILITIES)
@settings(max_examples=40, deadline=None)
def test_totals_are_right_to_one_unit_and_each_record_fits_itself(samples: list, probabilities: list[Fraction]) -> None:
    """Of what was dropped and of what was not: sums of records are less than 1 below the exact sums.

    Beside that one unit stands the rounding of weights to 32 fraction bits. No record has more dropped than there was,
    and what is called dropped is so as a whole.
    """
    exact = {(name, gone): Fraction(0) for name in ("Packet", "Octet") for gone in (True, False)}
    rounding = dict.fromkeys(exact, Fraction(0))
    with Harness(profile="full") as harness:
        for generation, probability in enumerate(probabilities):
            harness.set_weight(generation, probability)
        harness.tick()
        for generation, port, verdict, packets, length, ends in samples:
            size = {"packets": packets, "ip_length": length, "ip_octets": packets * length}
            harness.ingest(sample(UDP_V4, src_port=port, generation=generation, verdict=verdict, **size))
            weight = 1 / (1 - (1 - probabilities[generation]) ** packets)
            for name, amount in (("Packet", packets), ("Octet", packets * length)):
                exact[name, verdict in (DROP, ABORTED)] += weight * amount
                rounding[name, verdict in (DROP, ABORTED)] += Fraction(amount, 2**33)
            if ends:
                harness.flush()
        harness.flush()
        for (name, gone), expected in exact.items():
            dropped = sum(record[f"dropped{name}DeltaCount"] for record in harness.records)
            total = sum(record[f"{name.lower()}DeltaCount"] for record in harness.records)
            found = dropped if gone else total - dropped
            assert -1 - rounding[name, gone] < found - expected <= rounding[name, gone]
        for record in harness.records:
            for name in ("Packet", "Octet"):
                dropped, total = record[f"dropped{name}DeltaCount"], record[f"{name.lower()}DeltaCount"]
                assert dropped == total if record["forwardingStatus"] == DROPPED else dropped <= total


def test_fractions_go_to_flows_of_their_own_fate() -> None:
    """What was cut from a dropped flow does not make a flow that passed seem to have dropped packets."""
    with Harness(profile="full", cache_active_timeout=0) as harness:
        harness.set_weight(1, Fraction(2, 3))
        harness.tick()
        verdicts = (DROP, PASS, DROP, PASS, DROP, DROP)
        harness.ingest(*(sample(generation=1, verdict=verdict) for verdict in verdicts))
        counts = [(record["packetDeltaCount"], record["droppedPacketDeltaCount"]) for record in harness.records]
    assert counts == [(1, 1), (1, 0), (2, 2), (2, 0), (1, 1), (2, 2)]


def test_every_kind_of_flow_has_a_template_with_the_fields() -> None:
    """At the end of what the same kind has without a verdict, so that no field changes its place."""
    full, half = profile("full"), len(kinds()) // 2
    for index, kind in enumerate(kinds()[half:]):
        without, decided = (full.templates[full.by_kind[place]] for place in (index, half + index))
        added = [item.element.name for item in decided.fields[len(without.fields) :]]
        assert decided.fields[: len(without.fields)] == without.fields
        assert added == list(NAMES[: 2 if kind.l3 == "none" else 3])
        assert decided.id == without.id + half


def test_a_lost_message_is_read_back_with_its_counts() -> None:
    """Template 515 counts packets and octets of what was not sent; the fields behind them are no hindrance."""
    with Harness(profile="full") as harness:
        harness.tick()
        harness.ingest(sample(verdict=DROP), sample(UDP_V4, verdict=TX, packets=2, ip_octets=80), sample(ARP))
        harness.flush()
        reader = Reader(profile("full").templates)
        contents = [reader.read(octets) for octets in harness.receiver.datagrams]
    assert [sum(getattr(item, name) for item in contents) for name in ("flows", "packets", "octets")] == [3, 4, 174]


def test_a_living_flow_shows_it() -> None:
    with Harness(profile="full") as harness:
        harness.ingest(sample(verdict=DROP), sample(verdict=TX), sample(UDP_V4, verdict=UNKNOWN), sample(ARP))
        rows = [flow_row(flow, round(harness.now * 10**9)) for flow in harness.exporter.copy_flows(10)]
    assert [(row.get("verdict"), row.get("dropped_packets")) for row in rows] == [("tx", 1), ("99", 0), (None, None)]
