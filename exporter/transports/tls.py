"""TLS over TCP (RFC 7011 section 11): both sides prove who they are before the first octet of IPFIX."""

import errno
import hashlib
import ssl
from contextlib import suppress
from pathlib import Path

from exporter.errors import ExporterError
from exporter.options import Target, TlsOptions
from exporter.transports.tcp import READ_SIZE, Tcp, connected_socket

# TLS 1.3 says that it refuses our certificate only after its handshake: so many seconds we listen for that.
REFUSAL_TIMEOUT = 0.5
OTHERS_READ = 0o004


class Tls(Tcp):
    """A TLS session on a connected socket, both without blocking."""

    _socket: ssl.SSLSocket

    def _write(self, octets: memoryview) -> int:
        try:
            return self._socket.send(octets)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None
        except ssl.SSLError as error:
            raise tls_error(error) from error

    def _read(self) -> bytes:
        try:
            return self._socket.recv(READ_SIZE)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None
        except ssl.SSLError as error:
            raise tls_error(error) from error

    def close(self) -> None:
        """Say so inside TLS, then as TCP does."""
        with suppress(OSError, ValueError):
            self._socket.unwrap()
        self._socket.close()


def tls_error(error: ssl.SSLError) -> OSError:
    """Say what failed in a clause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return OSError(errno.EPROTO, f"its certificate is refused: {error.verify_message.rstrip('.')}")
    return OSError(errno.EPROTO, f"TLS fails: {(error.reason or str(error)).lower().replace('_', ' ')}")


def client_context(options: TlsOptions) -> ssl.SSLContext:
    """What we ask of collectors: TLS 1.2 or later, a certificate of our authorities, for the right name. OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the certificate and the name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if options.ca_file:
        context.load_verify_locations(options.ca_file)
    else:
        context.load_default_certs()
    # Never asks for a passphrase on a terminal.
    context.load_cert_chain(options.certificate, options.key, password=lambda: b"")
    return context


def check_fingerprint(certificate: bytes, options: TlsOptions) -> None:
    """OSError if the collector's certificate (DER) is none of those that are allowed."""
    fingerprint = hashlib.sha256(certificate).hexdigest()
    if options.fingerprints and fingerprint not in options.fingerprints:
        raise OSError(errno.EPROTO, f"its certificate is not among tls.fingerprints: it has {fingerprint}")


def open_tls(target: Target, options: TlsOptions) -> Tls:
    """Connect, shake hands and verify. OSError; blocks."""
    try:
        context = client_context(options)
    except ssl.SSLError as error:
        raise tls_error(error) from error
    with connected_socket(target) as sock:
        try:
            session = context.wrap_socket(sock, server_hostname=options.server_name or target.host.partition("%")[0])
        except ssl.SSLError as error:
            raise tls_error(error) from error
    try:
        check_fingerprint(session.getpeercert(binary_form=True) or b"", options)
        _await_refusal(session)
    except OSError:
        session.close()
        raise
    return Tls(session)


def _await_refusal(session: ssl.SSLSocket) -> None:
    session.settimeout(REFUSAL_TIMEOUT)
    try:
        if not session.recv(1):
            raise OSError(errno.ECONNRESET, "the collector has closed the connection: does it accept our certificate?")
    except TimeoutError:
        pass
    except ssl.SSLError as error:
        raise tls_error(error) from error
    session.setblocking(False)


def check_files(options: TlsOptions, path: str) -> list[str]:
    """Read certificates and key as a connection will; give sentences of warning. `path` is of the table, in errors.

    Raises:
        ExporterError: something is not given, cannot be read or does not fit together.

    """
    for name in ("certificate", "key"):
        if not getattr(options, name):
            raise ExporterError(
                f"{path}.{name} is missing: targets of tls:// and dtls:// need our certificate and its key, for "
                "collectors ask who sends (RFC 7011 section 11.3)"
            )
    for name in ("ca_file", "certificate", "key"):
        file = getattr(options, name)
        try:
            if file:
                Path(file).read_bytes()
        except OSError as error:
            way_out = "give a PEM file that xdpfix's user can read"
            raise ExporterError(f'{path}.{name} = "{file}": {error.strerror}: {way_out}') from None
    _check_contents(options, path)
    if Path(options.key).stat().st_mode & OTHERS_READ:
        return [f'{path}.key = "{options.key}": everybody can read it: chmod o-r {options.key}']
    return []


def _check_contents(options: TlsOptions, path: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if options.ca_file:
            context.load_verify_locations(options.ca_file)
    except ssl.SSLError:
        raise ExporterError(f'{path}.ca_file = "{options.ca_file}": no certificate in it: give a PEM file') from None
    try:
        context.load_cert_chain(options.certificate, options.key, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ExporterError(
                f'{path}.key = "{options.key}": not the key of {options.certificate}: give the one it was made with'
            ) from None
        raise ExporterError(
            f"{path}.certificate and .key: {options.certificate} and {options.key} must be a certificate and its "
            "private key without a passphrase, both PEM"
        ) from None
