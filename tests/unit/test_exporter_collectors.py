"""Collectors over real sockets on loopback: several at once, dead ones, late ones, full ones, names."""

import errno
import os
import resource
import socket

import pytest

from exporter.catalog import Catalog
from exporter.collectors import RETRY_DELAY_NS, Collector
from exporter.errors import ExporterError
from exporter.exporter import Exporter
from exporter.options import ExporterOptions, Target
from exporter.outbox import QUEUE_LIMIT
from exporter.profiles import OVS
from exporter.session import REFUSED_DELAY_NS, Session
from exporter.transports.connection import Outgoing
from exporter.transports.udp import Udp
from lib.receiver import Receiver
from lib.sending import NOW, exporter_to, free_port, ports, tick_until
from lib.wait import wait_until


def new_session(reliable: bool) -> Session:
    catalog = Catalog(OVS.templates, OVS.whole, 0)
    return Session(catalog, 600 * 10**9, 600 * 10**9, reliable=reliable)


class Stuck(Udp):
    """A socket pair in the place of a UDP socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.batch_fd = sock.fileno()

    def message_limit(self) -> int | None:
        return None


def test_two_collectors_and_a_dead_one_over_ipv4_and_ipv6():
    """Both living ones get every record; the dead one's refusals are counted and disturb nobody."""
    dead = Target("127.0.0.1", free_port())
    with Receiver() as four, Receiver("::1") as six, exporter_to(four.target, dead, six.target) as exporter:
        for step in range(20):
            exporter.tick(NOW + step * 10**9)
            exporter.ingest(ports(100), 100)
        for receiver in (four, six):
            receiver.read()
            assert len(receiver.oracle.records) == 2000
        rows = {row["target"]: row for row in exporter.targets()}
        records = 2000 + len(four.oracle.options)
        assert rows[str(four.target)]["records_sent"] == rows[str(six.target)]["records_sent"] == records
        assert rows[str(dead)]["refusals"] > 0
        refused = exporter.collectors[1]
        assert refused.connected
        lost = sum(number for name, number in refused.counters.items() if name.startswith("records_lost"))
        assert refused.counters["records_sent"] + lost == refused.session.sequence(0) >= 2001


def test_a_collector_that_comes_late_gets_templates_soon():
    """Nobody listened when the templates went out; refusals make them go out again."""
    port = free_port()
    with exporter_to(Target("127.0.0.1", port)) as exporter:
        exporter.tick(NOW)
        for step in range(3):
            exporter.ingest(ports(100), 100)
            exporter.tick(NOW + step)
        assert exporter.targets()[0]["refusals"] > 0
        with Receiver("127.0.0.1", port, strict_sequence=False) as late:
            exporter.tick(NOW + REFUSED_DELAY_NS + 10)
            exporter.ingest(ports(5), 5)
            late.read()
            assert len(late.oracle.records) == 5


def test_a_host_name_is_resolved_in_the_background():
    with Receiver() as receiver, exporter_to(Target("localhost", receiver.target.port)) as exporter:
        clock = iter(range(NOW, NOW + 10**12, 10**7))

        def connected() -> bool:
            exporter.tick(next(clock))
            return exporter.collectors[0].connected

        wait_until(connected)
        assert exporter.endpoints()[0].destination_port == receiver.target.port


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"])
def test_a_start_that_fails_is_tried_again_after_a_delay(host: str, caplog: pytest.LogCaptureFixture):
    collector = Collector(Target(host), new_session)
    wait_until(lambda: collector.start(NOW) or collector.counters["start_errors"])
    assert collector.error and not collector.connected
    assert f"collector {collector.target} cannot be reached: {collector.error}; trying again in 10 s" in caplog.text
    assert not collector.start(NOW + RETRY_DELAY_NS - 1)
    assert collector.counters["start_errors"] == 1
    wait_until(lambda: collector.start(NOW + RETRY_DELAY_NS) or collector.counters["start_errors"] == 2)
    collector.close()


