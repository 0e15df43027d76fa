"""TCP: messages one behind the other, framed by their Length field only (RFC 7011 section 10.4)."""

import errno
import fcntl
import socket
import struct
import termios
from collections import deque

from exporter.options import Target
from exporter.transports.connection import (
    CONNECT_TIMEOUT,
    TCP_PROTOCOL,
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

# A collector that acknowledges nothing, or whose window stays shut, for so long is given up.
USER_TIMEOUT_MS = 30_000
# The same for one that is silent while there is nothing to send: seconds to the first probe, between probes, probes.
KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 15, 5, 3
READ_SIZE, READS = 4096, 16  # a check takes so much of what a collector says, which is nothing but TLS's own


class Tcp(Connection):
    """A connected socket; a subclass puts another protocol on it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.peer = peer_name(sock)
        self._rest = memoryview(b"")  # of a message that was taken, what the socket has not
        self._taken = 0  # octets, of all messages
        self._kept: deque[tuple[int, Outgoing]] = deque()  # with the value of _taken behind each

    @property
    def holds(self) -> bool:
        """Whether the socket has not taken all."""
        return bool(self._rest)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Data there, acknowledgements back."""
        return both_directions(socket_endpoint(self._socket, TCP_PROTOCOL))

    def send(self, message: Outgoing) -> None:
        """Take the message if its first octet finds room."""
        if not self.flush():
            raise BlockingIOError
        self._rest = memoryview(message.octets)
        if not self.flush() and len(self._rest) == len(message.octets):
            self._rest = memoryview(b"")
            raise BlockingIOError
        self._taken += len(message.octets)
        self._kept.append((self._taken, message))
        if len(self._kept) % TRIM_AT == 0:
            self._trim()

    def flush(self) -> bool:
        """Pass on the rest of a message."""
        while self._rest:
            try:
                self._rest = self._rest[self._write(self._rest) :]
            except BlockingIOError:
                return False
            except OSError as error:
                raise DisconnectedError(error.errno, error.strerror or str(error)) from error
        return True

    def check(self, now_ns: int) -> None:
        """Notice that the collector has closed the connection; take what it says."""
        self._trim()
        try:
            for _ in range(READS):
                if not self._read():
                    raise DisconnectedError(errno.ECONNRESET, "the collector has closed the connection")
        except BlockingIOError:
            pass
        except DisconnectedError:
            raise
        except OSError as error:
            raise DisconnectedError(error.errno, error.strerror or str(error)) from error

    def _write(self, octets: memoryview) -> int:
        return self._socket.send(octets)

    def _read(self) -> bytes:
        return self._socket.recv(READ_SIZE)

    def _trim(self) -> None:
        """Forget what the other side has acknowledged. TLS's own octets make it seem less, never more."""
        unsent = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))[0]
        acknowledged = self._taken - len(self._rest) - unsent
        while self._kept and self._kept[0][0] <= acknowledged:
            self._kept.popleft()

    def unacknowledged(self) -> list[Outgoing]:
        """By the octets that the kernel still holds (SIOCOUTQ), also after the connection has ended."""
        self._trim()
        return [message for _, message in self._kept]

    def close(self) -> None:
        """FIN behind what the kernel holds."""
        self._socket.close()


def open_tcp(target: Target) -> Tcp:
    """Resolve and connect. OSError; blocks."""
    sock = connected_socket(target)
    sock.setblocking(False)
    return Tcp(sock)


def connected_socket(target: Target) -> socket.socket:
    """Make a blocking socket with a timeout, connected to the first address that accepts. OSError."""
    return connect_first(resolve(target.host, target.port, socket.SOCK_STREAM, socket.IPPROTO_TCP), _connect)


def _connect(family: int, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP)
    try:
        sock.settimeout(CONNECT_TIMEOUT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock
