"""DTLS with `openssl s_server` as the collector: identities, lost flights, the path MTU, restarts (T-46, T-47)."""

import os
import resource
import socket
import sys
import threading
from pathlib import Path

import pytest

from exporter import transports
from exporter.errors import ExporterError
from exporter.exporter import Exporter
from exporter.options import ExporterOptions, Target
from exporter.transports import dtls
from lib.certificates import Authority, fingerprint
from lib.sending import NOW, connect, exporter_to, ports, quick, tick_until
from lib.sslserver import MUTUAL, SslServer

SECOND = 10**9
# Records of a certificate's chain in flight are cut for this path.
SMALL_MTU = 600


def deliver(exporter: Exporter, server: SslServer, number: int) -> None:
    """Send so many records and wait until they are there; slowly, for nothing holds UDP up."""
    seen = len(server.read().records)
    for start in range(0, number, 100):
        count = min(100, number - start)
        exporter.ingest(ports(count), count)
        due = seen + start + count
        tick_until(exporter, lambda due=due: len(server.read().records) == due)


@pytest.mark.parametrize("name", ["", "collector.test"])
def test_t46_e090_e092_records_go_to_a_collector_that_is_who_it_should_be(
    name: str, tmp_path: Path, authority: Authority, collector: tuple[Path, Path]
):
    """RFC 5471 3.7.1, RFC 5471 3.7.3: DTLS 1.2, by its address or by its name; templates in two copies as over UDP."""
    options = authority.options(server_name=name, fingerprints=(fingerprint(collector[0]),))
    with (
        SslServer(tmp_path, authority, collector, "dtls") as server,
        exporter_to(server.target, tls=options) as exporter,
    ):
        connect(exporter, quick())
        deliver(exporter, server, 500)
        oracle = server.read()
        copies = [t.id for message in oracle.messages for t in message.templates]
        assert copies and all(copies.count(identifier) >= 2 for identifier in copies)
        there, back = exporter.endpoints()
        assert (there.protocol, there.destination_port, back.source_port) == (17, server.port, server.port)
        # The longest message and DTLS around it fit the path: loopback's MTU is larger than a record can be.
        assert 2**14 <= exporter.collectors[0].message_limit() < 65536


