"""Real TCP and UDP between two namespaces, in super-packets, and what the kernel's own counters say of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from lib.netns import Namespace, veth

ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
PORT = 5001
CHUNK = 256 * 1024
SO_RCVBUFFORCE = 33
ETH_P_ALL = 0x0003
UDP_SEGMENT = 103  # <linux/udp.h>


def join(left: Namespace, right: Namespace, version: int = 4) -> None:
    """Join left/a and right/b by a veth with addresses of an IP version and fixed neighbours: no ARP, no ND."""
    veth(left, "a", None, right, "b", None)
    for number, (namespace, name) in enumerate(((left, "a"), (right, "b"))):
        namespace.run("ip", "link", "set", "dev", name, "address", MACS[number])
        # Loss probes wait for a few round trips, which here is less than a busy machine's scheduler takes.
        # Selective acknowledgements would make headers of their own length where CPUs take turns.
        namespace.run("sysctl", "-qw", "net.ipv4.tcp_early_retrans=0", "net.ipv4.tcp_sack=0")
        own, other = ADDRESSES[version][number], ADDRESSES[version][1 - number]
        if version == 4:
            # Else multicast listener reports pass now and then.
            namespace.run("sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
            namespace.run("ip", "address", "add", f"{own}/24", "dev", name)
        else:
            namespace.run("ip", "address", "add", f"{own}/64", "dev", name, "nodad")
        namespace.run("ip", "neigh", "replace", other, "lladdr", MACS[1 - number], "dev", name)


@dataclass(frozen=True)
class Segments:
    """TCP segments that a namespace sent for the first time, and again, by its own counters (RFC 4022).

    They count what a super-packet stands for. Those of received segments do not: they count skbs.
    """

    sent: int
    again: int

    def __sub__(self, other: "Segments") -> "Segments":
        return Segments(self.sent - other.sent, self.again - other.again)


def segments(namespace: Namespace) -> Segments:
    """Read the counters."""
    shown = namespace.run("nstat", "-asz", "TcpOutSegs", "TcpRetransSegs").stdout
    values = {line.split()[0]: int(line.split()[1]) for line in shown.splitlines() if line.startswith("Tcp")}
    return Segments(values["TcpOutSegs"], values["TcpRetransSegs"])


def tcp(sender: Namespace, receiver: Namespace, address: str, octets: int) -> int:
    """Send so many octets over one connection and close it from the sender's end; the sender's port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def listen() -> socket.socket:
        server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Less than the 1000 packets that a CPU's backlog holds: nothing is dropped in front of the interface.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
        server.bind((address, PORT))
        server.listen(1)
        server.settimeout(30)
        return server

    def receive() -> None:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(30)
            while received := connection.recv(CHUNK):
                total.append(len(received))

    def send() -> int:
        with socket.create_connection((address, PORT), 30) as client:
            port = int(client.getsockname()[1])
            left = octets
            while left:
                left -= client.send(bytes(min(left, CHUNK)))
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b"", "the receiver closes when it has everything"
            return port

    total: list[int] = []
    server = receiver.call(listen)
    thread = threading.Thread(target=receive)
    thread.start()
    try:
        port = sender.call(send)
    finally:
        thread.join(60)
        server.close()
    assert sum(total) == octets
    return port


def udp(sender: Namespace, address: str, octets: int, segment: int, count: int) -> None:
    """Send `count` buffers of so many octets, each cut by the kernel into datagrams of `segment` octets."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def send() -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.setsockopt(socket.SOL_UDP, UDP_SEGMENT, segment)
            for _ in range(count):
                client.sendto(bytes(octets), (address, PORT))

    sender.call(send)


@contextmanager
def lengths(namespace: Namespace, name: str) -> Iterator[list[int]]:
    """The lengths of the skbs that pass a link meanwhile, as a packet socket gets them; filled at the end."""
    found: list[int] = []
    with namespace.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 * 1024 * 1024)
        sock.bind((name, ETH_P_ALL))
        sock.setblocking(False)
        yield found
        with suppress(BlockingIOError):
            while True:
                found.append(len(sock.recv(1024 * 1024)))
