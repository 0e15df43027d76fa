"""TCP over real sockets on loopback: sessions, stalled, killed and restarted collectors (RFC 7011 section 10.4)."""

import logging
import socket
from collections.abc import Callable

import pytest

from exporter.exporter import Exporter
from exporter.options import Target
from exporter.outbox import QUEUE_LIMIT
from exporter.profiles import OVS
from lib.receiver import Receiver, StreamReceiver
from lib.sending import NOW, clock, connect, exporter_to, free_port, ports, send_until_cut, tick_until
from lib.wait import wait_until

SECOND = 10**9
SMALL_BUFFER = 4096  # octets of a collector's receive buffer


def flood(exporter: Exporter, between: Callable[[], object] = lambda: None) -> int:
    """Send until the queue of the first collector, which does not read, is full; return how many records."""
    sent = 0
    while not exporter.collectors[0].counters["records_lost_queue"]:
        exporter.ingest(ports(1000), 1000)
        between()
        sent += 1000
    return sent


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_t01_e074_records_over_ipv4_and_ipv6_framed_by_length(host: str):
    """Templates first, then the data, cut into messages by nothing but their Length field."""
    with StreamReceiver(host) as receiver, exporter_to(receiver.target, message_size=700) as exporter:
        connect(exporter)
        for _ in range(5):
            exporter.ingest(ports(100), 100)
        wait_until(lambda: len(receiver.records()) == 500)
        (session,) = receiver.sessions
        assert session.messages[0][16:18] in (b"\0\x02", b"\0\x03"), "a Template Set"
        assert session.rest == b"" and max(map(len, session.messages)) <= 700
        row = exporter.targets()[0]
        assert (row["transport"], row["state"], row["sessions"], row["reconnects"]) == ("tcp", "connected", 1, 0)
        assert row["records_sent"] == session.oracle.sequences[0] == 501


def test_e054_templates_go_out_once():
    """RFC 7011 8.1: the connection loses nothing, so nothing is repeated after template_interval."""
    with StreamReceiver() as receiver, exporter_to(receiver.target, template_interval=1) as exporter:
        connect(exporter)
        for second in range(5):
            exporter.tick(NOW + second * SECOND)
            exporter.ingest(ports(1), 1)
        wait_until(lambda: len(receiver.records()) == 5)
        sent = [template.id for message in receiver.sessions[0].oracle.messages for template in message.templates]
        assert sorted(sent) == sorted({template.id for template in OVS.templates} | {512})


def test_own_packets_of_both_directions_are_left_out():
    """Records of data and of the acknowledgements would feed themselves."""
    with StreamReceiver() as receiver, exporter_to(receiver.target) as exporter:
        connect(exporter)
        there, back = exporter.endpoints()
        assert (there.destination_port, there.protocol) == (receiver.target.port, 6)
        assert (back.source, back.source_port, back.destination_port) == (
            there.destination,
            there.destination_port,
            there.source_port,
        )


def test_t26_e071_a_stalled_collector_fills_a_bounded_queue_and_its_losses_are_counted():
    """RFC 7011 10.4.1, RFC 5471 3.5.2: it disturbs neither the exporter nor another collector, and sees the gap."""
    with (
        StreamReceiver(strict_sequence=False, buffer=SMALL_BUFFER) as stalled,
        Receiver() as well,
        exporter_to(stalled.target, well.target) as exporter,
    ):
        connect(exporter)
        sent = flood(exporter, well.read)
        row = exporter.targets()[0]
        assert len(well.oracle.records) == sent
        assert len(exporter.collectors[0].outbox._queue) == QUEUE_LIMIT
        assert row["records_sent"] + row["records_waiting"] + row["records_lost_queue"] == sent + 1
        collector = exporter.collectors[0]
        assert collector.session is not None and collector.session.sequence(0) == sent + 1
        # When it reads again, all that was not lost arrives, whole messages in order.
        arrived = sent - row["records_lost_queue"]
        tick_until(exporter, lambda: len(stalled.records()) == arrived)
        exporter.ingest(ports(1), 1)
        wait_until(lambda: len(stalled.records()) == arrived + 1)
        assert stalled.sessions[0].oracle.messages[-1].sequence == sent + 1
        assert exporter.targets()[0]["records_waiting"] == 0