def test_a_session_has_any_descriptor(tmp_path: Path, authority: Authority, collector: tuple[Path, Path]):
    """Each sampled interface has two: a sampler of 600 is beyond 1023, where select(2) ends."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2048), limits[1]))
    first = os.open("/dev/null", os.O_RDONLY)
    taken = [os.dup(first) for _ in range(1024)]
    try:
        with (
            SslServer(tmp_path, authority, collector, "dtls") as server,
            exporter_to(server.target, tls=authority.options()) as exporter,
        ):
            connect(exporter, quick())
            deliver(exporter, server, 100)
    finally:
        for descriptor in (first, *taken):
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("changes", "identity", "arguments", "reason"),
    [
        ({"server_name": "other.test"}, (), (), "certificate is refused: it is not for other.test"),
        ({}, ("nameless",), (), "certificate is refused: it is not for 127.0.0.1"),
        ({"ca_file": "stranger"}, (), (), "certificate is refused: not of the authorities"),
        (
            {},
            ("expired", "127.0.0.1"),
            (),
            "certificate is refused: not of the authorities that we trust, or not valid",
        ),
        ({"fingerprints": ("ab" * 32,)}, (), (), "certificate is not among tls.fingerprints: it has "),
        ({}, (), ("-dtls1", "-cipher", "ALL@SECLEVEL=0"), "DTLS fails: "),
        ({"certificate": "stranger", "key": "stranger"}, (), (), "DTLS fails: "),
    ],
)
def test_t47_e091_e092_e093_no_octet_goes_to_a_collector_that_is_not(
    changes: dict[str, object],
    identity: tuple[str, ...],
    arguments: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    authority: Authority,
    collector: tuple[Path, Path],
):
    """RFC 5471 3.7.7."""
    stranger = Authority(tmp_path, "stranger")
    certificate, key = stranger.issue("unknown", "exporter.test")
    strange = {"ca_file": stranger.file, "certificate": certificate, "key": key}
    chosen = {name: str(strange[name]) if value == "stranger" else value for name, value in changes.items()}
    shown = authority.issue(*identity, expired="expired" in identity) if identity else collector
    with (
        SslServer(tmp_path, authority, shown, "dtls", (*MUTUAL, *arguments)) as server,
        exporter_to(server.target, tls=authority.options(**chosen)) as exporter,
    ):
        exporter.tick(NOW)
        moments = quick()

        def refused() -> bool:
            state = str(exporter.targets()[0]["state"])
            return ": " in state and "Connection refused" not in state

        tick_until(exporter, refused, moments)
        assert reason in str(exporter.targets()[0]["state"])
        exporter.ingest(ports(10), 10)
        exporter.tick(NOW)
        assert server.octets == b""
        assert exporter.targets()[0]["sessions"] == 0


def test_t33_a_collector_that_comes_back_gets_a_session_of_its_own(
    tmp_path: Path, authority: Authority, collector: tuple[Path, Path]
):
    """RFC 5471 3.6.3: ICMP says that it is gone; what was sent by then is lost, as over UDP."""
    with SslServer(tmp_path, authority, collector, "dtls") as first:
        exporter = exporter_to(first.target, tls=authority.options(), reconnect_interval=1)
        connect(exporter, quick())
        deliver(exporter, first, 10)
    with exporter:
        exporter.ingest(ports(1), 1)
        tick_until(exporter, lambda: not exporter.collectors[0].connected)
        assert exporter.targets()[0]["disconnects"] == 1
        with SslServer(tmp_path, authority, collector, "dtls", port=first.port) as second:
            connect(exporter, quick())
            deliver(exporter, second, 7)
            assert second.read().messages[0].sequence == 0
            assert exporter.targets()[0]["reconnects"] == 1


class Middle:
    """A path between exporter and collector that drops chosen datagrams, by their number from 0, each way."""

    def __init__(self, port: int, there: set[int] = frozenset(), back: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self._front, self._rear = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._front.bind(("127.0.0.1", 0))
        self._rear.connect(("127.0.0.1", port))
        self.target = Target("127.0.0.1", self._front.getsockname()[1], "dtls")
        self.longest = 0
        self._exporter: tuple[str, int] | None = None
        for sock, drop in ((self._front, there), (self._rear, back)):
            sock.settimeout(0.05)
            threading.Thread(target=self._pass, args=(sock, drop), daemon=True).start()

    def _pass(self, sock: socket.socket, drop: set[int]) -> None:
        number = 0
        while sock.fileno() >= 0:
            try:
                octets, sender = sock.recvfrom(65535)
                if sock is self._front:
                    self._exporter = sender
                    self.longest = max(self.longest, len(octets))
                if number not in drop:
                    if sock is self._front:
                        self._rear.send(octets)
                    elif self._exporter is not None:
                        self._front.sendto(octets, self._exporter)
                number += 1
            except (TimeoutError, ConnectionRefusedError):
                continue
            except OSError:  # closed
                return

    def close(self) -> None:
        self._front.close()
        self._rear.close()


@pytest.mark.parametrize(("there", "back"), [({1}, set()), (set(), {1})])
def test_lost_flights_are_sent_again(
    there: set[int],
    back: set[int],
    tmp_path: Path,
    authority: Authority,
    collector: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
):
    """RFC 6347 4.2.4, by the timer; certificates go in pieces that the path takes."""
    monkeypatch.setattr(dtls, "payload_limit", lambda sock: SMALL_MTU)
    with SslServer(tmp_path, authority, collector, "dtls") as server:
        middle = Middle(server.port, there, back)
        with exporter_to(middle.target, tls=authority.options(), message_size=1400) as exporter:
            tick_until(exporter, lambda: exporter.collectors[0].connected, quick())
            assert exporter.collectors[0].message_limit() < SMALL_MTU
            deliver(exporter, server, 50)
            assert SMALL_MTU - 100 < middle.longest <= SMALL_MTU
        middle.close()


def test_a_session_is_renewed_for_a_collector_may_have_forgotten_it(
    tmp_path: Path, authority: Authority, collector: tuple[Path, Path]
):
    """One that was restarted between two messages drops what it cannot decipher, and nothing says so."""
    with SslServer(tmp_path, authority, collector, "dtls") as first:
        # No templates fall due meanwhile: s_server ends at a datagram that is no handshake.
        exporter = exporter_to(first.target, tls=authority.options(), template_interval=3600)
        connect(exporter, quick())
        deliver(exporter, first, 10)
        began = NOW + 3600 * SECOND
        exporter.tick(began)
    with exporter, SslServer(tmp_path, authority, collector, "dtls", port=first.port) as second:
        moments = iter(range(began + dtls.RENEW_NS, began + 2 * dtls.RENEW_NS, 10**6))
        tick_until(exporter, lambda: exporter.targets()[0]["sessions"] == 2, moments)
        deliver(exporter, second, 5)
        assert second.read().messages[0].sequence == 0


def test_without_the_packages_the_configuration_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "exporter.transports.dtls")
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    with pytest.raises(
        ExporterError, match=r"dtls:// needs pyOpenSSL and service-identity .*: install .*xdpfix\[dtls\]"
    ):
        transports.check(ExporterOptions(targets=(Target("192.0.2.1", 4740, "dtls"),)), "exporter")
