"""A collector for tests: a UDP socket inside a namespace, a thread, our own decoder. Sums what arrived."""

import socket
import threading
import time
from typing import Self

from exporter.decoder import Decoder, Record
from lib.netns import Namespace

# As much as the kernel lets root have: a test's messages are never lost at the sink.
RECEIVE_BUFFER = 64 * 1024 * 1024
SO_RCVBUFFORCE = 33


class Sink:
    """Receives IPFIX on `address` (port 0: any) inside `namespace`, or in the caller's own. A context manager."""

    def __init__(self, namespace: Namespace | None = None, address: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make() -> socket.socket:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            sock.bind((address, port))
            sock.settimeout(0.1)
            return sock

        self._socket = namespace.call(make) if namespace else make()
        host, self.port = self._socket.getsockname()[:2]
        self.target = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self.messages: list[bytes] = []
        self.records: list[Record] = []
        self.options: list[Record] = []
        self.arrivals: list[float] = []
        self.decoder = Decoder()
        self._closing = False
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        while not self._closing:
            try:
                octets, source = self._socket.recvfrom(65536)
            except TimeoutError:
                continue
            except OSError:
                return
            self.messages.append(octets)
            self.arrivals.append(time.time())
            for record in self.decoder.decode(octets, source):
                (self.options if record.scope_count else self.records).append(record)

    def total(self, element: str = "packetDeltaCount", **having: object) -> int:
        """Sum of an element over the flow records whose elements have the values given."""
        return sum(
            int(record.get(element) or 0)
            for record in list(self.records)
            if all(_text(record.get(name)) == _text(value) for name, value in having.items())
        )

    def close(self) -> None:
        """Stop receiving."""
        self._closing = True
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(value: object) -> str:
    return str(value)
