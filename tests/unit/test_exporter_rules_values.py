"""Values and times: what RFC 7011 sections 5 to 7 and RFC 7012 ask of the octets of a field, rule by rule."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.profiles import FULL, OVS
from exporter.template import field
from lib.harness import ICMP_V6, START, TCP_V4, TCP_V6, VLAN, VXLAN, Harness
from lib.samples import sample

NO_CACHE = {"cache_active_timeout": 0, "profile": "full"}


def export(described: dict, **options) -> dict:
    """Send one sample through an exporter without cache; the values of its record."""
    with Harness(**NO_CACHE | options) as harness:
        harness.tick()
        harness.ingest(described)
        (record,) = harness.records
        return record.values


def test_e030_numbers_and_addresses_keep_network_byte_order():
    """RFC 7011 6.1.1, 6.1.2."""
    values = export(sample(TCP_V6 | VLAN, frame_octets=0x01020304, tcp_flags=0x12))
    assert values["sourceIPv6Address"] == "2001:db8::1"
    assert values["sourceMacAddress"] == "00:00:5e:00:53:01"
    assert values["layer2OctetDeltaCount"] == 0x01020304
    assert (values["flowLabelIPv6"], values["sourceTransportPort"]) == (0x12345, 1000)
    assert (values["vlanId"], values["dot1qVlanId"], values["dot1qPriority"]) == (100, 100, 5)


def test_e031_e032_e034_no_boolean_string_or_fraction_of_seconds_is_exported():
    """RFC 7011 6.1.5, 6.1.6, 6.1.9: no template has a field of these types, so their rules cannot be broken."""
    types = {f.element.type for profile in (OVS, FULL) for t in profile.templates for f in t.fields}
    assert types == {
        "unsigned8",
        "unsigned16",
        "unsigned32",
        "unsigned64",
        "macAddress",
        "ipv4Address",
        "ipv6Address",
        "octetArray",
        "dateTimeMilliseconds",
    }


def test_e033_milliseconds_count_from_1970():
    """RFC 7011 6.1.8."""
    with Harness(**NO_CACHE) as harness:
        harness.wall = 1_450_000_000 - START
        harness.tick()
        harness.ingest(sample(time=round((START - 0.5) * 10**9)))
        assert harness.records[0]["flowStartMilliseconds"] == 1_449_999_999_500


def test_e035_only_integers_are_sent_in_fewer_octets():
    """RFC 7011 6.2: a layout that shortens an address is refused."""
    assert field("observationPointId", 4).length == 4
    for name, length in (("sourceIPv4Address", 2), ("packetDeltaCount", 9), ("flowStartMilliseconds", 4)):
        with pytest.raises(ValueError, match=name):
            field(name, length)


@pytest.mark.parametrize("length", [3, 4, 8])
def test_e036_the_tunnel_key_says_its_length(length: int):
    """RFC 7011 7: one length octet below 255, not counted itself; the key's low octets in network order."""
    tunnel = VXLAN | {"key": 0x0102030405060708, "key_length": length}
    key = export(sample(tunnel=tunnel))["tunnelKey"]
    assert key == bytes(range(9 - length, 9))


@given(tos=st.integers(0, 255), tci=st.integers(0, 65535))
@settings(max_examples=40, deadline=None)
def test_e037_values_stay_in_their_range(tos: int, tci: int):
    """RFC 7012 2.1: DSCP 0..63, precedence 0..7, VLAN id 0..4095, priority 0..7, from any header octets."""
    values = export(sample(TCP_V4 | {"vlan_count": 1, "vlan_tci": [tci, 0], "ip_tos": tos}))
    assert (values["ipDiffServCodePoint"], values["ipPrecedence"]) == (tos >> 2, tos >> 5)
    assert values["ipClassOfService"] == tos
    assert (values["vlanId"], values["dot1qPriority"]) == (tci & 0xFFF, tci >> 13)


def test_e038_delta_counters_start_from_0_in_each_record():
    """RFC 7012 3.2: two records of one flow, each with what came since the other."""
    with Harness(cache_active_timeout=10, cache_idle_timeout=0) as harness:
        harness.tick()
        harness.ingest(sample(), sample(), sample())
        harness.tick(START + 11)
        harness.ingest(sample())
        harness.tick(START + 30)
        assert [record["packetDeltaCount"] for record in harness.records] == [3, 1]
        assert [record["flowEndReason"] for record in harness.records] == [2, 2]


