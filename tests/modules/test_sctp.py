"""SCTP (RFC 7011 section 10.2): over IPv4 and IPv6, stalled, killed and restarted collectors."""

import socket

import pytest

from exporter.options import Target
from exporter.transports import sctp
from lib.everytype import check_every_type, every_type_to, export_every_kind
from lib.receiver import SctpReceiver
from lib.sending import NOW, clock, connect, exporter_to, ports, tick_until
from lib.templateids import check_template_ids
from lib.wait import wait_until

MODULES = ("sctp",)
SECOND = 10**9


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_t01_t02_t03_every_type_of_value(host: str) -> None:
    """RFC 5471 3.1.1, RFC 5471 3.2.1, RFC 5471 3.2.2: as tests/unit/test_exporter_connectivity.py does elsewhere."""
    with SctpReceiver(host) as receiver, every_type_to(receiver.target) as exporter:
        connect(exporter)

        def read() -> list[bytes]:
            receiver.read()
            return [octets for session in receiver.sessions for octets in session.messages]

        check_every_type(export_every_kind(exporter, read))


def test_t06_t44_ids_are_used_again_behind_their_withdrawal() -> None:
    """RFC 5471 3.2.5.1, RFC 5471 3.6.8.1: no data behind, then told anew; one association."""
    with SctpReceiver() as receiver:
        check_template_ids(receiver)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_t01_e081_records_over_ipv4_and_ipv6(host: str) -> None:
    """Templates once, in order and ahead of the data; one message of IPFIX is one of SCTP."""
    with SctpReceiver(host) as receiver:
        with exporter_to(receiver.target, template_interval=1) as exporter:
            connect(exporter)
            for second in range(3):
                exporter.tick(NOW + second * SECOND)
                exporter.ingest(ports(100), 100)
            tick_until(exporter, lambda: len(receiver.records()) == 300)
            there, back = exporter.endpoints()
            assert (there.protocol, there.destination_port) == (132, receiver.target.port)
            assert (back.protocol, back.source_port) == (132, receiver.target.port)
            tick_until(exporter, lambda: not exporter.collectors[0].outbox.connection.unacknowledged())
        (session,) = receiver.sessions
        wait_until(lambda: receiver.read() or session.ended)
    assert session.ended == "FIN"
    messages = session.oracle.messages
    templates = [template.id for message in messages for template in message.templates]
    assert len(templates) == len(set(templates))
    assert messages[0].sequence == 0 and messages[0].templates


def test_t26_a_stalled_collector_fills_a_bounded_queue_and_old_data_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RFC 5471 3.5.2, PR-SCTP, timed: what waits too long in the kernel makes room; both kinds of loss are counted."""
    monkeypatch.setattr(sctp, "LIFETIME_MS", 500)
    monkeypatch.setattr("exporter.outbox.QUEUE_LIMIT", 100)  # filled and emptied by an emulated machine
    with SctpReceiver(strict_sequence=False) as receiver, exporter_to(receiver.target) as exporter:
        connect(exporter)
        receiver.accept()
        sent = 0
        while not exporter.collectors[0].counters["records_lost_queue"]:
            exporter.ingest(ports(1000), 1000)
            sent += 1000
        row = exporter.targets()[0]
        assert row["records_sent"] + row["records_waiting"] + row["records_lost_queue"] == sent + 1
        tick_until(exporter, lambda: exporter.targets()[0].get("messages_abandoned"))
        monkeypatch.setattr(sctp, "LIFETIME_MS", 600_000)
        tick_until(exporter, lambda: (receiver.read(), exporter.targets()[0]["records_waiting"] == 0)[1])
        # It goes on with data that it can read, behind the gap.
        seen = len(receiver.records())
        exporter.ingest(ports(1), 1)
        tick_until(exporter, lambda: len(receiver.records()) > seen and receiver.records()[-1])
        assert seen < sent


def test_t33_a_collector_that_comes_back_gets_a_session_of_its_own() -> None:
    """RFC 7011 8.1, 10.2.4, RFC 5471 3.6.3: templates again, sequence 0."""
    with SctpReceiver() as first:
        exporter = exporter_to(first.target, reconnect_interval=1)
        connect(exporter)
        exporter.ingest(ports(10), 10)
        tick_until(exporter, lambda: len(first.records()) == 10)
    with exporter:
        tick_until(exporter, lambda: not exporter.collectors[0].connected)
        with SctpReceiver("127.0.0.1", first.target.port) as second:
            connect(exporter, clock(SECOND))
            exporter.ingest(ports(5), 5)
            tick_until(exporter, lambda: len(second.records()) == 5)
            assert second.sessions[0].oracle.messages[0].sequence == 0
            assert exporter.targets()[0]["reconnects"] == 1


def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as sock:
        sock.bind(("127.0.0.1", 0))
        target = Target("127.0.0.1", sock.getsockname()[1], "sctp")
    with exporter_to(target) as exporter:
        tick_until(exporter, lambda: exporter.targets()[0]["start_errors"])
        assert exporter.targets()[0]["state"] == "not connected: Connection refused"
