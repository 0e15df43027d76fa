"""Where `xdpfix collect` gets messages from: a UDP socket, or a TCP port with its connections."""

import selectors
import socket
from contextlib import suppress
from typing import Protocol

from exporter.message import HEADER, VERSION
from exporter.options import DEFAULT_PORT, TCP, UDP, Target
from sampler.address import AddressError, parse_address, split_transport
from sampler.errors import ConfigError, StartError

DEFAULT_LISTEN = f"127.0.0.1:{DEFAULT_PORT}"
MAX_DATAGRAM = 65535
RECEIVE_BUFFER = 4 << 20  # octets; rmem_max may cut it
BATCH = 64  # datagrams, or pieces of a stream, between two looks at what else there is
MAX_CONNECTIONS = 256  # more wait in the kernel

Address = tuple[str, int]
Received = list[tuple[bytes, Address]]


class Source(Protocol):
    """Something to listen to. `address` is where; `ended` are the sessions that have ended since the last read()."""

    address: Address
    ended: list[Address]

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the selector tell when there is something to read()."""

    def read(self) -> Received:
        """Messages that have arrived, some of them, each with who sent it; none: there are none now."""

    def close(self) -> None:
        """Listen no more."""


def parse_listen(text: str) -> Target:
    """Read HOST, HOST:PORT or [IPv6]:PORT, behind tcp:// or udp:// if it is to be; ConfigError where it is none."""
    try:
        transport, rest = split_transport(text, (UDP, TCP))
        host, port = parse_address(rest, lowest_port=0)
    except AddressError as error:
        raise ConfigError(f"--listen {text}: {error}; write HOST:PORT, such as {DEFAULT_LISTEN}") from None
    return Target(host, port, transport)


def listen(target: Target) -> Source:
    """Open the source; StartError says which address cannot be had and why."""
    return TcpSource(target) if target.transport == TCP else UdpSource(target)


def _bind(target: Target, kind: int) -> socket.socket:
    host, port = target.host, target.port
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=kind)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    try:
        # A TCP port that was closed lately is free; of a UDP port it would mean to share it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind(where)
    except OSError as error:
        sock.close()
        way_out = "; give another by --listen HOST:PORT" if port else ""
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror}{way_out}") from error
    sock.setblocking(False)
    return sock


class UdpSource:
    """A UDP socket: each datagram is a message."""

    def __init__(self, target: Target) -> None:
        self._socket = _bind(target, socket.SOCK_DGRAM)
        self.address: Address = self._socket.getsockname()[:2]
        self.ended: list[Address] = []

    def register(self, selector: selectors.BaseSelector) -> None:
        """One socket, for good."""
        selector.register(self._socket, selectors.EVENT_READ)

    def read(self) -> Received:
        """Datagrams, as they are."""
        received: Received = []
        with suppress(BlockingIOError):
            while len(received) < BATCH:
                octets, sender = self._socket.recvfrom(MAX_DATAGRAM)
                received.append((octets, sender[:2]))
        return received

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TcpSource:
    """A TCP port: messages are cut from each connection by their Length field (RFC 7011 section 10.4.3)."""

    def __init__(self, target: Target) -> None:
        self._listener = _bind(target, socket.SOCK_STREAM)
        self._listener.listen()
        self.address: Address = self._listener.getsockname()[:2]
        self.ended: list[Address] = []
        self._streams: dict[socket.socket, tuple[Address, bytearray]] = {}
        self._selector: selectors.BaseSelector | None = None

    def register(self, selector: selectors.BaseSelector) -> None:
        """The port, and each connection while it lasts."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ)

    def read(self) -> Received:
        """Whole messages, from each connection some."""
        self.ended.clear()
        self._accept()
        received: Received = []
        for sock in list(self._streams):
            address, octets = self._streams[sock]
            try:
                piece = sock.recv(MAX_DATAGRAM)
            except BlockingIOError:
                continue
            except OSError:
                piece = b""
            octets += piece
            whole = _cut(octets, received, address)
            if not piece or not whole:
                self._end(sock)
        return received

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            while len(self._streams) < MAX_CONNECTIONS:
                sock, address = self._listener.accept()
                sock.setblocking(False)
                self._streams[sock] = address[:2], bytearray()
                if self._selector is not None:
                    self._selector.register(sock, selectors.EVENT_READ)

    def _end(self, sock: socket.socket) -> None:
        address, _ = self._streams.pop(sock)
        self.ended.append(address)
        if self._selector is not None:
            self._selector.unregister(sock)
        sock.close()

    def close(self) -> None:
        """Close the port and the connections."""
        for sock in self._streams:
            sock.close()
        self._listener.close()


def _cut(octets: bytearray, received: Received, address: Address) -> bool:
    """Move whole messages; False where the stream is no IPFIX: what follows cannot be found, so it ends there."""
    while len(octets) >= HEADER.size:
        version, length = HEADER.unpack_from(octets)[:2]
        if version != VERSION or length < HEADER.size:
            received.append((bytes(octets[: HEADER.size]), address))  # the decoder says and counts what is wrong
            return False
        if len(octets) < length:
            break
        received.append((bytes(octets[:length]), address))
        del octets[:length]
    return True
