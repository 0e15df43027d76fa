"""Random flows through the whole exporter, against the oracle: every value that went in comes out, in sequence."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.harness import START, UNTAGGED, VLAN, Harness
from lib.ipfix_oracle import OracleRecord
from lib.samples import sample

ADDRESSES_V4 = st.ip_addresses(v=4).map(str)
ADDRESSES_V6 = st.ip_addresses(v=6).map(str)
UINT16 = st.integers(0, 65535)
MAC = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))


# Type, octets of its key and protocol of Open vSwitch's kinds of tunnels.
KINDS = ((1, 3, 17), (2, 4, 47), (3, 3, 17), (4, 8, 6), (5, 4, 47), (7, 3, 17))


@st.composite
def tunnels(draw: st.DrawFn) -> dict:
    kind, length, protocol = draw(st.sampled_from(KINDS))
    version = draw(st.sampled_from([4, 6]))
    addresses = ADDRESSES_V4 if version == 4 else ADDRESSES_V6
    return {
        "type": kind,
        "key_length": length,
        "key": draw(st.one_of(st.just(0), st.integers(0, 256**length - 1))),
        "protocol": protocol,
        "ip_version": version,
        "src_addr": draw(addresses),
        "dst_addr": draw(addresses),
        "src_port": draw(UINT16),
        "dst_port": draw(UINT16),
    }


def of_tunnel(tunnel: dict | None, profile: str) -> dict:
    """What a record says of a tunnel; None where an element must not be there."""
    ends4 = ("tunnelSourceIPv4Address", "tunnelDestinationIPv4Address")
    ends6 = ("UNTUNNELED_IPV6_SRC_ADDR", "UNTUNNELED_IPV6_DST_ADDR")
    record: dict[str, object] = dict.fromkeys((*ends4, *ends6, "tunnelType", "tunnelKey", "layer2SegmentId", "greKey"))
    if tunnel is None or (profile == "ovs" and tunnel["ip_version"] == 6):
        return record
    ends = ends4 if tunnel["ip_version"] == 4 else ends6
    key = tunnel["key"]
    record |= dict(zip(ends, (tunnel["src_addr"], tunnel["dst_addr"]), strict=True))
    record |= {
        "tunnelType": tunnel["type"],
        "tunnelKey": key.to_bytes(tunnel["key_length"], "big"),
        "tunnelProtocolIdentifier": tunnel["protocol"],
        "tunnelSourceTransportPort": tunnel["src_port"],
        "tunnelDestinationTransportPort": tunnel["dst_port"],
    }
    if profile == "full" and tunnel["type"] == 1:
        record["layer2SegmentId"] = 1 << 56 | key
    if profile == "full" and tunnel["type"] in (2, 5) and key:
        record["greKey"] = key
    return record


@st.composite
def described(draw: st.DrawFn) -> dict:
    base = dict(draw(st.sampled_from(UNTAGGED)))
    base |= {
        "ifindex": draw(st.integers(1, 2**31 - 1)),
        "direction": draw(st.integers(0, 1)),
        "src_mac": draw(MAC),
        "dst_mac": draw(MAC),
    }
    tags = draw(st.integers(0, 2))
    if tags:
        base |= VLAN | {"vlan_count": tags, "vlan_tci": [draw(UINT16), draw(UINT16) if tags == 2 else 0]}
    if draw(st.integers(0, 3)) == 0:
        base |= {"ethertype": draw(st.sampled_from([0x8847, 0x8848])), "mpls_label": draw(st.integers(0, 2**32 - 1))}
    # What leads from the one side to the other, as far as the kernel knows.
    base |= {"ingress_ifindex": draw(st.integers(0, 9)), "egress_ifindex": draw(st.integers(0, 9))}
    if draw(st.booleans()):
        base["tunnel"] = draw(tunnels())
    base["verdict"] = draw(st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 255)))
    if "ip_version" in base:
        addresses = ADDRESSES_V4 if base["ip_version"] == 4 else ADDRESSES_V6
        base |= {"src_addr": draw(addresses), "dst_addr": draw(addresses), "ip_tos": draw(st.integers(0, 255))}
        base |= {"ip_ttl": draw(st.integers(0, 255)), "tcp_flags": draw(st.integers(0, 4095))}
        base |= {"fragment": draw(st.sampled_from([0, 1, 3, 0x21, 0x40, 0x61, 0x63]))}
        octets = draw(st.integers(20, 2**20))
        base |= {"ip_octets": octets, "ip_length": octets}
    if base.get("ip_protocol") in (6, 17):
        # Not BFD's ports: those packets are left out.
        base |= {"src_port": draw(UINT16), "dst_port": draw(st.integers(0, 3000))}
    return sample(base, frame_octets=draw(st.integers(60, 2**21)))


def expected(values: dict, profile: str) -> dict:
    """What a record says of this sample, by element name."""
    record: dict[str, object] = {
        "flowDirection": values["direction"],
        "sourceMacAddress": values["src_mac"],
        "destinationMacAddress": values["dst_mac"],
        "ethernetType": values["ethertype"],
        "packetDeltaCount": 1,
        "layer2OctetDeltaCount": values["frame_octets"],
    }
    record |= dict.fromkeys(("forwardingStatus", "droppedPacketDeltaCount", "droppedOctetDeltaCount"))
    if "vlan_tci" in values:
        record |= {"vlanId": values["vlan_tci"][0] & 0xFFF, "dot1qPriority": values["vlan_tci"][0] >> 13}
    record |= of_tunnel(values.get("tunnel"), profile)
    if profile == "full":
        record |= of_full(values)
    if "ip_version" in values and (profile == "full" or values["ethertype"] not in (0x8847, 0x8848)):
        record |= of_ip(values, profile)
    return record


def of_full(values: dict) -> dict:
    """What profile "full" adds for any packet; None where an element must not be there."""
    record: dict[str, object] = {
        "ingressInterface": values["ingress_ifindex"],
        "egressInterface": values["egress_ifindex"],
        "mplsTopLabelStackSection": None,
        "dot1qCustomerVlanId": None,
    }
    record[("ingressInterface", "egressInterface")[values["direction"]]] = values["ifindex"]
    if "mpls_label" in values:
        record["mplsTopLabelStackSection"] = values["mpls_label"].to_bytes(4, "big")[:3]
    if values["verdict"]:
        status = {1: 128, 2: 128, 3: 64, 4: 66, 5: 66}.get(values["verdict"], 0)
        record |= {"forwardingStatus": status, "droppedPacketDeltaCount": int(status == 128)}
    if values.get("vlan_count") == 2:
        inner = values["vlan_tci"][1]
        record |= {"dot1qCustomerVlanId": inner & 0xFFF, "dot1qCustomerPriority": inner >> 13}
    return record


def of_ip(values: dict, profile: str) -> dict:
    """What is said of an IP packet."""
    version = values["ip_version"]
    record: dict[str, object] = {
        f"sourceIPv{version}Address": values["src_addr"],
        f"destinationIPv{version}Address": values["dst_addr"],
        "ipClassOfService": values["ip_tos"],
        "octetDeltaCount": values["ip_octets"],
        "octetDeltaSumOfSquares": values["ip_octets"] ** 2,
        "minimumIpTotalLength": values["ip_octets"],
        "maximumIpTotalLength": values["ip_octets"],
    }
    if values.get("ip_protocol") in (6, 17):
        record |= {"sourceTransportPort": values["src_port"], "destinationTransportPort": values["dst_port"]}
    ttl = values["ip_ttl"]
    if profile == "ovs":
        return record | {"ipTTL": ttl, "minimumTTL": None, "fragmentFlags": None, "tcpControlBits": None}
    if values["verdict"]:
        record["droppedOctetDeltaCount"] = values["ip_octets"] if values["verdict"] in (1, 2) else 0
    record |= {"minimumTTL": ttl, "maximumTTL": ttl, "ipTTL": None, "fragmentFlags": values["fragment"] & 0x60}
    if values.get("ip_protocol") in (1, 58):
        record[f"icmpTypeCodeIPv{version}"] = values["src_port"] << 8 | values["dst_port"]
    if values.get("ip_protocol") == 6:
        record["tcpControlBits"] = values["tcp_flags"] & 0xFF
        for bit, flag in enumerate(("Fin", "Syn", "Rst", "Psh", "Ack", "Urg")):
            record[f"tcp{flag}TotalCount"] = values["tcp_flags"] >> bit & 1
    return record


@given(
    samples=st.lists(described(), min_size=1, max_size=40),
    profile=st.sampled_from(["ovs", "full"]),
    size=st.integers(512, 2000),
)
@settings(max_examples=80, deadline=None)
def test_t42_records_say_what_the_samples_said(samples: list[dict], profile: str, size: int):
    """RFC 5471 3.6.6: each record has the elements of its template, no fewer, no more; the oracle reads it so."""
    with Harness(profile=profile, cache_active_timeout=0, message_size=size) as harness:
        harness.tick()
        harness.ingest(*samples)
        want = [expected(values, profile) for values in samples]
        got = [{name: record.values.get(name) for name in names} for record, names in pair(harness.records, want)]
        assert sorted(map(repr, got)) == sorted(map(repr, want))
        assert max(map(len, harness.receiver.datagrams)) <= size


def pair(records: list, want: list[dict]) -> list:
    """Put each record beside the one expectation that fits it best; order differs, for sets group them."""
    left = list(want)
    pairs = []
    for record in records:

        def fit(names: dict, record: OracleRecord = record) -> tuple[int, int]:
            """Few values that differ, then many that do not."""
            same = sum(record.values.get(name) == value for name, value in names.items())
            return same - len(names), same

        best = max(left, key=fit)
        left.remove(best)
        pairs.append((record, best))
    return pairs


@given(
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 80), st.sampled_from("itf")), min_size=1, max_size=20),
    interval=st.integers(1, 100),
    size=st.integers(512, 1500),
)
@settings(max_examples=60, deadline=None)
def test_the_sequence_has_no_gap(steps: list[tuple[int, int, str]], interval: int, size: int):
    """The oracle refuses any jump: over templates repeated, options, expiry, eviction and flushes in any order."""
    with Harness(template_interval=interval, message_size=size, cache_max_flows=50, cache_active_timeout=20) as harness:
        harness.set_weight(1, Fraction(1, 3))
        harness.tick()
        for seconds, count, action in steps:
            harness.tick(harness.now + seconds, ticks=3)
            if action == "i":
                harness.ingest(*(sample(UNTAGGED[i % 9], src_port=i, generation=i % 2) for i in range(count)))
            elif action == "f":
                harness.flush()
        harness.flush()
        stats = harness.stats
        assert stats["records"] == len(harness.records) == stats["flows_created"]
        assert stats["samples_exported"] == stats["samples_ingested"]
        assert harness.receiver.oracle.messages[0].export_time >= START
