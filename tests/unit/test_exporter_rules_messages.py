"""Messages, sets and templates: what RFC 7011 sections 3, 8 and 10 ask of an exporter, rule by rule.

The oracle (tests/lib/ipfix_oracle.py) asserts the form of every octet; a test here makes the case that the rule is
about and looks at what came out.
"""

import socket
import time
from collections.abc import Iterator

import pytest

from exporter.catalog import Catalog
from exporter.exporter import Exporter
from exporter.message import template_messages
from exporter.options import ExporterOptions
from exporter.optionsdata.kinds import KINDS
from exporter.profiles import OVS, profile
from exporter.session import Session
from lib.harness import OUTER_V6, TCP_V4, UDP_V4, VXLAN, Harness, every_kind
from lib.receiver import Receiver
from lib.samples import sample


@pytest.fixture(params=["ovs", "full"])
def stream(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Every kind of flow, ended by a flush, after the templates."""
    with Harness(profile=request.param, obs_domain_id=7) as harness:
        harness.tick()
        harness.ingest(*every_kind())
        harness.flush()
        assert len(harness.records) == len(every_kind())
        yield harness


def test_e001_version_is_10(stream: Harness):
    """RFC 7011 3.1: every message says version 10."""
    assert {octets[:2] for octets in stream.receiver.datagrams} == {b"\0\x0a"}


def test_e002_length_is_that_of_the_datagram(stream: Harness):
    """RFC 7011 3.1, 10.3.3: header and sets together, and below message_size."""
    for octets in stream.receiver.datagrams:
        assert int.from_bytes(octets[2:4], "big") == len(octets) <= stream.options.message_size


def test_e003_export_time_is_the_wall_clock_when_the_message_leaves():
    """RFC 7011 3.1: seconds since 1970; here rounded up, as OVS does, so less than a second ahead."""
    with Receiver() as receiver, Exporter(ExporterOptions(targets=(receiver.target,))) as exporter:
        before = time.time()
        exporter.tick(time.monotonic_ns())
        after = time.time()
        receiver.read()
        for message in receiver.oracle.messages:
            assert before - 0.1 <= message.export_time <= after + 1.1


def test_e004_sequence_counts_data_records_options_included(stream: Harness):
    """RFC 7011 3.1: records sent before this message; template records do not count, options records do."""
    last = stream.receiver.oracle.messages[-1]
    assert last.sequence + len(last.records) == len(stream.records) + len(stream.receiver.oracle.options)


def test_e005_sequence_is_kept_per_observation_domain():
    """RFC 7011 3.1: each domain of a session counts for itself."""
    session = Session(Catalog(OVS.templates, True, 1), 10**9, 10**9)
    assert [session.advance(domain, 3) for domain in (1, 2, 1, 2, 9)] == [0, 0, 3, 3, 0]


def test_e004_sequence_wraps_at_32_bits():
    """RFC 7011 3.1: modulo 2**32."""
    session = Session(Catalog(OVS.templates, True, 1), 10**9, 10**9)
    session.advance(1, 2**32 - 1)
    assert session.advance(1, 3) == 2**32 - 1
    assert session.sequence(1) == 2


def test_e006_the_first_message_has_sequence_0(stream: Harness):
    """Follows from RFC 7011 3.1: nothing was sent before."""
    assert stream.receiver.oracle.messages[0].sequence == 0


def test_e007_records_that_could_not_be_sent_show_in_the_sequence():
    """RFC 7011 10.2.2 for SCTP, done for UDP too: the collector sees the gap."""
    with Harness(cache_active_timeout=0) as harness:
        harness.tick()
        collector = harness.exporter.collectors[0]
        collector.outbox.connection._socket.shutdown(socket.SHUT_WR)  # EPIPE from now on
        harness.ingest(sample(), sample())
        assert harness.exporter.targets()[0]["records_lost_send"] == 2
        assert collector.session.sequence(0) == len(harness.receiver.oracle.options) + 2


def test_e008_the_domain_is_the_configured_one(stream: Harness):
    """RFC 7011 3.1."""
    assert {message.domain for message in stream.receiver.oracle.messages} == {7}


def test_e009_integers_are_big_endian(stream: Harness):
    """RFC 7011 6: a sequence of known numbers reads right."""
    record = next(r for r in stream.records if "sourceTransportPort" in r.values)
    assert (record["sourceTransportPort"], record["destinationTransportPort"]) == (1000, 80)


def test_e010_set_ids_are_2_3_and_from_256(stream: Harness):
    """RFC 7011 3.3.2."""
    used = {set_id for message in stream.receiver.oracle.messages for set_id in message.sets}
    assert {2, 3, 512} <= used
    assert all(set_id in (2, 3) or set_id >= 256 for set_id in used)


def test_e011_every_set_holds_a_record(stream: Harness):
    """RFC 7011 3.3: no set of four octets; the oracle refuses one."""
    assert all(message.records or message.templates for message in stream.receiver.oracle.messages)


def test_e012_record_types_are_not_mixed_and_each_template_has_one_set_a_message(stream: Harness):
    """RFC 7011 3.3.1: a set's records are all of its kind; grouped, so that no set id repeats among those of flows."""
    templates = stream.receiver.oracle.templates
    for message in stream.receiver.oracle.messages:
        data = [set_id for set_id in message.sets if set_id >= 256 and not templates[7, set_id].scope]
        assert len(data) == len(set(data))


def test_e013_there_is_no_padding(stream: Harness):
    """RFC 7011 3.3.1 allows zeros; none are sent: messages are exactly their records. RFC 5471 3.2.3: never."""
    for message, octets in zip(stream.receiver.oracle.messages, stream.receiver.datagrams, strict=True):
        if message.records:
            assert len(octets) == 16 + 4 * len(message.sets) + sum(len(r.octets) for r in message.records)


def test_many_records_share_a_message(stream: Harness):
    sizes = [len(octets) for octets in stream.receiver.datagrams]
    data = [message for message in stream.receiver.oracle.messages if not message.templates]
    assert len(data) < len(stream.records) / 2
    assert max(sizes) > stream.options.message_size - 200


def test_e020_template_ids_are_unique_over_templates_and_options_templates(stream: Harness):
    """RFC 7011 3.4.1, 3.4.2.2: one space of ids from 256."""
    own = profile(stream.options.profile)
    ids = [template.id for template in (*own.templates, *(kind.template for kind in KINDS))]
    assert len(ids) == len(set(ids)) and min(ids) >= 256
    sent = {number for _, number in stream.receiver.oracle.templates}
    used = {record.template.id for record in stream.records}
    assert sent < set(ids)
    # Profile "full" tells of those only that data needs.
    known = {template.id for template in own.templates}
    assert sent & known == (known if own.whole else used)


def test_e021_enterprise_numbers_follow_the_e_bit_only(stream: Harness):
    """RFC 7011 3.2, RFC 5471 3.3.1: VMware's tunnel elements carry 6876, ntop's for IPv6 35632, IANA's none."""
    pens = {(pen, number) for t in stream.receiver.oracle.templates.values() for pen, number, _ in t.fields}
    assert {number for pen, number in pens if pen == 6876} == set(range(891, 898))
    ntop = {396, 397} if stream.options.profile == "full" else set()
    assert {number for pen, number in pens if pen == 35632} == ntop
    assert {pen for pen, _ in pens} <= {0, 6876, 35632}


def test_e022_field_lengths_are_exact(stream: Harness):
    """RFC 7011 3.2, 7: full size or a legal reduced one; 65535 for the tunnel key alone."""
    lengths = {number: length for t in stream.receiver.oracle.templates.values() for _, number, length in t.fields}
    assert {number for number, length in lengths.items() if length == 65535} == {340, 341, 892}


def test_e023_e024_the_options_template_counts_its_scope(stream: Harness):
    """RFC 7011 3.4.2.2: the scope (observation domain) is first and part of the field count."""
    template = stream.receiver.oracle.templates[7, 512]
    assert (template.scope, template.fields) == (1, ((0, 149, 4), (0, 34, 4)))
    announced = [r for r in stream.receiver.oracle.options if "samplingInterval" in r.values]
    assert [(r["observationDomainId"], r["samplingInterval"]) for r in announced] == [(7, 1)]


def test_e025_no_element_occurs_twice(stream: Harness):
    """RFC 7011 8 orders repeated elements; outer headers have elements of their own here, so none repeats in a flow."""
    for template in (t for t in stream.receiver.oracle.templates.values() if not t.scope):
        assert len(set(template.fields)) == len(template.fields)


def test_e026_templates_travel_together():
    """RFC 7011 8: related templates in one message where they fit; all of them in few."""
    templates = (*OVS.templates, *(kind.template for kind in KINDS))
    assert len(template_messages(templates, 65535)) == 1
    assert len(template_messages(templates, 1400)) == 3


def test_e027_absent_values_use_another_template():
    """RFC 7011 8: nothing is invented for what the packet lacks, and no IPv4 zeros for a tunnel over IPv6."""
    with Harness(profile="full", cache_active_timeout=0) as harness:
        harness.tick()
        harness.ingest(sample(TCP_V4, tunnel=VXLAN | OUTER_V6), sample(UDP_V4), sample(every_kind()[0], ip_octets=0))
        tunnelled, udp, arp = sorted(harness.records, key=lambda r: -len(r.values))
        assert "tunnelSourceIPv4Address" not in tunnelled.values
        assert "tcpControlBits" in tunnelled.values and "tcpControlBits" not in udp.values
        assert not {"ipVersion", "octetDeltaCount", "sourceTransportPort"} & set(arp.values)
