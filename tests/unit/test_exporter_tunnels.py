"""Tunnel fields of records: Open vSwitch's six kinds to the octet, IPv6 underlays, the key as IANA elements."""

from typing import Any

import pytest

from exporter.snapshot import flow_row
from lib.golden import RECORD_MESSAGES, assert_same, message_of, sample_of
from lib.harness import GENEVE, GRE, OUTER_V6, STT, TCP_V4, TCP_V6, TUNNELS, UNTAGGED, VLAN, VXLAN, Harness
from lib.ipfix_oracle import OracleRecord
from lib.samples import batch, sample

GOLDEN = dict(RECORD_MESSAGES)
# Open vSwitch 2.5.0, tunnel_protocol[] and dpif_ipfix_add_tunnel_port() in ofproto-dpif-ipfix.c: tunnelType, octets of
# the key, protocol.
OVS_KINDS = {
    "vxlan": (1, 3, 17),
    "gre": (2, 4, 47),
    "lisp": (3, 3, 17),
    "stt": (4, 8, 6),
    "ipsec_gre": (5, 4, 47),
    "geneve": (7, 3, 17),
}
LISP = VXLAN | {"type": 3, "dst_port": 4341}
IPSEC_GRE = GRE | {"type": 5}


def export(values: dict[str, Any], profile: str = "full") -> OracleRecord:
    """The record of one sample."""
    with Harness(profile=profile, cache_active_timeout=0) as harness:
        harness.tick()
        harness.ingest(values)
        (record,) = harness.records
    return record


def test_the_golden_messages_have_tunnels():
    """test_exporter_golden.py holds each to the octet; here they are what other kinds are made from."""
    assert [label for label in GOLDEN if label.startswith("tun_")] == [
        "tun_in_vxlan",
        "tun_in_gre",
        "tun_in_stt",
        "tun_out_vxlan",
    ]


@pytest.mark.parametrize(("kind", "length", "protocol"), OVS_KINDS.values(), ids=OVS_KINDS)
def test_the_six_kinds_are_those_of_ovs_byte_for_byte(kind: int, length: int, protocol: int):
    """OVS's VXLAN message with the octets of another kind in their place. GRE and STT have golden ones too."""
    golden = GOLDEN["tun_in_vxlan"]
    values = sample_of(golden)
    key = STT["key"] % 256**length
    old, new = bytes([1, 3]) + values["tunnel"]["key"].to_bytes(3, "big"), bytes([kind, length]) + key.to_bytes(length)
    values["tunnel"] |= {"type": kind, "protocol": protocol, "key": key, "key_length": length}
    at = golden.index(old)  # behind protocol and ports
    made = bytearray(golden[:at] + new + golden[at + len(old) :])
    made[at - 5] = protocol
    for offset in (2, 18):  # of message and set
        made[offset : offset + 2] = (int.from_bytes(golden[offset : offset + 2], "big") + length - 3).to_bytes(2, "big")
    assert_same(message_of(batch([values])), bytes(made))


@pytest.mark.parametrize("base", [*UNTAGGED, *(base | VLAN for base in UNTAGGED)])
def test_ovs_leaves_out_a_tunnel_over_ipv6(base: dict):
    """It has no elements for the addresses: the flow goes out by the template that it has without a tunnel."""
    plain, tunnelled = (export(sample(base | extra), "ovs") for extra in ({}, {"tunnel": VXLAN | OUTER_V6}))
    assert tunnelled.template == plain.template
    assert tunnelled.octets == plain.octets


