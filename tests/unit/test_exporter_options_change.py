"""Exporter.reconfigure: what did not change keeps flows, sockets and sessions; what did is told to collectors first."""

from dataclasses import replace
from fractions import Fraction

import pytest

from exporter.errors import ExporterError
from exporter.profiles import FULL, OVS
from exporter.selector import main_selector
from lib.harness import START, Harness
from lib.receiver import Receiver
from lib.samples import sample


def change(harness: Harness, **options: object) -> list[dict[str, object]]:
    harness.options = replace(harness.options, **options)  # type: ignore[arg-type]
    rows = harness.exporter.reconfigure(harness.options, round(harness.now * 10**9))
    harness.receiver.read()
    return rows


def test_equal_options_touch_nothing() -> None:
    with Harness() as harness:
        harness.tick()
        harness.ingest(sample())
        count = len(harness.receiver.datagrams)
        before = (harness.exporter.endpoints(), harness.exporter.targets(), harness.stats)
        assert change(harness) == []
        harness.tick(START + 1)
        assert len(harness.receiver.datagrams) == count
        assert (harness.exporter.endpoints(), harness.exporter.targets(), harness.stats) == before


def test_changed_timeouts_keep_flows_and_sessions() -> None:
    with Harness(cache_idle_timeout=60) as harness:
        harness.tick()
        harness.ingest(sample())
        change(harness, cache_idle_timeout=5)
        assert harness.stats["flows"] == 1
        harness.ingest(sample())
        harness.tick(START + 6)
        (record,) = harness.records
        assert record["packetDeltaCount"] == 2
        assert len(set(harness.receiver.senders)) == 1


def test_a_target_that_stays_keeps_its_session_and_a_new_one_gets_templates_first() -> None:
    with Harness() as harness, Receiver() as other:
        harness.tick()
        harness.ingest(sample())
        sent = len(harness.receiver.datagrams)
        assert change(harness, targets=(other.target, harness.receiver.target)) == []
        assert len(harness.receiver.datagrams) == sent
        harness.flush()
        other.read()
        # The oracles check that templates come before data, and that the old session's sequence goes on.
        assert len(harness.records) == len(other.oracle.records) == 1
        assert other.oracle.messages[0].sequence == 0
        assert len(set(harness.receiver.senders)) == 1


def test_a_target_that_is_taken_out_is_closed_and_its_counters_are_given_back() -> None:
    with Harness() as harness, Receiver() as other:
        harness.tick()
        harness.ingest(sample())
        (before,) = harness.exporter.endpoints()
        (row,) = change(harness, targets=(other.target,))
        assert row["target"] == str(harness.receiver.target)
        assert row["messages_sent"] == len(harness.receiver.datagrams)
        # Its last messages are still to be left out.
        own = {"ip_protocol": 17, "src_addr": before.source, "dst_addr": before.destination}
        harness.ingest(sample(**own, src_port=before.source_port, dst_port=before.destination_port))
        assert harness.stats["samples_excluded_own"] == 1
        harness.flush()
        other.read()
        assert harness.records == []
        assert len(other.oracle.records) == 1


def test_another_layout_ends_flows_by_the_old_one_first() -> None:
    with Harness() as harness:
        harness.tick()
        harness.ingest(sample(src_port=1))
        change(harness, profile="full")
        harness.ingest(sample(src_port=2))
        harness.flush()
        old, new = harness.records
        assert (old["sourceTransportPort"], old["flowEndReason"]) == (1, 4)
        assert old.template.id in {template.id for template in OVS.templates}
        assert new.template.id in {template.id for template in FULL.templates}
        # One session: the oracle has checked the sequence.
        assert len(set(harness.receiver.senders)) == 1
        messages = harness.receiver.oracle.messages
        copies = [told.id for message in messages for told in message.templates if told.id >= FULL.templates[0].id]
        assert copies == [new.template.id] * 2, "what data uses, and no other"


def test_another_domain_is_that_of_flows_from_now_on() -> None:
    with Harness() as harness:
        harness.tick()
        harness.ingest(sample(src_port=1))
        change(harness, obs_domain_id=9)
        harness.exporter.set_weight(1, Fraction(1), [main_selector(harness.options)])
        harness.ingest(sample(src_port=1), sample(src_port=1, generation=1), sample(src_port=1))
        harness.flush()
        found = {record.domain: record["packetDeltaCount"] for record in harness.records}
        assert found == {0: 3, 9: 1}


def test_a_shorter_template_interval_counts_from_the_last_templates() -> None:
    with Harness(template_interval=600) as harness:
        harness.tick()
        sent = len(harness.receiver.datagrams)
        harness.tick(START + 50)
        change(harness, template_interval=60)
        harness.tick(START + 59)
        assert len(harness.receiver.datagrams) == sent
        harness.tick(START + 60)
        assert len(harness.receiver.datagrams) > sent
        sent = len(harness.receiver.datagrams)
        change(harness, template_interval=3600)
        harness.tick(START + 121)
        assert len(harness.receiver.datagrams) == sent


def test_longer_messages_are_made_from_now_on() -> None:
    with Harness(message_size=512) as harness:
        harness.tick()
        change(harness, message_size=60000)
        harness.ingest(*(sample(src_port=port) for port in range(1000)))
        harness.flush()
        assert max(len(octets) for octets in harness.receiver.datagrams) > 50000
        assert len(harness.records) == 1000


def test_options_that_no_exporter_can_have_change_nothing() -> None:
    with Harness() as harness:
        harness.tick()
        harness.ingest(sample())
        with pytest.raises(ExporterError, match='profile "x" is unknown'):
            harness.exporter.reconfigure(replace(harness.options, profile="x", cache_max_flows=0), 0)
        assert harness.stats["flows"] == 1
        assert harness.exporter.options == harness.options