def test_a_socket_that_cannot_be_made_is_a_failed_start():
    """No free descriptor, or an IPv6 target where the kernel has no IPv6: told and tried again, never raised."""
    collector = Collector(Target("127.0.0.1"), new_session)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        assert not collector.start(NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert collector.counters["start_errors"] == 1
    assert collector.error == os.strerror(errno.EMFILE)
    assert collector.start(NOW + RETRY_DELAY_NS)
    collector.close()


def test_records_before_a_session_are_counted_as_lost():
    with exporter_to(Target("nowhere.invalid")) as exporter:
        exporter.tick(NOW)
        exporter.ingest(ports(10), 10)
        assert exporter.targets()[0]["records_lost_no_session"] == 10


def test_a_socket_that_takes_nothing_fills_a_bounded_queue():
    """The other collector gets everything meanwhile; what waited goes out, in order, when the socket takes it."""
    with Receiver() as stuck, Receiver() as well, exporter_to(stuck.target, well.target) as exporter:
        exporter.tick(NOW)
        collector = exporter.collectors[0]
        # A socket pair with a full buffer says EAGAIN as a UDP socket with a full one does.
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        sendable, collector.outbox.connection = collector.outbox.connection, Stuck(near)
        with pytest.raises(BlockingIOError):
            while True:
                near.send(b"full")
        for _ in range(20):
            exporter.ingest(ports(1000), 1000)
            well.read()
        row = exporter.targets()[0]
        assert len(collector.outbox._queue) == QUEUE_LIMIT
        assert row["records_waiting"] + row["records_lost_queue"] == 20_000
        assert len(well.oracle.records) == 20_000
        near.close()
        far.close()
        collector.outbox.connection = sendable
        collector.drain(NOW)
        stuck.read()
        assert len(stuck.oracle.records) == row["records_waiting"]
        assert exporter.targets()[0]["records_waiting"] == 0


def test_a_loss_is_told_once_a_minute_with_its_reason(caplog: pytest.LogCaptureFixture):
    """And the reason goes when messages go out again."""
    with Receiver() as well, exporter_to(well.target) as exporter:
        exporter.tick(NOW)
        collector = exporter.collectors[0]
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.setblocking(False)
        far.close()  # ECONNREFUSED once, ENOTCONN from then on
        sendable, collector.outbox.connection = collector.outbox.connection, Stuck(near)
        for second in range(70):
            exporter.ingest(ports(10), 10)
            exporter.tick(NOW + second * 10**9)
        told = [record.message for record in caplog.records if "lost" in record.message]
        assert len(told) == 2
        assert all("Transport endpoint is not connected" in sentence for sentence in told)
        assert "Transport endpoint is not connected" in exporter.targets()[0]["state"]
        near.close()
        collector.outbox.connection = sendable
        exporter.ingest(ports(10), 10)
        assert exporter.targets()[0]["state"] == "connected"


def test_stopping_counts_what_waits():
    collector = Collector(Target("127.0.0.1", free_port()), new_session)
    assert collector.start(NOW)
    collector.outbox.put(Outgoing(b"message", 3))
    collector.close()
    assert collector.counters["records_lost_queue"] == 3


@pytest.mark.parametrize(("option", "value"), [("profile", "netflow"), ("counts", "half")])
def test_an_unknown_option_is_refused_by_name(option: str, value: str):
    with pytest.raises(ExporterError, match=f'{option} "{value}" is unknown: take'):
        Exporter(ExporterOptions(**{option: value}))


def test_e080_without_sctp_in_the_kernel_the_error_says_what_to_load():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError as error:
        assert error.errno == errno.EPROTONOSUPPORT
    else:
        pytest.skip("this kernel has SCTP: tests/modules/test_sctp.py shows it")
    with exporter_to(Target("192.0.2.1", 4739, "sctp")) as exporter:
        tick_until(exporter, lambda: exporter.targets()[0]["start_errors"])
        state = "not connected: this kernel has no SCTP: load it by `modprobe sctp`, or take tcp://"
        assert exporter.targets()[0]["state"] == state
