"""What a collector asks of a transport: a connection that is ready, and that takes messages without ever blocking."""

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import NamedTuple

# Attempts to connect, handshakes included, end within this many seconds.
CONNECT_TIMEOUT = 10.0

TRIM_AT = 1024  # messages kept for unacknowledged() before it is looked how many are still needed

UDP_PROTOCOL, TCP_PROTOCOL, SCTP_PROTOCOL = 17, 6, 132  # IANA protocolIdentifier (4)

Address = tuple[int, tuple[str, int]]  # family, and what connect(2) takes there


class Endpoint(NamedTuple):
    """The 5-tuple of a session: addresses as text, ports, protocolIdentifier (4)."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int = UDP_PROTOCOL


class Outgoing(NamedTuple):
    """A message on its way.

    Attributes:
        octets: header included, its sequence number is of this collector's session.
        records: data records in it.
        flows: they are flow records, and no options.
        moved: it was another collector's before, which failed.

    """

    octets: bytes
    records: int
    flows: bool = True
    moved: bool = False


class DisconnectedError(OSError):
    """The connection has ended. Any other OSError of a connection is about one message."""


class Connection(ABC):
    """A connection that is ready; a transport overrides what it does otherwise.

    Attributes:
        reliable: what it takes arrives in order, or it ends: templates go out once.
        batch_fd: a socket that takes messages as datagrams by sendmmsg(2); None: by send() only.
        peer: the other side, for people.

    """

    reliable = True
    batch_fd: int | None = None
    peer = ""

    @property
    def holds(self) -> bool:
        """Whether a part of what it took waits for flush()."""
        return False

    def endpoints(self) -> tuple[Endpoint, ...]:
        """5-tuples of its own packets, one for each direction that has payload or acknowledgements."""
        return ()

    def message_limit(self) -> int | None:
        """Octets of the longest message that it takes now, None if there is no such limit or it is unknown."""
        return None

    @abstractmethod
    def send(self, message: Outgoing) -> None:
        """Take one message whole. BlockingIOError: not now. DisconnectedError. OSError: not this one."""

    def check(self, now_ns: int) -> None:  # noqa: B027 - not every one has something to look after
        """Look after the connection, at every tick. DisconnectedError, or OSError where it was told of a failure."""

    def flush(self) -> bool:
        """Pass on what was taken; whether nothing is left here. DisconnectedError."""
        return True

    def unacknowledged(self) -> list[Outgoing]:
        """Messages that it took and that may not have arrived, oldest first; empty where it cannot say."""
        return []

    def abandoned(self) -> int:
        """Messages that it took and gave up since this was last asked: where old data makes room for new data."""
        return 0

    def successor(self, now_ns: int) -> "Connection | None":
        """Return what takes its place, in a session of its own; None: it goes on."""
        return None

    @abstractmethod
    def close(self) -> None:
        """End it in order."""


def resolve(host: str, port: int, kind: int, protocol: int = 0, flags: int = 0) -> list[Address]:
    """Find families and addresses. OSError; blocks but for AI_NUMERICHOST."""
    try:
        found = socket.getaddrinfo(host, port, type=kind, proto=protocol, flags=flags)
    except UnicodeError:  # a label too long for DNS
        raise OSError("no valid host name") from None
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def connect_first(
    addresses: Iterable[Address], connect: Callable[[int, tuple[str, int]], socket.socket]
) -> socket.socket:
    """Return what `connect` makes of the first of the addresses that it can. OSError: that of the last one."""
    error = OSError("no address")
    for family, address in addresses:
        try:
            return connect(family, address)
        except OSError as failure:
            error = failure
    raise error


def socket_endpoint(sock: socket.socket, protocol: int) -> Endpoint:
    """Return the 5-tuple of a connected socket, without scopes."""
    source, destination = sock.getsockname(), sock.getpeername()
    return Endpoint(source[0].partition("%")[0], source[1], destination[0].partition("%")[0], destination[1], protocol)


def both_directions(endpoint: Endpoint) -> tuple[Endpoint, Endpoint]:
    """Return the 5-tuple and that of the acknowledgements."""
    source, source_port, destination, destination_port, protocol = endpoint
    return endpoint, Endpoint(destination, destination_port, source, source_port, protocol)


def peer_name(sock: socket.socket) -> str:
    """ADDRESS port PORT."""
    address, port = sock.getpeername()[:2]
    return f"{address} port {port}"
