"""Messages of the kernel's psample family, made octet by octet: what no tool sends as a test wants it."""

import contextlib
import socket
import struct
from collections.abc import Iterable

from lib.netns import Namespace

NETLINK_USERSOCK = 2
SOL_NETLINK = 270
ADD_MEMBERSHIP = 1
IIFINDEX, OIFINDEX, ORIGSIZE, GROUP, SEQUENCE, RATE, DATA = range(7)
TUNNEL, TIMESTAMP, PROTO, COOKIE, PROBABILITY = 8, 13, 14, 15, 16
ALL = 2**32 - 1  # a probability of 1


def attr(number: int, payload: bytes) -> bytes:
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(payload), number) + payload.ljust(-(-len(payload) // 4) * 4, b"\0")


def tunnel(
    key: int = 0x123456, source: bytes = bytes((192, 0, 2, 1)), destination: bytes = bytes((192, 0, 2, 2)), **ports: int
) -> bytes:
    """The payload of a tunnel attribute; `ports` are src and dst."""
    first = 1 if len(source) == 4 else 12
    octets = attr(0, key.to_bytes(8, "big")) + attr(first, source) + attr(first + 1, destination)
    octets += b"".join(attr(9 + ("src", "dst").index(name), port.to_bytes(2, "big")) for name, port in ports.items())
    return octets + attr(4, b"\x40") + attr(5, b"")


def attributes(
    frame: bytes,
    group: int = 10,
    rate: int = 1,
    *,
    iif: int | None = 2,
    oif: int | None = None,
    length: int | None = None,
    sequence: int | None = 0,
    probability: bool = False,
    cookie: bytes | None = None,
    time_ns: int | None = None,
    protocol: int = 0x0800,
    tunnel: bytes | None = None,
) -> list[bytes]:
    """In the kernel's order, which has the data before some that are small."""
    found = [attr(IIFINDEX, struct.pack("=H", iif))] if iif is not None else []
    found += [attr(OIFINDEX, struct.pack("=H", oif))] if oif is not None else []
    found += [attr(RATE, struct.pack("=I", rate)), attr(ORIGSIZE, struct.pack("=I", length or len(frame)))]
    found += [attr(GROUP, struct.pack("=I", group))]
    found += [attr(SEQUENCE, struct.pack("=I", sequence))] if sequence is not None else []
    found += [attr(TIMESTAMP, struct.pack("=Q", time_ns))] if time_ns is not None else []
    found += [attr(PROTO, struct.pack("=H", protocol)), attr(DATA, frame)]
    found += [attr(TUNNEL, tunnel)] if tunnel is not None else []
    found += [attr(COOKIE, cookie)] if cookie is not None else []
    return found + ([attr(PROBABILITY, b"")] if probability else [])


def message(parts: Iterable[bytes], family: int = 0x20, command: int = 0) -> bytes:
    """A generic netlink message of these attributes."""
    octets = struct.pack("=BBH", command, 1, 0) + b"".join(parts)
    return struct.pack("=IHHII", 16 + len(octets), family, 0, 0, 0) + octets


class Wire:
    """A multicast group of user space's netlink, on which a test says what the kernel would. A context manager.

    In a network namespace of its own, for a group is a namespace's: another test says something else meanwhile.
    """

    GROUP = 1

    def __init__(self) -> None:
        self._namespace = Namespace()
        self._sender = self._socket(socket.SOCK_RAW)
        self._sender.bind((0, 0))

    def _socket(self, kind: int) -> socket.socket:
        with self._namespace.enter():
            return socket.socket(socket.AF_NETLINK, kind, NETLINK_USERSOCK)

    def receiver(self) -> int:
        """A socket that gets all messages; its descriptor, which is the caller's."""
        receiver = self._socket(socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        receiver.bind((0, 0))
        receiver.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, self.GROUP)
        return receiver.detach()

    def send(self, octets: bytes) -> None:
        """Send a message to everybody who listens; whether it finds room is their affair."""
        # Behind the multicast comes the unicast to port 0, the kernel, which does not listen here.
        with contextlib.suppress(ConnectionRefusedError):
            self._sender.sendto(octets, (0, 1 << (self.GROUP - 1)))

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()
        self._namespace.close()
