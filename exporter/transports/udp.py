"""UDP: a connected socket that never fragments (RFC 7011 section 10.3)."""

import os
import socket

from exporter.options import Target
from exporter.transports.connection import (
    UDP_PROTOCOL,
    Connection,
    Endpoint,
    Outgoing,
    connect_first,
    peer_name,
    resolve,
    socket_endpoint,
)

# Linux, <linux/in.h> and <linux/in6.h>; Python names only some of them.
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, IPV6_MTU = 23, 2, 24
HEADERS = {socket.AF_INET: 20 + 8, socket.AF_INET6: 40 + 8}  # IP and UDP


class Udp(Connection):
    """A connected socket; it never ends by itself."""

    reliable = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.batch_fd = sock.fileno()
        self.peer = peer_name(sock)
        self._endpoint = socket_endpoint(sock, UDP_PROTOCOL)  # asked for at every tick

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Nothing comes back."""
        return (self._endpoint,)

    def message_limit(self) -> int | None:
        """What the path takes, as far as the kernel knows."""
        return payload_limit(self._socket)

    def send(self, message: Outgoing) -> None:
        """One datagram."""
        self._socket.send(message.octets)

    def check(self, now_ns: int) -> None:
        """Raise what ICMP has told since the last message."""
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def open_udp(target: Target, flags: int = 0) -> Udp:
    """Resolve the target's name and connect to the first address that takes it. OSError."""
    return Udp(connected_socket(target, flags))


def connected_socket(target: Target, flags: int = 0) -> socket.socket:
    """Make a socket that never fragments, connected to the target. OSError, also where the kernel lacks the family."""
    return connect_first(resolve(target.host, target.port, socket.SOCK_DGRAM, flags=flags), _connect)


def _connect(family: int, address: tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def payload_limit(sock: socket.socket) -> int | None:
    """Octets of a datagram that the path takes without fragments; None without a route at the moment."""
    level, name = (socket.IPPROTO_IP, IP_MTU) if sock.family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_MTU)
    try:
        mtu: int = sock.getsockopt(level, name)
    except OSError:
        return None
    return mtu - HEADERS[sock.family]
