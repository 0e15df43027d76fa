"""A collector for tests: a real UDP socket on loopback, read by the oracle."""

import socket
from typing import Self

from exporter.options import Target
from lib.ipfix_oracle import Oracle


class Receiver:
    """Receives datagrams; loopback delivers within the send call, so what was sent is there to read."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, strict_sequence: bool = True) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind((host, port))
        self.target = Target(host, self.socket.getsockname()[1])
        self.oracle = Oracle(strict_sequence)
        self.datagrams: list[bytes] = []
        self.senders: list[tuple] = []

    def read(self) -> list[bytes]:
        """Take what has arrived, hold it to the oracle, return the new datagrams."""
        new = []
        while True:
            try:
                octets, sender = self.socket.recvfrom(65536)
            except BlockingIOError:
                break
            new.append(octets)
            self.senders.append(sender)
            self.oracle.feed(octets)
        self.datagrams += new
        return new

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
