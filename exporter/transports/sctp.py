"""SCTP, one association a collector: all on stream 0, data with partial reliability (RFC 7011 section 10.2)."""

import errno
import socket
import struct
from collections import deque

from exporter._native import lib
from exporter.options import Target
from exporter.transports.connection import (
    CONNECT_TIMEOUT,
    SCTP_PROTOCOL,
    TRIM_AT,
    Connection,
    DisconnectedError,
    Endpoint,
    Outgoing,
    both_directions,
    connect_first,
    peer_name,
    resolve,
    socket_endpoint,
)

# Linux, <linux/sctp.h>.
SCTP_STATUS = 14  # socket option
SCTP_PRINFO = 5  # control message
SCTP_PR_SCTP_TTL = 0x10  # policy
PRINFO = struct.Struct("=HxxI")  # policy, value in ms
STATUS = struct.Struct("=iiIHH")  # id, state, window, chunks unacknowledged, chunks pending; more follows
STATUS_SIZE = 176

# Data that has not arrived after so long is given up, and room made for later data. Templates are never given up.
LIFETIME_MS = 30_000


class Sctp(Connection):
    """A connected socket of one-to-one style. Ordered, and reliable but for data that is too old."""

    def __init__(self, sock: socket.socket) -> None:
        self.peer = peer_name(sock)
        self._socket = sock
        self._kept: deque[Outgoing] = deque()
        self._abandoned = 0

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Data there, acknowledgements back, between the first addresses of both."""
        return both_directions(socket_endpoint(self._socket, SCTP_PROTOCOL))

    def send(self, message: Outgoing) -> None:
        """One message, stream 0."""
        control = []
        if message.records:
            control.append((socket.IPPROTO_SCTP, SCTP_PRINFO, PRINFO.pack(SCTP_PR_SCTP_TTL, LIFETIME_MS)))
        try:
            self._socket.sendmsg([message.octets], control)
        except BlockingIOError:
            raise
        except OSError as error:
            raise DisconnectedError(error.errno, error.strerror) from error
        self._kept.append(message)
        if len(self._kept) % TRIM_AT == 0:
            self._trim()

    def check(self, now_ns: int) -> None:
        """Notice that the association has ended."""
        self._trim()
        try:
            if not self._socket.recv(1):
                raise DisconnectedError(errno.ECONNRESET, "the collector has closed the association")
        except BlockingIOError:
            pass
        except DisconnectedError:
            raise
        except OSError as error:
            raise DisconnectedError(error.errno, error.strerror) from error

    def _trim(self) -> None:
        """Forget what is acknowledged: at most as many messages as chunks are under way may not be."""
        try:
            status = STATUS.unpack_from(self._socket.getsockopt(socket.IPPROTO_SCTP, SCTP_STATUS, STATUS_SIZE))
        except OSError:  # no association any more
            return
        under_way = status[3] + status[4]
        while len(self._kept) > under_way:
            self._kept.popleft()

    def abandoned(self) -> int:
        """Messages that were given up for their age since this was last asked."""
        before, self._abandoned = self._abandoned, max(self._abandoned, lib.sctp_abandoned(self._socket.fileno()))
        return self._abandoned - before

    def unacknowledged(self) -> list[Outgoing]:
        """Return messages of which the last look found chunks under way."""
        self._trim()
        return list(self._kept)

    def close(self) -> None:
        """SHUTDOWN behind what the kernel holds."""
        self._socket.close()


def open_sctp(target: Target) -> Sctp:
    """Resolve and connect to the first address that accepts. OSError; blocks."""
    addresses = resolve(target.host, target.port, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    return Sctp(connect_first(addresses, _connect))


def _connect(family: int, address: tuple[str, int]) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_SCTP)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise OSError(error.errno, "this kernel has no SCTP: load it by `modprobe sctp`, or take tcp://") from None
        raise
    try:
        sock.settimeout(CONNECT_TIMEOUT)
        sock.connect(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