@given(age=st.integers(-(10**13), 10**13), span=st.integers(0, 10**13))
@settings(max_examples=60, deadline=None)
def test_e040_e044_times_stay_in_range_and_order(age: int, span: int):
    """RFC 7011 5.1: deltas fit 32 bits, start <= end <= Export Time, whatever the clock did."""
    with Harness(profile="full", cache_idle_timeout=0) as harness:
        harness.now = 20_000.0
        harness.tick()
        first = max(0, 20_000 * 10**9 - abs(age))
        harness.ingest(sample(time=first), sample(time=first + span))
        harness.wall += age / 10**9  # the clock is stepped while the flow lives
        harness.tick()
        harness.flush()
        (record,) = harness.records
        start, end = record["flowStartDeltaMicroseconds"], record["flowEndDeltaMicroseconds"]
        assert 0 <= end <= start <= 2**32 - 1
        milliseconds = record["flowStartMilliseconds"], record["flowEndMilliseconds"]
        assert milliseconds[0] <= milliseconds[1] <= record.export_time * 1000


def test_e041_a_packet_of_the_export_second_is_not_after_it():
    """RFC 7011 5.1: Export Time has whole seconds; rounded up, a packet at .998 exported at .999 is 2 ms before it."""
    with Harness(**NO_CACHE) as harness:
        harness.wall = 1_450_000_000.0
        harness.tick(START + 0.999)
        harness.ingest(sample(time=round((START + 0.998) * 10**9)))
        (record,) = harness.records
        assert record.export_time == 1_450_000_000 + START + 1
        assert record["flowStartDeltaMicroseconds"] == 2000


def test_e042_a_flow_older_than_a_delta_can_say_does_not_wrap():
    """RFC 7011 5.1: past 4294.97 s the delta stays at its end; the absolute times of profile full still tell."""
    with Harness(profile="full", cache_active_timeout=4200, cache_idle_timeout=0) as harness:
        harness.tick()
        harness.ingest(sample())
        harness.tick(START + 5000)
        (record,) = harness.records
        assert record["flowStartDeltaMicroseconds"] == 2**32 - 1
        assert record["flowStartMilliseconds"] == round((harness.wall + START) * 1000)


def test_e043_a_clock_step_does_not_move_a_flow_that_lives():
    """RFC 5153 4.5: monotonic time becomes wall time by the offset of the flow's start."""
    with Harness(profile="full", cache_active_timeout=10, cache_idle_timeout=0) as harness:
        harness.tick()
        harness.ingest(sample())
        began = round((harness.wall + START) * 1000)
        harness.wall += 3600
        harness.tick(START + 1)
        harness.ingest(sample(time=round((START + 1) * 10**9)))
        harness.tick(START + 11)
        (record,) = harness.records
        assert record["flowStartMilliseconds"] == began
        assert record["flowEndMilliseconds"] == began + 1000


def test_icmp_has_type_and_code():
    values = export(sample(ICMP_V6))
    assert (values["icmpTypeIPv6"], values["icmpCodeIPv6"]) == (128, 0)


@pytest.mark.parametrize("direction", [0, 1])
def test_the_interface_stands_on_the_side_that_saw_the_packet(direction: int):
    values = export(sample(direction=direction, ifindex=9))
    assert (values["ingressInterface"], values["egressInterface"]) == ((9, 0), (0, 9))[direction]


def test_lengths_past_16_bits_are_counted_whole():
    """OVS 2.5.0 counted a packet of 70 000 octets as 4464."""
    values = export(sample(frame_octets=70_000, ip_octets=69_986, ip_length=69_986))
    assert values["layer2OctetDeltaCount"] == 70_000
    assert values["octetDeltaSumOfSquares"] == 69_986**2


def test_an_ip_record_is_whole_when_its_sums_are_zero():
    """OVS 2.5.0 left 32 octets out of a record whose sum of squares was 0; the oracle refuses such a record."""
    assert export(sample(ip_octets=0, ip_length=0))["octetDeltaSumOfSquares"] == 0


def test_counts_are_scaled_by_the_exact_weight():
    with Harness(**NO_CACHE) as harness:
        harness.set_weight(1, Fraction(1, 65536))
        harness.tick()
        harness.ingest(sample(generation=1))
        assert harness.records[0]["packetDeltaCount"] == 65536  # OVS said 65537
