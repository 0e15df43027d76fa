"""Profile "full": the value of every element that it adds, what is in the key and what is not, whose ids are whose."""

import hashlib
from dataclasses import replace
from fractions import Fraction

import pytest

from exporter.cache import Cache
from exporter.options import ExporterOptions
from exporter.profiles import kinds, profile
from exporter.snapshot import flow_row
from lib.harness import ARP, ICMP_V6, START, TCP_V4, TCP_V6, UDP_V4, VLAN, VXLAN, Harness
from lib.ipfix_oracle import OracleRecord
from lib.samples import sample

FIN, SYN, RST, PSH, ACK, URG = (1 << bit for bit in range(6))
QINQ = {"vlan_count": 2, "vlan_tci": [5 << 13 | 100, 3 << 13 | 4000], "ethernet_header_length": 22}
COUNTS = tuple(f"tcp{flag}TotalCount" for flag in ("Fin", "Syn", "Rst", "Psh", "Ack", "Urg"))

# IPv4 and TCP in a labelled frame with two tags, of two samples, written down by hand. Sent at 1 700 001 000 s.
GOLDEN = """
    0000000a 00 00005e005301 00005e005302 8847 16
    00000002 00000007
    0064 0064 05 0fa0 03
    12345b
    04 3e 40 06 2e 05 b8 60
    c0000201 c6336402 03e8 0050 1b
    000f4240 0007a120
    0000018bcff4a658 0000018bcff4a84c
    0000000000000003 00000000000000ac 04
    0000000000000078 00000000000012c0 00000028 00000028
    00000003 00000001 00000001 00000000 00000001 00000000
"""


def export(*samples: dict, **options) -> list[OracleRecord]:
    """The records of these samples, in the order of the first ones of their flows."""
    with Harness(profile="full", **options) as harness:
        harness.tick()
        harness.ingest(*samples)
        harness.flush()
        return harness.records


def test_a_record_is_what_was_written_down_by_hand():
    now = round(START * 10**9)
    base = TCP_V4 | QINQ | {"ethertype": 0x8847, "egress_ifindex": 7}
    first = sample(
        base,
        time=now - 10**9,
        frame_octets=57,
        mpls_label=0x12345B40,
        ip_ttl=64,
        tcp_flags=SYN | ACK,
        fragment=0x40,
    )
    # A super-packet of two, with less TTL in both headers, and more to come.
    second = sample(
        base,
        time=now - 5 * 10**8,
        frame_octets=115,
        mpls_label=0x12345B01,
        ip_ttl=62,
        tcp_flags=ACK | PSH | FIN,
        fragment=0x21,
        packets=2,
        ip_octets=80,
    )
    (record,) = export(first, second, obs_point_id=10)
    assert record.octets.hex(" ") == bytes.fromhex(GOLDEN).hex(" ")
    assert record.template.id == 1024 + ((((1 * 3 + 2) * 3 + 1) * 4 + 3) * 7)


def test_the_ttl_is_no_key_and_has_two_ends():
    (record,) = export(*(sample(ip_ttl=ttl) for ttl in (64, 63, 255, 1, 64)))
    assert (record["minimumTTL"], record["maximumTTL"], record["packetDeltaCount"]) == (1, 255, 5)


def test_profile_ovs_keeps_the_ttl_in_its_key():
    with Harness(profile="ovs") as harness:
        harness.tick()
        harness.ingest(sample(ip_ttl=64), sample(ip_ttl=63))
        harness.flush()
        assert sorted(record["ipTTL"] for record in harness.records) == [63, 64]


def test_the_label_is_a_key_with_its_class_and_without_its_ttl():
    labels = (0x0001_0140, 0x0001_013F, 0x0001_0340, 0x0001_0040, 0x0002_0140)  # TTL, EXP, bottom of stack, label
    records = export(*(sample(ethertype=0x8847, mpls_label=label) for label in labels))
    sections = {record["mplsTopLabelStackSection"].hex(): record["packetDeltaCount"] for record in records}
    assert sections == {"000101": 2, "000103": 1, "000100": 1, "000201": 1}
    assert {record["sourceIPv4Address"] for record in records} == {"192.0.2.1"}


def test_what_a_label_hides_is_told_by_layer_2():
    (record,) = export(sample(ARP, ethertype=0x8848, mpls_label=0x00100140))
    assert record["mplsTopLabelStackSection"] == bytes.fromhex("001001")
    assert "ipVersion" not in record.values


@pytest.mark.parametrize(("direction", "side", "other"), [(0, "ingress", "egress"), (1, "egress", "ingress")])
def test_the_other_interface_is_the_last_that_was_known(direction: int, side: str, other: str):
    """Where it goes is no part of the key: a route may change while the flow lives."""
    ways = ({}, {f"{other}_ifindex": 8}, {f"{other}_ifindex": 9}, {})
    samples = [sample(ifindex=3, direction=direction, **{f"{side}_ifindex": 3} | way) for way in ways]
    (record,) = export(*samples)
    assert (record[f"{side}Interface"], record[f"{other}Interface"]) == (3, 9)
    (unknown,) = export(samples[0])
    assert (unknown[f"{side}Interface"], unknown[f"{other}Interface"]) == (3, 0)


