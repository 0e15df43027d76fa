"""DTLS over UDP (RFC 7011 section 11), by pyOpenSSL: the session and its timers here, datagrams by our own socket."""

import errno
import ipaddress
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from exporter.options import Target, TlsOptions
from exporter.transports.attempt import Attempt
from exporter.transports.connection import (
    CONNECT_TIMEOUT,
    UDP_PROTOCOL,
    Connection,
    DisconnectedError,
    Endpoint,
    Outgoing,
    both_directions,
    peer_name,
    socket_endpoint,
)
from exporter.transports.tls import check_fingerprint
from exporter.transports.udp import connected_socket, payload_limit

DTLS1_2_VERSION = 0xFEFD
RECORD_HEADER = 13  # octets: type, version, epoch, sequence number, length (RFC 6347 section 4.1)
DATAGRAM = 65535
SMALLEST_PAYLOAD = 576 - 28  # of UDP, where no path has a smaller MTU
READS = 16  # datagrams that a check takes

# A collector that was restarted drops what it cannot decipher without a word: so often a new session is tried.
RENEW_NS = 600 * 10**9


class Dtls(Connection):
    """A session on a connected socket, both without blocking. Like UDP it loses messages without saying so.

    `renew` makes another one of the same kind, and may block.
    """

    reliable = False

    def __init__(self, sock: socket.socket, session: SSL.Connection, renew: Callable[[], "Dtls"]) -> None:
        self.peer = peer_name(sock)
        self._socket = sock
        self._session = session
        self._renew = renew
        self._renewal: Attempt | None = None
        self._renew_ns: int | None = None
        self._payload = 0
        self._rest: list[bytes] = []  # datagrams that the socket does not take yet

    @property
    def holds(self) -> bool:
        """Whether the socket has not taken all."""
        return bool(self._rest)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Data there, the collector's side of the handshake and alerts back."""
        return both_directions(socket_endpoint(self._socket, UDP_PROTOCOL))

    def message_limit(self) -> int | None:
        """What the path takes, less what DTLS puts around a message."""
        payload = payload_limit(self._socket)
        if payload is not None and payload != self._payload:
            self._payload = max(payload, SMALLEST_PAYLOAD)
            self._session.set_ciphertext_mtu(self._payload)
        return self._session.get_cleartext_mtu() if self._payload else None

    def send(self, message: Outgoing) -> None:
        """One message, one record, one datagram."""
        if not self.flush():
            raise BlockingIOError
        try:
            self._session.send(message.octets)
        except SSL.Error as error:
            if len(message.octets) > (self.message_limit() or 0):
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE)) from None
            raise DisconnectedError(errno.EPROTO, dtls_sentence(error)) from error
        self._rest += datagrams(_outgoing(self._session), self._payload)
        self.flush()

    def flush(self) -> bool:
        """Send what DTLS has to say. OSError: not this datagram."""
        while self._rest:
            try:
                self._socket.send(self._rest[0])
            except BlockingIOError:
                return False
            except ConnectionRefusedError as error:
                raise self._refused(error) from None
            except OSError:
                self._rest.pop(0)
                raise
            self._rest.pop(0)
        return True

    def check(self, now_ns: int) -> None:
        """Take what the collector says, and notice that it is gone."""
        try:
            for _ in range(READS):
                self._session.bio_write(self._socket.recv(DATAGRAM))
                with suppress(SSL.WantReadError):
                    self._session.recv(DATAGRAM)
        except BlockingIOError:
            pass
        except ConnectionRefusedError as error:
            raise self._refused(error) from None
        except SSL.ZeroReturnError:
            raise DisconnectedError(errno.ECONNRESET, "the collector has closed the session") from None
        except SSL.Error as error:
            raise DisconnectedError(errno.EPROTO, dtls_sentence(error)) from error
        self._rest += datagrams(_outgoing(self._session), self._payload)
        self.flush()
        self._look_for_successor(now_ns)

    def _refused(self, error: OSError) -> OSError:
        """Nobody listens, which ends the session, unless a new one is being tried: then that decides."""
        return error if self._renewal is not None else DisconnectedError(error.errno, error.strerror)

    def _look_for_successor(self, now_ns: int) -> None:
        if self._renew_ns is None:
            self._renew_ns = now_ns + RENEW_NS
        if self._renewal is None and now_ns >= self._renew_ns:
            self._renewal = Attempt(self._renew, f"renew {self.peer}")

    def successor(self, now_ns: int) -> Connection | None:
        """Return the new session when there is one; that it failed means that the collector is gone."""
        if self._renewal is None or not self._renewal.done():
            return None
        renewal, self._renewal = self._renewal, None
        try:
            connection = renewal.take()
        except OSError as error:
            raise DisconnectedError(error.errno, error.strerror or str(error)) from error
        self.close()
        return connection

    def close(self) -> None:
        """Say so inside DTLS, then close the socket."""
        if self._renewal is not None:
            self._renewal.cancel()
        with suppress(SSL.Error, OSError):
            self._session.shutdown()
            for datagram in datagrams(_outgoing(self._session), self._payload):
                self._socket.send(datagram)
        self._socket.close()


