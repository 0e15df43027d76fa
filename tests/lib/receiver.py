"""Collectors for tests: real sockets on loopback, UDP and TCP, read by the oracle."""

import socket
import ssl
from contextlib import suppress
from typing import Any, Self

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


class StreamSession:
    """One connection of a StreamReceiver: messages by their Length field, and whether the exporter has ended it."""

    def __init__(self, sock: Any, strict_sequence: bool) -> None:
        self.socket = sock
        self.oracle = Oracle(strict_sequence, reliable=True)
        self.messages: list[bytes] = []
        self.rest = b""
        self.ended: str = ""  # "FIN", "RST"

    def read(self) -> None:
        while not self.ended:
            try:
                octets = self.socket.recv(1 << 16)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except OSError:
                self.ended = "RST"
                return
            if not octets:
                self.ended = "FIN"
            self.rest += octets
            while len(self.rest) >= 16 and len(self.rest) >= (length := int.from_bytes(self.rest[2:4], "big")):
                message, self.rest = self.rest[:length], self.rest[length:]
                self.messages.append(message)
                self.oracle.feed(message)


class StreamReceiver:
    """Listens on TCP; reads when it is told to, so that it can stall."""

    protocol = socket.IPPROTO_TCP
    transport = "tcp"

    def __init__(self, host: str = "127.0.0.1", port: int = 0, strict_sequence: bool = True, buffer: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, self.protocol)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.listener.bind((host, port))
        self.listener.listen()
        self.target = Target(host, self.listener.getsockname()[1], self.transport)
        self.sessions: list[StreamSession] = []
        self._strict = strict_sequence

    def accept(self) -> None:
        with suppress(BlockingIOError):
            while True:
                sock, _ = self.listener.accept()
                sock.setblocking(False)
                self.sessions.append(StreamSession(sock, self._strict))

    def read(self) -> None:
        self.accept()
        for session in self.sessions:
            session.read()

    def records(self) -> list[Any]:
        self.read()
        return [record for session in self.sessions for record in session.oracle.records]

    def kill(self) -> None:
        """End as a killed process does: with RST where octets were not read."""
        if self.listener.fileno() >= 0:
            self.accept()
        self.listener.close()
        for session in self.sessions:
            session.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class SctpReceiver(StreamReceiver):
    """The same over SCTP, one-to-one style: what a read gives is a message."""

    protocol = socket.IPPROTO_SCTP
    transport = "sctp"