def test_both_tags_have_priorities():
    one, two = export(sample(UDP_V4 | VLAN), sample(UDP_V4 | QINQ))
    names = ("vlanId", "dot1qVlanId", "dot1qPriority", "dot1qCustomerVlanId", "dot1qCustomerPriority")
    assert [one.values.get(name) for name in names] == [100, 100, 5, None, None]
    assert [two.values.get(name) for name in names] == [100, 100, 5, 4000, 3]


def test_fragment_flags_are_those_of_any_packet():
    records = export(sample(fragment=0), sample(fragment=0x40), sample(TCP_V6, fragment=3), sample(fragment=0x21))
    assert {r["ipVersion"]: r["fragmentFlags"] for r in records} == {4: 0x60, 6: 0}


def test_icmp_has_type_and_code_in_one():
    (record,) = export(sample(ICMP_V6, src_port=129, dst_port=7))
    assert (record["icmpTypeIPv6"], record["icmpCodeIPv6"], record["icmpTypeCodeIPv6"]) == (129, 7, 129 << 8 | 7)


@pytest.mark.parametrize("tunnel", [{}, {"tunnel": VXLAN}], ids=["plain", "tunnelled"])
@pytest.mark.parametrize("base", [TCP_V4, TCP_V6])
def test_flags_are_counted_one_by_one(base: dict, tunnel: dict):
    flags = (SYN, SYN | ACK, ACK, ACK | PSH, ACK | URG, ACK | FIN, RST, 0)
    (record,) = export(*(sample(base, tcp_flags=value, **tunnel) for value in flags))
    assert [record[name] for name in COUNTS] == [1, 2, 1, 1, 5, 1]
    assert record["tcpControlBits"] == 0x3F


def test_flags_are_counted_for_this_flow_and_this_record():
    """Open vSwitch counts those of the whole exporter. Each record begins at 0, as a flow of its own."""
    with Harness(profile="full", cache_active_timeout=10, cache_idle_timeout=0) as harness:
        harness.tick()
        harness.ingest(*(sample(src_port=port, tcp_flags=SYN) for port in (1, 1, 2)))
        harness.tick(START + 11)
        harness.ingest(sample(src_port=1, tcp_flags=ACK))
        harness.tick(START + 30)
        counts = [(r["sourceTransportPort"], r["tcpSynTotalCount"], r["tcpAckTotalCount"]) for r in harness.records]
        assert sorted(counts) == [(1, 0, 1), (1, 2, 0), (2, 1, 0)]


def test_flags_are_scaled_and_their_fractions_carried():
    with Harness(profile="full", cache_active_timeout=0) as harness:
        harness.set_weight(1, Fraction(2, 3))
        harness.tick()
        harness.ingest(*(sample(generation=1, tcp_flags=ACK) for _ in range(4)))
        assert [record["tcpAckTotalCount"] for record in harness.records] == [1, 2, 1, 2]


def test_flags_of_a_super_packet_are_those_of_its_segments():
    """FIN and PSH are the last one's, as the kernel cuts it; the others are on all."""
    with Harness(profile="full") as harness:
        harness.set_weight(1, Fraction(1, 3))
        harness.tick()
        octets = {"packets": 4, "ip_octets": 160}
        harness.ingest(sample(tcp_flags=ACK | PSH | FIN | URG, **octets), sample(tcp_flags=ACK, generation=1, **octets))
        harness.flush()
        (record,) = harness.records
        weight = 1 / (1 - Fraction(2, 3) ** 4)
        assert [record[name] for name in COUNTS] == [1, 0, 0, 1, 4 + int(4 * weight), 4]


def test_flag_counts_stop_at_what_four_octets_hold():
    with Harness(profile="full") as harness:
        harness.set_weight(1, Fraction(1, 2**32 - 1))
        harness.tick()
        harness.ingest(sample(generation=1, tcp_flags=ACK), sample(generation=1, tcp_flags=ACK))
        harness.flush()
        assert harness.records[0]["tcpAckTotalCount"] == 2**32 - 1


def test_lengths_take_4_octets_and_counters_8():
    (record,) = export(sample())
    octets = {number: length for _, number, length in record.template.fields}
    assert [octets[number] for number in (25, 26, 222)] == [4, 4, 4]
    assert [octets[number] for number in (1, 2, 198, 352)] == [8, 8, 8, 8]


