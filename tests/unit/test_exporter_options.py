"""Options data, kind by kind: what RFC 7011 section 4, RFC 5476 and RFC 5610 ask, from a whole exporter to the oracle.

T-numbers are tests of RFC 5471, E- and P- requirements of RFC 7011 and PSAMP.
"""

import socket
from fractions import Fraction

import pytest

from exporter import elements
from exporter.status import Metering
from lib.harness import START, TCP_V4, UDP_V4, WALL, Harness, every_kind
from lib.samples import sample

DOMAIN = 7
STATS = 60


def harness(**options) -> Harness:
    return Harness(**{"profile": "full", "obs_domain_id": DOMAIN, "stats_interval": STATS, **options})


def wall(seconds: float) -> int:
    return round(WALL + seconds)


def test_every_kind_is_decoded_and_each_options_record_has_a_set_of_its_own():
    """Some collectors read no second Options Template Record of a Set, and no second record of an options Data Set."""
    with harness() as it:
        it.exporter.set_interfaces([(2, "eth0", "uplink"), (3, "eth1", "")])
        it.exporter.set_metering(Metering(1000, 10, 1))
        it.tick()
        it.ingest(*every_kind())
        it.tick(START + STATS + 1, ticks=61)
        oracle = it.receiver.oracle
        used = {record.template.id for record in oracle.options}
        assert used == {*range(512, 523)}
        templates = {number: template for (_, number), template in oracle.templates.items()}
        for message in oracle.messages:
            assert message.sets.count(3) == sum(template.scope > 0 for template in message.templates)
            for number in {n for n in message.sets if n in templates and templates[n].scope}:
                assert message.sets.count(number) == sum(record.template.id == number for record in message.records)


def test_t18_t19_e100_metering_process_statistics():
    """RFC 7011 4.1: messages, Flow Records and octets to this collector, without the message that carries them.

    RFC 5471 3.4.2: two scopes, in order. RFC 5471 3.4.3: with meteringProcessId; there is one Metering Process.
    """
    with harness(cache_active_timeout=0) as it:
        it.tick()
        it.ingest(*(sample(UDP_V4, src_port=port) for port in range(300)))
        it.tick(START + STATS)
        (record,) = it.told("exportedFlowRecordTotalCount")
        messages = it.receiver.oracle.messages
        mine = next(i for i, message in enumerate(messages) if record in message.records)
        assert record.template.scope == 2
        assert record.order[:2] == ["observationDomainId", "meteringProcessId"]
        assert (record["observationDomainId"], record.domain, record["meteringProcessId"]) == (DOMAIN, DOMAIN, 1)
        assert record["exportedFlowRecordTotalCount"] == 300
        # Templates of the statistics themselves went out with them, ahead.
        before = [
            i for i in range(mine) if messages[i].domain == DOMAIN and messages[i].export_time < wall(START + STATS)
        ]
        assert record["exportedMessageTotalCount"] == len(before)
        assert record["exportedOctetTotalCount"] == sum(len(it.receiver.datagrams[i]) for i in before)


def test_t20_e101_metering_process_reliability():
    """RFC 7011 4.2, RFC 5471 3.4.4: packets that got lost before they were part of a flow, and from when to when.

    With meteringProcessId as a scope. RFC 5471 3.3.3: observationTimeSeconds twice.
    """
    with harness() as it:
        it.tick()
        it.exporter.set_metering(Metering(10**6, 2500, 0))
        it.tick(START + STATS)
        it.exporter.set_metering(Metering(10**6, 2500, 17))
        it.tick(START + STATS + 10)
        it.ingest(*(sample(generation=9) for _ in range(5)))  # of a generation that nobody knows
        it.ingest(sample(ip_octets=40), sample(ip_octets=80))  # so a packet has 60 octets in the mean
        it.tick(START + STATS + 20)
        it.tick(START + 2 * STATS)
        first, second = it.told("ignoredPacketTotalCount")
        assert first.order[-2:] == ["observationTimeSeconds"] * 2
        assert (first["ignoredPacketTotalCount"], first["ignoredOctetTotalCount"]) == (0, 0)
        assert first["observationTimeSeconds"] == [wall(START)] * 2
        assert (second["ignoredPacketTotalCount"], second["ignoredOctetTotalCount"]) == (22, 22 * 60)
        assert second["observationTimeSeconds"] == [wall(START + STATS + 10), wall(START + STATS + 20)]


