"""TLS with `openssl s_server` as the collector: who is let in, who is sent to, and what a refusal says (T-46, T-47)."""

import os
from pathlib import Path

import pytest

from exporter import transports
from exporter.errors import ExporterError
from exporter.exporter import Exporter
from exporter.options import ExporterOptions, Target, TlsOptions
from lib.certificates import Authority, fingerprint
from lib.sending import NOW, connect, exporter_to, ports, quick, tick_until
from lib.sslserver import MUTUAL, SslServer
from lib.wait import wait_until

SECOND = 10**9


def refusal(exporter: Exporter) -> str:
    """Tick until the collector is refused by something else than a port that is not open yet; the reason."""

    def reason() -> str:
        state = str(exporter.targets()[0]["state"])
        return "" if "refused" in state and "certificate" not in state else state.partition(": ")[2]

    tick_until(exporter, reason, quick())
    return reason()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("name", ["", "collector.test"])
def test_t46_e090_e092_records_go_to_a_collector_that_is_who_it_should_be(
    version: str, name: str, tmp_path: Path, authority: Authority, collector: tuple[Path, Path]
):
    """RFC 5471 3.7.1, RFC 5471 3.7.2: by its address or name (DNS-ID); both sides have shown a certificate."""
    options = authority.options(server_name=name, fingerprints=(fingerprint(collector[0]),))
    arguments = (*MUTUAL, version, "-naccept", "1")
    with SslServer(tmp_path, authority, collector, arguments=arguments) as server:
        with exporter_to(server.target, tls=options) as exporter:
            connect(exporter, quick())
            flows = ports(1000)
            for _ in range(20):
                exporter.ingest(flows, 1000)
            tick_until(exporter, lambda: len(server.read().records) == 20_000)
            assert exporter.targets()[0]["state"] == "connected"
            assert {endpoint.protocol for endpoint in exporter.endpoints()} == {6}
        wait_until(lambda: server.process.poll() == 0, what="the end of its only session")


@pytest.mark.parametrize(
    ("changes", "identity", "arguments", "reason"),
    [
        ({"server_name": "other.test"}, (), (), "certificate is refused: Hostname mismatch"),
        ({}, ("nameless",), (), "certificate is refused: IP address mismatch"),
        ({}, ("127.0.0.1",), (), "certificate is refused: IP address mismatch"),  # as a common name only
        ({"ca_file": "stranger"}, (), (), "certificate is refused: self-signed certificate in certificate chain"),
        ({}, ("expired", "127.0.0.1"), (), "certificate is refused: certificate has expired"),
        ({"fingerprints": ("ab" * 32,)}, (), (), "certificate is not among tls.fingerprints: it has "),
        ({}, (), ("-tls1_1", "-cipher", "ALL@SECLEVEL=0"), "TLS fails: "),
        ({}, (), ("-tls1_2", "-cipher", "NULL@SECLEVEL=0"), "TLS fails: sslv3 alert handshake failure"),
        ({"certificate": "stranger", "key": "stranger"}, (), ("-tls1_2",), "TLS fails: tlsv1 alert unknown ca"),
        ({"certificate": "stranger", "key": "stranger"}, (), ("-tls1_3",), "TLS fails: tlsv1 alert unknown ca"),
    ],
)
def test_t47_e091_e092_e093_e094_no_octet_goes_to_a_collector_that_is_not(
    changes: dict[str, object],
    identity: tuple[str, ...],
    arguments: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    authority: Authority,
    collector: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
):
    """RFC 5471 3.7.7: wrong name, authority, age or certificate; it is logged (RFC 7011 11.6).

    And a version or cipher that RFC 7011 11 or RFC 8996 rule out.
    """
    stranger = Authority(tmp_path, "stranger")
    certificate, key = stranger.issue("unknown", "exporter.test")
    strange = {"ca_file": stranger.file, "certificate": certificate, "key": key}
    chosen = {name: str(strange[name]) if value == "stranger" else value for name, value in changes.items()}
    shown = authority.issue(*identity, expired="expired" in identity) if identity else collector
    with (
        SslServer(tmp_path, authority, shown, arguments=(*MUTUAL, *arguments)) as server,
        exporter_to(server.target, tls=authority.options(**chosen)) as exporter,
    ):
        assert reason in refusal(exporter)
        assert f"collector {server.target} cannot be reached: " in caplog.text and reason in caplog.text
        exporter.ingest(ports(10), 10)
        exporter.tick(NOW)
        assert server.octets == b""
        row = exporter.targets()[0]
        assert (row["sessions"], row["records_lost_no_session"]) == (0, 10)


def test_t33_over_tls_a_collector_that_comes_back_gets_a_session_of_its_own(
    tmp_path: Path, authority: Authority, collector: tuple[Path, Path]
):
    """RFC 5471 3.6.3."""
    with SslServer(tmp_path, authority, collector) as first:
        exporter = exporter_to(first.target, tls=authority.options(), reconnect_interval=1)
        connect(exporter, quick())
        exporter.ingest(ports(10), 10)
        tick_until(exporter, lambda: len(first.read().records) == 10)
    with exporter:
        tick_until(exporter, lambda: not exporter.collectors[0].connected)
        with SslServer(tmp_path, authority, collector, port=first.port) as second:
            connect(exporter, quick())
            exporter.ingest(ports(7), 7)
            tick_until(exporter, lambda: len(second.read().records) == 7)
            assert exporter.targets()[0]["reconnects"] == 1


TARGETS = (Target("192.0.2.1", 4740, "tls"),)


def check(options: TlsOptions) -> list[str]:
    return transports.check(ExporterOptions(targets=TARGETS, tls=options), "exporter")


def test_files_are_looked_at_before_they_are_needed(tmp_path: Path, authority: Authority):
    """What is missing or does not fit is told with its key; a key that everybody can read is warned of."""
    good = authority.options()
    assert check(good) == []
    assert transports.check(ExporterOptions(targets=(Target("192.0.2.1"),)), "exporter") == []
    other, other_key = authority.issue("other")
    secret = tmp_path / "secret.key"
    command = f"openssl ec -in {other_key} -aes128 -passout pass:x -out {secret} 2> {os.devnull}"
    assert os.system(command) == 0
    values = vars(good)
    for changes, sentence in [
        ({"certificate": ""}, "exporter.tls.certificate is missing: targets of tls://"),
        ({"key": ""}, "exporter.tls.key is missing"),
        ({"ca_file": "/nowhere"}, 'exporter.tls.ca_file = "/nowhere": No such file or directory: give a PEM file'),
        ({"ca_file": str(secret)}, f'exporter.tls.ca_file = "{secret}": no certificate in it'),
        ({"key": str(other_key)}, f'exporter.tls.key = "{other_key}": not the key of {good.certificate}'),
        ({"key": good.certificate}, "private key without a passphrase, both PEM"),
        ({"certificate": str(other), "key": str(secret)}, "private key without a passphrase, both PEM"),
    ]:
        with pytest.raises(ExporterError) as caught:
            check(TlsOptions(**(values | changes)))
        assert sentence in str(caught.value)
    Path(good.key).chmod(0o644)
    assert check(good) == [f'exporter.tls.key = "{good.key}": everybody can read it: chmod o-r {good.key}']
