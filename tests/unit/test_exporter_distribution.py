"""targets_mode: who gets which record, and what becomes of it when a collector fails, over real sockets."""

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.exporter import Exporter
from exporter.options import FileOptions, Target
from exporter.tally import TRUST_DELAY_NS
from exporter.transports.file import closed_files
from lib.ipfix_oracle import Oracle
from lib.receiver import Receiver, StreamReceiver
from lib.sending import NOW, clock, connect, exporter_to, free_port, ports, tick_until
from lib.wait import wait_until

SECOND = 10**9


def sources(records: list) -> Counter[int]:
    """How often each flow arrived: flows differ by their source port."""
    return Counter(record.values["sourceTransportPort"] for record in records)


def test_t30_collectors_of_every_transport_get_the_same_records(tmp_path: Path):
    """RFC 5471 3.5.6: each with sequence numbers of its own: one that came later began at 0 later."""
    path = tmp_path / "flows.ipfix"
    file = Target("", 0, "file", str(path))
    with (
        Receiver() as udp,
        Receiver("::1") as six,
        StreamReceiver() as tcp,
        exporter_to(udp.target, six.target, tcp.target, file) as exporter,
    ):
        exporter.tick(NOW)
        exporter.ingest(ports(10), 10)  # TCP and the file are not connected yet, or just so
        connect(exporter)
        exporter.ingest(ports(500, first=100), 500)
        tick_until(exporter, lambda: len(sources(tcp.records())) >= 500)
        udp.read()
        six.read()
        assert [record.values for record in udp.oracle.records] == [record.values for record in six.oracle.records]
        assert len(udp.oracle.records) == 510
        assert [r.values for r in tcp.records()][-500:] == [r.values for r in udp.oracle.records][-500:]
        rows = exporter.targets()
        assert [row["transport"] for row in rows] == ["udp", "udp", "tcp", "file"]
        for row in rows:
            lost = row.get("records_lost_no_session", 0)
            assert row["records_sent"] + lost == 511
        assert tcp.sessions[0].oracle.messages[0].sequence == 0


@pytest.fixture
def moments() -> Iterator[int]:
    return clock()


def failover(*targets: Target, moments: Iterator[int], **options: object) -> Exporter:
    exporter = exporter_to(*targets, targets_mode="failover", **options)
    connect(exporter, moments)
    return exporter


def states(exporter: Exporter) -> list[str]:
    return [str(row["state"]).partition(":")[0] for row in exporter.targets()]


def test_failover_the_next_collector_gets_what_the_first_did_not_acknowledge(
    moments: Iterator[int], caplog: pytest.LogCaptureFixture
):
    """A stalled TCP collector that is killed: no record is lost, each target's sequence numbers are right."""
    port = free_port(socket.SOCK_STREAM)
    with StreamReceiver(buffer=4096) as second, StreamReceiver("127.0.0.1", port, buffer=4096) as first:
        with failover(first.target, second.target, moments=moments) as exporter:
            assert states(exporter) == ["connected", "connected, standby"]
            exporter.ingest(ports(100), 100)
            wait_until(lambda: len(first.records()) == 100)
            sent = 100
            while not exporter.collectors[0].waiting or sent < 3000:
                exporter.ingest(ports(100, first=sent), 100)
                sent += 100
            assert second.records() == [] and len(second.sessions) == 1, "it has the templates"
            first.kill()
            tick_until(exporter, lambda: not exporter.collectors[0].connected, moments)
            exporter.ingest(ports(10, first=sent), 10)
            sent += 10
            tick_until(exporter, lambda: not exporter.collectors[1].waiting, moments)
            # What the first one's kernel acknowledged and nobody read is gone, and only that.
            row, other = exporter.targets()
            acknowledged = row["records_sent"] - row["records_unacknowledged"]
            moved = row["records_moved"]
            assert other["records_adopted"] == moved > 0
            tick_until(exporter, lambda: len(second.records()) == moved + 10, moments)
            flows = sources(second.records())
            assert set(flows.values()) == {1}
            assert set(range(acknowledged, sent)) <= set(flows)
            assert exporter.collectors[0].records_lost == exporter.collectors[1].records_lost == 0
            assert states(exporter) == ["not connected", "connected"]
        wait_until(lambda: second.read() or second.sessions[0].ended)
    assert f"collector {second.target} gets the records now, {first.target} no more" in caplog.text


def test_failover_goes_back_when_the_first_has_been_well_for_a_while():
    """Not at once, and not for good: no flapping."""
    port = free_port(socket.SOCK_STREAM)
    with StreamReceiver() as second:
        with StreamReceiver("127.0.0.1", port) as first:
            exporter = failover(first.target, second.target, moments=clock(), reconnect_interval=1)
        with exporter:
            tick_until(exporter, lambda: not exporter.collectors[0].connected)
            exporter.ingest(ports(5), 5)
            wait_until(lambda: len(second.records()) == 5)
            with StreamReceiver("127.0.0.1", port) as again:
                moments = iter(range(NOW + 2 * SECOND, NOW + 10 * SECOND, 10**5))
                connect(exporter, moments)
                back = next(moments)
                exporter.ingest(ports(5), 5)
                wait_until(lambda: len(second.records()) == 10)
                exporter.tick(back + TRUST_DELAY_NS)
                assert states(exporter) == ["connected", "connected, standby"]
                exporter.ingest(ports(5), 5)
                wait_until(lambda: len(again.records()) == 5)
                assert len(second.records()) == 10