def test_t21_e102_exporting_process_reliability():
    """RFC 7011 4.3, RFC 5471 3.4.5: Flow Records that were not sent, the packets and octets in them, when.

    E-008: in domain 0.
    """
    with harness(cache_active_timeout=0, sampling=100) as it:
        it.set_weight(0, Fraction(1, 100))
        it.tick()
        it.receiver.oracle.strict_sequence = False  # what is lost is missing
        (connection,) = (collector.outbox.connection for collector in it.exporter.collectors)
        working = connection._socket
        broken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # connected to nobody: EDESTADDRREQ
        connection._socket, connection.batch_fd = broken, broken.fileno()
        it.tick(START + 5)
        it.ingest(*(sample(TCP_V4, src_port=port) for port in range(50)))
        it.tick(START + 8)
        it.ingest(sample(every_kind()[0], ip_octets=0, frame_octets=60))
        connection._socket, connection.batch_fd = working, working.fileno()
        broken.close()
        it.tick(START + STATS)
        (record,) = it.told("notSentFlowTotalCount")
        assert (record.domain, record["exportingProcessId"]) == (0, 1)
        assert record["notSentFlowTotalCount"] == 51
        assert record["notSentPacketTotalCount"] == 51 * 100
        assert record["notSentOctetTotalCount"] == (50 * 40 + 60) * 100
        assert record["observationTimeSeconds"] == [wall(START + 5), wall(START + 8)]
        assert it.exporter.targets()[0]["records_lost_send"] >= 51  # options records among them
        (sent,) = it.told("exportedFlowRecordTotalCount")
        assert sent["exportedFlowRecordTotalCount"] == 0


def test_nothing_lost_is_said_too():
    with harness() as it:
        it.tick()
        it.tick(START + STATS)
        (record,) = it.told("notSentFlowTotalCount")
        assert [record[name] for name in record.order[1:4]] == [0, 0, 0]
        assert record["observationTimeSeconds"] == [wall(START)] * 2


def test_e104_statistics_come_each_stats_interval_and_not_with_the_templates():
    """RFC 7011 4.1 to 4.3: by a period that is configured."""
    with harness(template_interval=7, stats_interval=60) as it:
        it.tick()
        it.tick(START + 601, ticks=601)
        assert len(it.told("notSentFlowTotalCount")) == len(it.told("exportedMessageTotalCount")) == 10


def test_t22_e103_flow_keys_for_each_template_that_was_sent():
    """RFC 7011 4.4, RFC 5471 3.4.6: no bit beyond the fields, no template that the collector does not have."""
    with harness() as it:
        it.tick()
        it.ingest(*every_kind())
        it.flush()
        it.tick(START + 10, ticks=20)
        records = it.told("flowKeyIndicator")
        flows = {number: t for (_, number), t in it.receiver.oracle.templates.items() if not t.scope}
        assert {record["templateId"] for record in records} == set(flows)
        for record in records:
            assert 0 < record["flowKeyIndicator"] < 1 << len(flows[record["templateId"]].fields)
        known: set[int] = set()
        for message in it.receiver.oracle.messages:
            assert {record["templateId"] for record in message.records if "templateId" in record.values} <= known
            known |= {template.id for template in message.templates}


# What differs between two packets, and the elements that show it; one flow or two is what the cache makes of it.
DIFFERENCES = {
    "src_mac": ("02:00:00:00:00:01", {"sourceMacAddress"}),
    "dst_mac": ("02:00:00:00:00:02", {"destinationMacAddress"}),
    "ip_ttl": (9, {"ipTTL", "minimumTTL", "maximumTTL"}),
    "ip_tos": (1, {"ipClassOfService"}),
    "src_addr": ("192.0.2.99", {"sourceIPv4Address"}),
    "dst_addr": ("192.0.2.98", {"destinationIPv4Address"}),
    "src_port": (77, {"sourceTransportPort"}),
    "dst_port": (78, {"destinationTransportPort"}),
    "tcp_flags": (3, {"tcpControlBits", "tcpSynTotalCount", "tcpFinTotalCount"}),
    "fragment": (0x20, {"fragmentFlags"}),
    "direction": (1, {"flowDirection", "ingressInterface", "egressInterface"}),
    "ifindex": (5, {"ingressInterface"}),
    "verdict": (2, {"forwardingStatus", "droppedPacketDeltaCount", "droppedOctetDeltaCount"}),
    "ip_length": (30, {"minimumIpTotalLength", "maximumIpTotalLength"}),
    "frame_octets": (99, {"layer2OctetDeltaCount"}),
    "time": (round((START - 1) * 10**9), {"flowStartMilliseconds", "flowStartDeltaMicroseconds"}),
}


@pytest.mark.parametrize("profile", ["full", "ovs"])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_t22_the_indicator_is_the_key_of_the_cache(name: str, profile: str):
    """A field that tells two flows apart is marked as key, one that does not is not."""
    value, shown = DIFFERENCES[name]
    with harness(profile=profile) as it:
        it.tick()
        both = {"tcp_flags": 2, "verdict": 3}
        it.ingest(sample(**both), sample(**both | {name: value}))
        flows = it.stats["flows"]
        it.flush()
        it.tick(START + 1)
        template = it.records[0].template
        (indicator,) = [r["flowKeyIndicator"] for r in it.told("flowKeyIndicator") if r["templateId"] == template.id]
        keys = {n for place, n in enumerate(it.records[0].order) if indicator >> place & 1}
        present = shown & set(it.records[0].order)
        assert present or profile == "ovs"
        if flows == 2:
            assert present <= keys
        else:
            assert not present & keys


