"""`openssl s_server` as a collector: whatever it deciphers, of TLS or DTLS, goes into a file."""

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from exporter.options import Target
from lib.certificates import Authority
from lib.ipfix_oracle import Oracle
from lib.sending import free_port
from lib.wait import wait_until

MUTUAL = ("-Verify", "2", "-verify_return_error")


class SslServer:
    """A context manager; one session at a time.

    Args:
        folder: for what it receives and says.
        authority: whom it trusts.
        identity: its certificate and key.
        transport: "tls" or "dtls".
        arguments: for s_server.
        port: of 127.0.0.1; 0: a free one.

    """

    def __init__(
        self,
        folder: Path,
        authority: Authority,
        identity: tuple[Path, Path],
        transport: str = "tls",
        arguments: Sequence[str] = MUTUAL,
        port: int = 0,
    ) -> None:
        kind = socket.SOCK_STREAM if transport == "tls" else socket.SOCK_DGRAM
        self.port = port or free_port(kind)
        self.target = Target("127.0.0.1", self.port, transport)
        self._oracle, self._heard = Oracle(reliable=transport == "tls"), 0
        self._received = folder / f"received.{self.port}"
        self._said = folder / f"said.{self.port}"
        certificate, key = identity
        command = ["openssl", "s_server", "-quiet", "-accept", f"127.0.0.1:{self.port}", "-CAfile", str(authority.file)]
        command += ["-cert", str(certificate), "-key", str(key), *arguments]
        if transport == "dtls":
            command += ["-listen", *([] if "-dtls1" in arguments else ["-dtls"])]
        with self._received.open("wb") as received, self._said.open("wb") as said:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=received, stderr=said)
        table = Path("/proc/net/tcp" if transport == "tls" else "/proc/net/udp")
        wait_until(lambda: self._local(table), what=f"a server: {self.said}")

    def _local(self, table: Path) -> bool:
        """Whether a socket is bound to the port; that an exporter's is connected to it does not count."""
        addresses = [line.split()[1] for line in table.read_text().splitlines()]
        return f"0100007F:{self.port:04X}" in addresses

    @property
    def octets(self) -> bytes:
        return self._received.read_bytes()

    @property
    def said(self) -> str:
        return self._said.read_text()

    def read(self) -> Oracle:
        """Hold the messages that are whole since the last call to the oracle, which knows all."""
        octets = memoryview(self.octets)[self._heard :]
        while len(octets) >= 16 and len(octets) >= (length := int.from_bytes(octets[2:4], "big")):
            self._oracle.feed(bytes(octets[:length]))
            self._heard += length
            octets = octets[length:]
        return self._oracle

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