def test_t33_e055_e072_a_collector_that_comes_back_gets_a_session_of_its_own(caplog: pytest.LogCaptureFixture):
    """RFC 7011 8.1, 10.4.4, RFC 5471 3.6.3: templates again, sequence 0, not tried more often than once a minute."""
    caplog.set_level(logging.INFO)
    port = free_port(socket.SOCK_STREAM)
    with exporter_to(Target("127.0.0.1", port, "tcp")) as exporter:
        moments = clock()
        with StreamReceiver("127.0.0.1", port) as first:
            connect(exporter, moments)
            exporter.ingest(ports(10), 10)
            wait_until(lambda: len(first.records()) == 10)
        tick_until(exporter, lambda: not exporter.collectors[0].connected, moments)
        row = exporter.targets()[0]
        assert row["state"] == "not connected: the collector has closed the connection"
        assert row["disconnects"] == 1
        exporter.ingest(ports(7), 7)
        assert exporter.targets()[0]["records_lost_no_session"] == 7
        # Nobody listens: one attempt a minute.
        moments = clock(SECOND)
        for _ in range(181):
            exporter.tick(now := next(moments))
            wait_until(lambda: exporter.collectors[0]._connector.settled)
        assert exporter.targets()[0]["start_errors"] in (2, 3)
        with StreamReceiver("127.0.0.1", port) as second:
            connect(exporter, iter(range(now, now + 10**15, SECOND)))
            exporter.ingest(ports(5), 5)
            wait_until(lambda: len(second.records()) == 5)
            assert second.sessions[0].oracle.messages[0].sequence == 0
        row = exporter.targets()[0]
        assert (row["sessions"], row["reconnects"]) == (2, 1)
    told = [record.message for record in caplog.records if "collector tcp://" in record.message]
    assert f"exporting to 127.0.0.1 port {port}" in told[0]
    assert told[1].endswith("the session has ended: the collector has closed the connection; connecting again in 60 s")
    assert told[3].endswith("cannot be reached: Connection refused; trying again in 60 s")


def test_the_least_time_between_attempts_is_configured():
    """E-072: the schedule is configurable."""
    target = Target("127.0.0.1", free_port(socket.SOCK_STREAM), "tcp")
    with exporter_to(target, reconnect_interval=1) as exporter:
        tick_until(exporter, lambda: exporter.targets()[0]["start_errors"] == 3, clock(SECOND // 10))


def test_what_a_killed_collector_did_not_acknowledge_is_counted():
    """Sent, and not known to be there: told apart from what was never sent."""
    with StreamReceiver(buffer=SMALL_BUFFER) as receiver, exporter_to(receiver.target) as exporter:
        connect(exporter)
        receiver.accept()
        flood(exporter)
        row = exporter.targets()[0]
        sent, waiting = row["records_sent"], row["records_waiting"]
        receiver.kill()
        tick_until(exporter, lambda: not exporter.collectors[0].connected)
        row = exporter.targets()[0]
        assert row["records_lost_connection"] == waiting
        # The kernel of the collector took a few messages, no more.
        assert sent - 2000 < row["records_unacknowledged"] < sent
        assert row["records_waiting"] == 0


def test_the_rest_of_a_message_follows_without_another_one():
    """When a stalled collector reads again, the last message is whole as soon as it takes it."""
    with StreamReceiver(buffer=SMALL_BUFFER) as stalled, exporter_to(stalled.target, message_size=60_000) as exporter:
        connect(exporter)
        sent = send_until_cut(exporter, lambda stalls: stalls or stalled.read())
        assert exporter.due_ns(NOW) == NOW, "ticks are to go on"
        tick_until(exporter, lambda: len(stalled.records()) == sent)
        assert stalled.sessions[0].rest == b""
        assert exporter.due_ns(NOW) > NOW


def test_e073_what_waits_is_sent_before_the_end_of_the_connection():
    """RFC 7011 10.4.4: closed in order, behind the last record."""
    with StreamReceiver(buffer=SMALL_BUFFER) as receiver:
        with exporter_to(receiver.target) as exporter:
            connect(exporter)
            sent = 0
            while not exporter.targets()[0]["records_waiting"]:
                exporter.ingest(ports(1000), 1000)
                sent += 1000
            collector = exporter.collectors[0]
        wait_until(lambda: len(receiver.records()) == sent and receiver.sessions[0].ended)
        assert receiver.sessions[0].ended == "FIN"
        assert receiver.sessions[0].rest == b""
        assert collector.records_lost == 0


def test_a_stop_does_not_wait_for_a_collector_that_takes_nothing(monkeypatch: pytest.MonkeyPatch):
    """What it did not take within the bound is lost and counted."""
    monkeypatch.setattr("exporter.collectors.CLOSE_SECONDS", 0.05)
    with StreamReceiver(buffer=SMALL_BUFFER) as receiver:
        with exporter_to(receiver.target) as exporter:
            connect(exporter)
            sent = flood(exporter)
            collector = exporter.collectors[0]
            before = collector.records_lost
        wait_until(lambda: not collector.connected)
        assert collector.counters["records_lost_queue"] > before
        assert collector.counters["records_lost_queue"] + collector.counters["records_sent"] == sent + 1