def test_virtual_obs_id_changes_with_the_options():
    """Flows of before go out as they were; a template of another layout has another id, and none is used for two."""
    with Harness(profile="full") as harness:
        harness.tick()
        for value in ("", "a", "b", ""):
            harness.exporter.reconfigure(replace(harness.options, virtual_obs_id=value), round(harness.now * 10**9))
            harness.ingest(sample())
        harness.flush()
        assert [record.values.get("virtualObsID") for record in harness.records] == [None, "a", "b", None]
        assert [record.template.id // 1024 for record in harness.records] == [1, 2, 2, 1]


@pytest.mark.parametrize("name", ["ovs", "full"])
@pytest.mark.parametrize("value", ["a", "router-7/äöü", "x" * 254])
def test_virtual_obs_id_stands_behind_the_tunnel(name: str, value: str):
    with Harness(profile=name, virtual_obs_id=value, message_size=512) as harness:
        harness.tick()
        harness.ingest(sample(ARP), sample(TCP_V6 | QINQ, tunnel=VXLAN, ethertype=0x86DD))
        harness.flush()
        assert [record["virtualObsID"] for record in harness.records] == [value, value]
        tunnelled = harness.records[-1]
        before = "layer2SegmentId" if name == "full" else "tunnelKey"
        at = tunnelled.order.index("virtualObsID")
        assert tunnelled.order[at - 1 : at + 2] == [before, "virtualObsID", "flowStartDeltaMicroseconds"]


def test_a_template_id_is_one_layout_in_all_profiles():
    layouts: dict[int, tuple] = {}
    for name in ("ovs", "full"):
        for virtual in (False, True):
            for template in profile(name, virtual).templates:
                assert template.id not in layouts
                assert template.id not in range(512, 1024), "those of options"
                layouts[template.id] = template.fields
    assert len(layouts) == 2 * (28 + 756)


# Of the templates in their order, as released: none may ever change, for collectors remember them by their ids.
RELEASED = {
    ("ovs", range(256, 292)): "5492ebed87cc2832c6e43c2369232f01",
    ("ovs", range(3072, 3108)): "3e2afe0447f50891efffb145b9f680ad",
    ("full", range(1024, 1528)): "4fc255c92ffdc6e881ce7f1bd4cac033",
    ("full", range(1528, 2032)): "86acaf04ae6b78ae3c57b4b2c2a3bf95",
    ("full", range(2048, 2552)): "d8a91a6bf6e344c18402d79d9d8ab487",
    ("full", range(2552, 3056)): "fc83c1c71e1dab7240d14353d113aaff",
}


def test_layouts_stay_what_they_are():
    seen = 0
    for (name, numbers), digest in RELEASED.items():
        both = (*profile(name).templates, *profile(name, True).templates)
        templates = sorted((t for t in both if t.id in numbers), key=lambda template: template.id)
        octets = b"".join(template.encode() for template in templates)
        assert hashlib.sha256(octets).hexdigest()[:32] == digest, (name, numbers)
        seen += len(templates)
    assert seen == 2 * (28 + 756)


def test_template_ids_stay_what_they_are():
    """By the kind alone, so the same from run to run: the formula of docs/ipfix.md."""
    for virtual, first in ((False, 1024), (True, 2048)):
        full = profile("full", virtual)
        for index, kind in enumerate(kinds()):
            l4 = ("other", "ports", "icmp", "tcp").index(kind.l4) if kind.l3 != "none" else 0
            tunnel = (
                0 if kind.outer == "none" else 1 + (kind.outer == "ipv6") * 3 + ("other", "vni", "gre").index(kind.key)
            )
            l3 = ("none", "ipv4", "ipv6").index(kind.l3)
            number = first + ((((kind.verdict * 2 + kind.mpls) * 3 + kind.tags) * 3 + l3) * 4 + l4) * 7 + tunnel
            assert full.templates[full.by_kind[index]].id == number


def test_the_encoder_tells_which_templates_a_batch_used():
    with Harness(profile="full", cache_active_timeout=0, obs_domain_id=5) as harness:
        harness.tick()
        harness.ingest(sample(), sample(UDP_V4), sample(UDP_V4), sample(UDP_V4 | VLAN))
        assert harness.exporter.exporting._encoder.used == {5: {record.template.id for record in harness.records}}
        harness.ingest(sample())
        assert harness.exporter.exporting._encoder.used == {5: {harness.records[-1].template.id}}


def test_another_profile_needs_an_empty_cache():
    full, ovs = (ExporterOptions(profile=name) for name in ("full", "ovs"))
    with Harness(profile="full") as harness:
        cache: Cache = harness.exporter.cache
        harness.ingest(sample())
        with pytest.raises(OSError, match="refuses"):
            cache.set_options(ovs)
        cache.set_options(full)
        harness.tick()
        harness.flush()
        cache.set_options(ovs)
        harness.ingest(sample(ip_ttl=1), sample(ip_ttl=2))
        assert harness.stats["flows"] == 2


def test_a_living_flow_shows_what_is_new():
    with Harness(profile="full") as harness:
        base = TCP_V4 | QINQ | {"ethertype": 0x8847, "egress_ifindex": 9}
        harness.ingest(
            sample(base, mpls_label=77 << 12 | 0x140, ip_ttl=64), sample(base, mpls_label=77 << 12 | 0x120, ip_ttl=60)
        )
        harness.ingest(sample(ARP))
        now = round(harness.now * 10**9)
        labelled, plain = (flow_row(flow, now) for flow in harness.exporter.copy_flows(10))
    assert (labelled["vlan"], labelled["mpls"], labelled["ttl"], labelled["other_interface"]) == (
        *([100, 4000], 77),
        *("60-64", 9),
    )
    assert (plain["mpls"], plain["ttl"], plain["other_interface"]) == (None, None, None)