@pytest.mark.parametrize("base", [TCP_V4, TCP_V6])
@pytest.mark.parametrize("tunnel", [VXLAN, GRE, LISP, STT, IPSEC_GRE, GENEVE])
def test_an_ipv6_underlay_has_addresses_of_its_own(base: dict, tunnel: dict):
    """The flow's own addresses are the inner ones, once; the outer ones are under ntop's names."""
    record = export(sample(base, tunnel=tunnel | OUTER_V6))
    version = base["ip_version"]
    own = {name: value for name, value in record.values.items() if name.endswith(("IPv4Address", "IPv6Address"))}
    assert own == {
        f"sourceIPv{version}Address": base["src_addr"],
        f"destinationIPv{version}Address": base["dst_addr"],
    }
    assert record["UNTUNNELED_IPV6_SRC_ADDR"] == OUTER_V6["src_addr"]
    assert record["UNTUNNELED_IPV6_DST_ADDR"] == OUTER_V6["dst_addr"]
    assert record["tunnelProtocolIdentifier"] == tunnel["protocol"]
    assert (record["tunnelType"], record["tunnelKey"]) == (
        tunnel["type"],
        tunnel["key"].to_bytes(tunnel["key_length"], "big"),
    )
    ports = (record["tunnelSourceTransportPort"], record["tunnelDestinationTransportPort"])
    assert ports == (tunnel["src_port"], tunnel["dst_port"])


@pytest.mark.parametrize("outer", [{}, OUTER_V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("tunnel", "element", "value"),
    [
        (VXLAN, "layer2SegmentId", 0x01 << 56 | 0x123456),
        (VXLAN | {"key": 0}, "layer2SegmentId", 0x01 << 56),  # VNI 0 is one like others
        (VXLAN | {"key": 0xFFFFFF}, "layer2SegmentId", 0x01 << 56 | 0xFFFFFF),
        (GRE, "greKey", 0x12345678),
        (IPSEC_GRE, "greKey", 0x12345678),
        (GRE | {"key": 0}, None, None),  # or no key at all
        (GRE | {"key": 99, "key_length": 2}, None, None),  # ERSPAN's session
        (GENEVE, None, None),  # IANA has no encapsulation type for it
        (LISP, None, None),
        (STT, None, None),
    ],
)
def test_the_key_as_iana_elements_where_there_is_one(outer: dict, tunnel: dict, element: str | None, value: int | None):
    record = export(sample(tunnel=tunnel | outer))
    found = {name: record[name] for name in ("layer2SegmentId", "greKey") if name in record.values}
    assert found == ({element: value} if element else {})


def test_profile_ovs_has_no_elements_that_ovs_has_not():
    for tunnel in (VXLAN, GRE):
        assert not {"layer2SegmentId", "greKey"} & export(sample(tunnel=tunnel), "ovs").values.keys()


def test_tunnels_of_all_kinds_share_a_message():
    """Records of several templates and lengths, each read back whole."""
    with Harness(profile="full", message_size=9000) as harness:
        harness.tick()
        harness.ingest(*(sample(base, tunnel=tunnel) for tunnel in (*TUNNELS, STT, LISP) for base in (TCP_V4, TCP_V6)))
        harness.flush()
        assert len(harness.records) == 16
        assert len(harness.receiver.oracle.messages[-1].records) == 16
        assert {len(record["tunnelKey"]) for record in harness.records} == {3, 4, 8}


@pytest.mark.parametrize(
    ("tunnel", "columns"),
    [
        (VXLAN | {"key": 5000}, ("vxlan", 5000, "203.0.113.1", "203.0.113.2")),
        (IPSEC_GRE | OUTER_V6, ("ipsec_gre", 0x12345678, "2001:db8:ff::1", "2001:db8:ff::2")),
    ],
)
def test_a_living_flow_shows_its_tunnel(tunnel: dict, columns: tuple):
    names = ("tunnel", "tunnel_key", "tunnel_source", "tunnel_destination")
    with Harness() as harness:
        harness.ingest(sample(), sample(tunnel=tunnel))
        now = round(harness.now * 10**9)
        plain, tunnelled = (flow_row(flow, now) for flow in harness.exporter.copy_flows(10))
    assert not set(names) & plain.keys()
    assert tuple(tunnelled[name] for name in names) == columns
    assert (tunnelled["source"], tunnelled["destination"]) == ("192.0.2.1", "198.51.100.2")