def _outgoing(session: SSL.Connection) -> bytes:
    """Records that the session wants to send, one behind the other."""
    octets = b""
    with suppress(SSL.WantReadError):
        while True:
            octets += session.bio_read(DATAGRAM)
    return octets


def datagrams(records: bytes, limit: int) -> Iterator[bytes]:
    """Cut records of DTLS into datagrams of at most `limit` octets, as many records in each as fit."""
    datagram = b""
    while records:
        length = RECORD_HEADER + int.from_bytes(records[RECORD_HEADER - 2 : RECORD_HEADER], "big")
        if datagram and len(datagram) + length > limit:
            yield datagram
            datagram = b""
        datagram += records[:length]
        records = records[length:]
    if datagram:
        yield datagram


def dtls_sentence(error: SSL.Error) -> str:
    """Say what failed in a clause."""
    reasons = [reason for _, _, reason in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    if "certificate verify failed" in reasons:
        return "its certificate is refused: not of the authorities that we trust, or not valid now"
    return f"DTLS fails: {', '.join(reasons) or error}"


def client_context(options: TlsOptions) -> SSL.Context:
    """Ask for DTLS 1.2 or later and a certificate of our authorities. SSL.Error."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_min_proto_version(DTLS1_2_VERSION)
    context.set_options(SSL.OP_NO_QUERY_MTU)  # we say what it is
    context.set_cipher_list(b"DEFAULT:!aNULL:!eNULL")
    # Without a callback of ours, which would take memory that is both written and executed.
    context.set_verify(SSL.VERIFY_PEER)
    if options.ca_file:
        context.load_verify_locations(options.ca_file)
    else:
        context.set_default_verify_paths()
    context.use_certificate_chain_file(options.certificate)
    context.use_privatekey_file(options.key)
    return context


def open_dtls(target: Target, options: TlsOptions) -> Dtls:
    """Connect, shake hands and verify. OSError; blocks."""
    sock = connected_socket(target)
    try:
        session = SSL.Connection(client_context(options), None)
        session.set_connect_state()
        name = options.server_name or target.host.partition("%")[0]
        if not _is_address(name):
            session.set_tlsext_host_name(name.encode())
        _shake_hands(session, sock)
        _verify(session, name, options)
    except SSL.Error as error:
        sock.close()
        raise OSError(errno.EPROTO, dtls_sentence(error)) from error
    except OSError:
        sock.close()
        raise
    return Dtls(sock, session, lambda: open_dtls(target, options))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _shake_hands(session: SSL.Connection, sock: socket.socket) -> None:
    """Send the flights, again by DTLS's timer where no answer comes (RFC 6347 section 4.2.4). OSError, SSL.Error."""
    limit = max(payload_limit(sock) or 0, SMALLEST_PAYLOAD)
    session.set_ciphertext_mtu(limit)
    deadline = time.monotonic() + CONNECT_TIMEOUT
    while True:
        done = False
        with suppress(SSL.WantReadError):
            session.do_handshake()
            done = True
        for datagram in datagrams(_outgoing(session), limit):
            sock.send(datagram)
        if done:
            return
        left = deadline - time.monotonic()
        if left < 0:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        timeout = session.DTLSv1_get_timeout()
        # poll(2): a sampler of hundreds of interfaces has descriptors beyond what select(2) can name.
        answers = select.poll()
        answers.register(sock, select.POLLIN)
        if answers.poll(1000 * (left if timeout is None else min(timeout, left))):
            session.bio_write(sock.recv(DATAGRAM))
        else:
            session.DTLSv1_handle_timeout()


def _verify(session: SSL.Connection, name: str, options: TlsOptions) -> None:
    """OSError if the certificate is for somebody else (RFC 7011 section 11.3)."""
    try:
        if _is_address(name):
            verify_ip_address(session, name)
        else:
            verify_hostname(session, name)
    except (VerificationError, CertificateError):
        raise OSError(errno.EPROTO, f"its certificate is refused: it is not for {name}") from None
    certificate = session.get_peer_certificate()
    assert certificate is not None  # it was verified
    check_fingerprint(dump_certificate(FILETYPE_ASN1, certificate), options)