def test_failover_by_udp_is_told_by_icmp():
    """Nobody listens at the first: its messages go to the second from the first refusal on, until templates arrive."""
    port = free_port()
    with (
        Receiver() as second,
        exporter_to(Target("127.0.0.1", port), second.target, targets_mode="failover") as exporter,
    ):
        exporter.tick(NOW)  # templates, which are refused
        exporter.ingest(ports(500), 500)
        exporter.tick(NOW + 1)
        second.read()
        assert len(second.oracle.records) == 500
        assert states(exporter)[1] == "connected"
        with Receiver("127.0.0.1", port, strict_sequence=False) as first:
            for seconds in range(1, 32):
                exporter.tick(NOW + seconds * SECOND)
                exporter.ingest(ports(1), 1)
            exporter.tick(NOW + 2 * TRUST_DELAY_NS)
            exporter.ingest(ports(7), 7)
            first.read()
            assert len(first.oracle.records) >= 7
            assert states(exporter) == ["connected", "connected, standby"]


def test_failover_to_a_collector_that_ends_the_session_when_it_is_told_templates():
    """Both were killed since the last tick; the heir notices when it is to get the templates of what it adopts."""
    with (
        StreamReceiver() as first,
        StreamReceiver() as second,
        failover(first.target, second.target, moments=clock(), profile="full") as exporter,
    ):
        first.kill()  # by RST, for it has not read
        second.kill()
        exporter.ingest(ports(100), 100)
        assert states(exporter) == ["not connected", "not connected"]
        row, heir = exporter.targets()
        assert row["records_moved"] == heir["records_lost_no_session"] == 100


def test_failover_with_nobody_left_counts_the_loss_once():
    targets = [Target("127.0.0.1", free_port(socket.SOCK_STREAM), "tcp") for _ in range(2)]
    with exporter_to(*targets, targets_mode="failover") as exporter:
        tick_until(exporter, lambda: all(row["start_errors"] for row in exporter.targets()))
        exporter.ingest(ports(100), 100)
        exporter.tick(NOW + SECOND)
        assert sum(collector.records_lost for collector in exporter.collectors) == 100


def test_balance_each_flow_has_its_collector_and_few_move_when_one_goes():
    with Receiver() as one, Receiver() as two, StreamReceiver() as three:
        receivers = {"one": one, "two": two}
        with exporter_to(one.target, two.target, three.target, targets_mode="balance") as exporter:
            connect(exporter)
            recorded: list[bytes] = []
            exporter.record(recorded.append)
            for _ in range(2):
                exporter.ingest(ports(3000), 3000)
                one.read()
                two.read()
            wait_until(lambda: sum(map(len, (one.oracle.records, two.oracle.records, three.records()))) == 6000)
            before = {name: sources(receiver.oracle.records) for name, receiver in receivers.items()}
            before["three"] = sources(three.records())
            for share in before.values():
                assert set(share.values()) == {2}, "the same flow twice to the same collector"
                # Buckets go by hashes of ports that are drawn anew: 256 of them, a third each, within five sigma.
                assert 500 < len(share) < 1500
            assert sum(map(len, before.values())) == 3000
            assert exporter.stats()["records"] == 6000
            oracle = Oracle(reliable=True)
            for octets in recorded:
                oracle.feed(octets)
            assert (len(oracle.records), len(oracle.options)) == (6000, 1)
            # One goes: its flows move to both others, which keep theirs.
            three.kill()
            tick_until(exporter, lambda: not exporter.collectors[2].connected)
            seen = {name: len(receiver.oracle.records) for name, receiver in receivers.items()}
            exporter.ingest(ports(3000), 3000)
            after = {}
            for name, receiver in receivers.items():
                receiver.read()
                after[name] = sources(receiver.oracle.records[seen[name] :])
                assert set(before[name]) < set(after[name])
            assert sum(map(len, after.values())) == 3000


def test_another_mode_keeps_the_sessions():
    """A reload from replicating to failover and back: who gets records changes at once, and nothing else."""
    with Receiver() as one, StreamReceiver() as two, exporter_to(one.target, two.target) as exporter:
        connect(exporter)
        exporter.ingest(ports(5), 5)
        exporter.reconfigure(replace(exporter.options, targets_mode="failover"), NOW)
        exporter.ingest(ports(5), 5)
        exporter.tick(NOW)
        assert states(exporter) == ["connected", "connected, standby"]
        exporter.reconfigure(replace(exporter.options, targets_mode="replicate"), NOW)
        exporter.ingest(ports(5), 5)
        one.read()
        assert len(one.oracle.records) == 15
        wait_until(lambda: len(two.records()) == 10)
        assert [row["sessions"] for row in exporter.targets()] == [1, 1]
        assert states(exporter) == ["connected", "connected"]


def test_a_file_of_other_options_is_another_file(tmp_path: Path):
    """What a connection was made with has changed: its session ends in order and another begins."""
    path = tmp_path / "flows.ipfix"
    with Receiver() as one, exporter_to(one.target, Target("", 0, "file", str(path))) as exporter:
        connect(exporter)
        exporter.ingest(ports(5), 5)
        rows = exporter.reconfigure(replace(exporter.options, file=FileOptions(keep=1)), NOW)
        assert [row["target"] for row in rows] == [f"file://{path}"]
        connect(exporter)
        exporter.ingest(ports(5), 5)
        wait_until(lambda: len(closed_files(path)) == 1 and path.exists())
        assert exporter.targets()[0]["sessions"] == 1
        one.read()
        assert len(one.oracle.records) == 10
