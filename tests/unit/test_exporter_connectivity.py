"""Every transport that this kernel has, over IPv4 and IPv6: sessions as they should be, all types of values arrive.

SCTP is in tests/modules. Each test prints the session's parameters, as RFC 5471 section 3 asks: `pytest -rP`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exporter.exporter import Exporter
from exporter.options import Target
from exporter.transports.connection import Endpoint
from lib.certificates import Authority
from lib.everytype import SECOND, check_every_type, every_type_to, export_every_kind
from lib.receiver import Receiver, StreamReceiver
from lib.sending import NOW, connect
from lib.sslserver import SslServer

WAYS = ["udp 127.0.0.1", "udp ::1", "tcp 127.0.0.1", "tcp ::1", "tls 127.0.0.1", "dtls 127.0.0.1", "file"]
PROTOCOLS = {"udp": 17, "tcp": 6, "tls": 6, "dtls": 17}


@dataclass
class Way:
    """A collector: where it is, all messages that it has, and the address and port that they came from, if known."""

    target: Target
    read: Callable[[], list[bytes]]
    peer: Callable[[], tuple[str, int] | None] = lambda: None
    options: dict[str, object] = field(default_factory=dict)


def cut(octets: bytes) -> list[bytes]:
    """Cut whole messages of a stream by their Length field."""
    messages = []
    while len(octets) >= 16 and len(octets) >= (length := int.from_bytes(octets[2:4], "big")):
        messages.append(octets[:length])
        octets = octets[length:]
    return messages


def udp(host: str, stack: ExitStack) -> Way:
    receiver = stack.enter_context(Receiver(host))
    return Way(
        receiver.target, lambda: (receiver.read(), receiver.datagrams)[1], lambda: tuple(receiver.senders[0][:2])
    )


def tcp(host: str, stack: ExitStack) -> Way:
    receiver = stack.enter_context(StreamReceiver(host))

    def read() -> list[bytes]:
        receiver.read()
        return [octets for session in receiver.sessions for octets in session.messages]

    return Way(receiver.target, read, lambda: tuple(receiver.sessions[0].socket.getpeername()[:2]))


def secure(transport: str, stack: ExitStack, folder: Path) -> Way:
    authority = Authority(folder)
    identity = authority.issue("collector", "collector.test", "127.0.0.1")
    server = stack.enter_context(SslServer(folder, authority, identity, transport))
    return Way(server.target, lambda: cut(server.octets), options={"tls": authority.options()})


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    transport, _, host = request.param.partition(" ")
    with ExitStack() as stack:
        if transport == "file":
            path = tmp_path / "flows.ipfix"
            yield Way(Target("", 0, "file", str(path)), lambda: cut(path.read_bytes() if path.exists() else b""))
        elif transport in ("tls", "dtls"):
            yield secure(transport, stack, tmp_path)
        else:
            yield {"udp": udp, "tcp": tcp}[transport](host, stack)


def record_session(way: Way, exporter: Exporter) -> None:
    """Hold the session's parameters to what both ends say of them, and print them."""
    row, endpoints = exporter.targets()[0], exporter.endpoints()
    print(f"Exporting Process: {exporter.options}", f"session: {row['transport']} {endpoints}", sep="\n")
    if way.target.transport == "file":
        assert endpoints == []
        return
    there: Endpoint = endpoints[0]
    assert there.protocol == PROTOCOLS[way.target.transport]
    assert (there.destination, there.destination_port) == (way.target.host, way.target.port)
    assert way.peer() in (None, (there.source, there.source_port))
    assert row["sessions"] == 1 and not row.get("reconnects")


def test_t01_t02_t03_every_type_of_value_over_every_transport(way: Way) -> None:
    """RFC 5471 3.1.1, RFC 5471 3.2.1: templates, then records with every type that there is a value of.

    RFC 5471 3.2.2: tunnelKey stands among fixed elements, and the options data of enterprise elements has two texts
    one behind the other; in every place they are in tests/unit/test_exporter_layouts.py.
    """
    with every_type_to(way.target, **way.options) as exporter:
        connect(exporter, iter(range(NOW, NOW + 10**18, SECOND // 2)))
        records = export_every_kind(exporter, way.read)
        record_session(way, exporter)
        check_every_type(records)