def test_interfaces_that_appear_and_change():
    """By number, name and description; one that appears later is told alone. In the main domain."""
    with harness() as it:
        it.exporter.set_interfaces([(2, "eth0", "uplink"), (1, "lo", "")])
        it.tick()
        names = [
            (r["ingressInterface"], r["interfaceName"], r["interfaceDescription"]) for r in it.told("interfaceName")
        ]
        assert names == [(1, "lo", "lo"), (2, "eth0", "uplink")]
        it.exporter.set_interfaces([(2, "eth0", "uplink"), (1, "lo", ""), (9, "veth9", "")])
        it.tick(START + 1)
        assert [r["ingressInterface"] for r in it.told("interfaceName")] == [1, 2, 9]
        it.exporter.set_interfaces([(2, "eth0", "uplink"), (1, "lo", ""), (9, "veth9", "")])
        it.tick(START + 2)
        assert len(it.told("interfaceName")) == 3
        assert {record.domain for record in it.told("interfaceName")} == {DOMAIN}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\xff\xfeth".decode("utf-8", "surrogateescape"), "??th"),
        ("fünfzehnzeichen", "fünfzehnzeiche"),  # 15 octets: the last character does not fit whole
        ("a" * 14 + "ü", "a" * 14),
        ("nul\0", "nul?"),
    ],
)
def test_e032_a_name_that_is_no_utf8_is_shown_all_the_same(name: str, shown: str):
    """RFC 7011 6.1.6: well-formed UTF-8 only, cut between characters; the oracle decodes it strictly."""
    with harness() as it:
        it.exporter.set_interfaces([(1, name, "")])
        it.tick()
        assert [record["interfaceName"] for record in it.told("interfaceName")] == [shown]


def test_i01_types_of_enterprise_elements():
    """RFC 5610: one record each, with legal pairs of type and semantics (3.10); none for IANA's own (I-02)."""
    with harness() as it:
        it.tick()
        it.ingest(*every_kind())
        it.flush()
        it.tick(START + 1)
        used = {
            (pen, number)
            for t in it.receiver.oracle.templates.values()
            for pen, number, _ in t.fields
            if pen and not t.scope
        }
        records = it.told("informationElementName")
        keys = [(r["privateEnterpriseNumber"], r["informationElementId"]) for r in records]
        assert sorted(keys) == sorted(used)
        for record, (pen, number) in zip(records, keys, strict=True):
            element = elements.by_id(number, pen)
            assert record["informationElementName"] == element.name
            unsigned = {1: "unsigned8", 2: "unsigned16", 3: "unsigned32", 4: "unsigned64"}
            others = {0: "octetArray", 12: "macAddress", 13: "string", 18: "ipv4Address", 19: "ipv6Address"}
            assert (unsigned | others)[record["informationElementDataType"]] == element.type
            assert record["informationElementUnits"] == 0
            if record["informationElementDataType"] not in unsigned:
                assert (record["informationElementSemantics"], record["informationElementRangeEnd"]) == (0, 0)
            elif record["informationElementDataType"] == 2:
                assert record["informationElementRangeEnd"] == 65535


def test_options_data_can_be_switched_off():
    """Only what collectors multiply by is left; profile "ovs" is then Open vSwitch's and one template."""
    with harness(options_data=False, profile="ovs") as it:
        it.exporter.set_interfaces([(1, "lo", "")])
        it.tick()
        it.ingest(sample())
        it.flush()
        it.tick(START + 2 * STATS, ticks=120)
        assert {record.template.id for record in it.receiver.oracle.options} == {512}
        assert {domain for domain, _ in it.receiver.oracle.templates} == {DOMAIN}


def test_a_thousand_interfaces_do_not_flood_the_collector():
    """Paced: never more than eight messages a tick of 50 ms, and samplingInterval is not behind them."""
    with harness() as it:
        it.exporter.set_interfaces([(number, f"veth{number}", "a tap of some guest") for number in range(1, 1001)])
        it.tick()
        assert len(it.told("samplingInterval")) == 1
        counts = []
        for step in range(1, 40):
            before = len(it.receiver.datagrams)
            it.tick(START + step * 0.1)
            counts.append(len(it.receiver.datagrams) - before)
        assert max(counts) <= 8
        assert len({record["ingressInterface"] for record in it.told("interfaceName")}) == 1000
