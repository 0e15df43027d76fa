"""A collector for the benchmarks: it keeps messages while they come, and counts records and packets afterwards."""

import socket
import struct
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self

from exporter.message import HEADER, SET_HEADER
from exporter.template import FIRST_TEMPLATE_ID, TEMPLATE_SET
from lib.netns import Namespace

RECEIVE_BUFFER = 512 * 1024 * 1024
SO_RCVBUFFORCE = 33
PACKETS = 2  # packetDeltaCount
VARIABLE = 65535
ENTERPRISE = 0x8000
LAST = b""  # no message: what came before it has been received
PATIENCE = 30.0  # seconds
TOTALS = struct.Struct(">HH")


class CollectingSink:
    """Receives IPFIX by UDP on loopback, inside a namespace if one is given. A context manager.

    While a tool runs it costs as little as may be. Read-only for who looks: `messages`, the octets of each.
    """

    def __init__(self, namespace: Namespace | None = None) -> None:
        def make() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0.1)
            return sock

        self._namespace = namespace
        self._socket = namespace.call(make) if namespace else make()
        self.port = int(self._socket.getsockname()[1])
        self.target = f"127.0.0.1:{self.port}"
        self.messages: list[bytes] = []
        self._closing = False
        self._rested = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._closing:
            try:
                octets = self._socket.recv(65536)
            except TimeoutError:
                continue
            if octets == LAST:
                self._rested.set()
            else:
                self.messages.append(octets)

    def _inside(self) -> AbstractContextManager[object]:
        return self._namespace.enter() if self._namespace else nullcontext()

    def dropped(self) -> int:
        """Datagrams for which the socket had no room."""
        with self._inside():
            lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
        (line,) = (line for line in lines if line.split()[1].endswith(f":{self.port:04X}"))
        return int(line.split()[-1])

    def rest(self) -> None:
        """Wait until all is here that was sent before, by who has ended. AssertionError where it does not come."""
        self._rested.clear()
        with self._inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(LAST, ("127.0.0.1", self.port))
        assert self._rested.wait(PATIENCE), f"{self.target}: what was sent last did not come in {PATIENCE:g} s"

    def totals(self) -> tuple[int, int]:
        """Flow records received, and packets that these count. AssertionError where the socket has lost any."""
        assert self.dropped() == 0
        return account(list(self.messages))

    def close(self) -> None:
        """Stop receiving."""
        self._closing = True
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def account(messages: Iterable[bytes]) -> tuple[int, int]:
    """Flow records in these messages, and packets that these count; without the decoder that takes 45 us a record."""
    layouts: dict[int, struct.Struct] = {}
    records = packets = 0
    for message in messages:
        at = HEADER.size
        while at < len(message):
            number, length = SET_HEADER.unpack_from(message, at)
            content = message[at + SET_HEADER.size : at + length]
            if number == TEMPLATE_SET:
                layouts |= _layouts(content)
            elif number >= FIRST_TEMPLATE_ID and number in layouts:
                layout = layouts[number]
                whole = len(content) // layout.size * layout.size
                records += whole // layout.size
                packets += sum(count for (count,) in layout.iter_unpack(content[:whole]))
            at += length
    return records, packets


def _layouts(content: bytes) -> dict[int, struct.Struct]:
    """Of each template: how the packet count is unpacked from its records. Those without one are left out."""
    found: dict[int, struct.Struct] = {}
    at = 0
    while at + 4 <= len(content):
        number, fields = TOTALS.unpack_from(content, at)
        at += TOTALS.size
        layout = ">"
        counts = False
        for _ in range(fields):
            element, length = TOTALS.unpack_from(content, at)
            at += 8 if element & ENTERPRISE else 4
            assert length != VARIABLE, f"template {number} has a field of variable length"
            here = element == PACKETS
            layout += {4: "I", 8: "Q"}[length] if here else f"{length}x"
            counts |= here
        if counts:
            found[number] = struct.Struct(layout)
    return found
