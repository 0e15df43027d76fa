"""`xdpfix collect` and the collector that `xdpfix run` embeds: IPFIX over UDP to JSON lines, a table, or files.

exporter.decoder does the reading, sampler.table the showing.
"""

import argparse
import errno
import json
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from exporter.decoder import Decoder, DecoderStats, Record
from exporter.errors import DecodeError
from exporter.options import DEFAULT_PORT
from sampler.configkeys import decimal
from sampler.errors import ConfigError, StartError
from sampler.messagefile import MessageFile
from sampler.table import FlowTable

DEFAULT_LISTEN = f"127.0.0.1:{DEFAULT_PORT}"
MAX_DATAGRAM = 65535
RECEIVE_BUFFER = 4 << 20  # octets; rmem_max may cut it
DRAIN_LIMIT = 65536  # messages taken after stop(): more than a buffer holds, so that a flood cannot hold up the end
Address = tuple[str, int]


def parse_listen(text: str) -> Address:
    """Read HOST, HOST:PORT or [IPv6]:PORT; ConfigError where it is none."""
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"--listen {text}: write an IPv6 address as [ADDRESS]:PORT")
        port = rest[1:] or port
    elif text.count(":") == 1:
        host, port = text.split(":")
    elif ":" in text:
        raise ConfigError(f"--listen {text}: write an IPv6 address as [ADDRESS]:PORT")
    number = decimal(port)
    if not host or number is None or number > 65535:
        raise ConfigError(f"--listen {text}: write HOST:PORT with a port of 0 to 65535, such as {DEFAULT_LISTEN}")
    return host, number


def bind(address: Address) -> socket.socket:
    """Open a UDP socket there; StartError says which address cannot be had and why."""
    host, port = address
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        udp = socket.socket(family, kind, protocol)
    except UnicodeError:  # a label too long for DNS
        raise ConfigError(f"--listen {host}: no valid host name; write HOST:PORT, such as {DEFAULT_LISTEN}") from None
    except OSError as error:
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        udp.bind(where)
    except OSError as error:
        udp.close()
        way_out = "; give another by --listen HOST:PORT" if port else ""
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror}{way_out}") from error
    udp.setblocking(False)
    return udp


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, IPv4Address | IPv6Address):
        return str(value)
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return str(value)  # JSON has no NaN and no infinity
    return value


def record_json(record: Record, source: Address) -> str:
    """Return one JSON object: element names to values; an element that occurs again becomes a list, in order."""
    fields: dict[str, object] = {}
    for name in dict.fromkeys(element.name for element, _ in record.fields):
        values = [_json_value(value) for value in record.all(name)]
        fields[name] = values[0] if len(values) == 1 else values
    head: dict[str, object] = {
        "exporter": source[0],
        "port": source[1],
        "domain": record.domain,
        "template": record.template_id,
        "exportTime": record.export_time,
        "sequence": record.sequence,
    }
    if record.scope_count:
        head["options"] = True
        head["scope"] = [element.name for element, _ in record.fields[: record.scope_count]]
    return json.dumps(head | fields, ensure_ascii=False)


def summary(stats: DecoderStats) -> str:
    """Return the counters as one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in vars(stats).items())


class Collector:
    """One UDP socket, one decoder; hands records on. A context manager.

    Args:
        address: where to listen; port 0 takes a free one.
        on_record: called for each record with its source.
        file: well-formed messages are appended to it, as an RFC 5655 file; one whose templates have not come yet is
            left out, because a reader of the file could not know them either.

    """

    def __init__(
        self, address: Address, on_record: Callable[[Record, Address], None], file: MessageFile | None = None
    ) -> None:
        self._socket = bind(address)
        self._on_record = on_record
        self._file = file
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._stopping = False
        self.decoder = Decoder()
        self.address: Address = self._socket.getsockname()[:2]

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def stop(self) -> None:
        """End run() from a signal handler or another thread, after what the socket already holds."""
        self._stopping = True
        with suppress(BlockingIOError):  # the pipe is full of earlier calls
            os.write(self._wake_write, b"\0")

    def run(self, count: int | None = None) -> None:
        """Receive until stop(), or until `count` flow records were handed on."""
        seen = 0
        left = DRAIN_LIMIT
        while left > 0:
            if self._stopping:
                left -= 1
            else:
                select.select([self._socket.fileno(), self._wake_read], [], [])
            try:
                octets, source = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                if self._stopping:
                    return
                continue
            for record in self._receive(octets, source[:2]):
                self._on_record(record, source[:2])
                seen += record.scope_count == 0
                if count is not None and seen >= count:
                    return

    def _receive(self, octets: bytes, source: Address) -> list[Record]:
        unknown = self.decoder.stats.unknown_sets
        try:
            records = self.decoder.decode(octets, source)
        except DecodeError:
            return []  # counted by the decoder
        if self._file is not None and self.decoder.stats.unknown_sets == unknown:
            self._file.write(octets)
        return records


class EmbeddedCollector:
    """A collector in a thread of its own that shows flows on standard output; `xdpfix run` without a target uses it.

    on_closed is called, on that thread, when the reader of standard output is gone.
    """

    def __init__(self, port: int = 0, on_closed: Callable[[], None] | None = None) -> None:
        self._table = FlowTable()
        self._collector = Collector(("127.0.0.1", port), lambda record, _: self._table.add(record))
        self._on_closed = on_closed
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self._collector.address

    @property
    def stats(self) -> DecoderStats:
        """What its decoder met."""
        return self._collector.decoder.stats

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Show what has already arrived, then end."""
        self._collector.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._collector.__exit__()

    def _run(self) -> None:
        try:
            with self._table:
                self._collector.run()
        except OSError as error:
            _discard_closed_stdout(error)
            if self._on_closed is not None:
                self._on_closed()


def _discard_closed_stdout(error: OSError) -> None:
    """Point standard output at /dev/null: what is still buffered must not raise again at exit.

    Raises the error again if it does not say that the reader of a pipe (EPIPE) or the terminal (EIO) is gone.
    """
    if error.errno not in (errno.EPIPE, errno.EIO):
        raise error
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def main(arguments: argparse.Namespace) -> int:
    """Run `xdpfix collect` until --count, SIGINT or SIGTERM; the counters go to standard error."""
    if arguments.count is not None and arguments.count < 1:
        raise ConfigError(f"--count {arguments.count}: give a number of at least 1")
    address = parse_listen(arguments.listen)
    with ExitStack() as stack:
        file = stack.enter_context(MessageFile(arguments.write)) if arguments.write is not None else None
        table = FlowTable()

        def show(record: Record, source: Address) -> None:
            if arguments.json:
                print(record_json(record, source), flush=True)
            else:
                table.add(record)

        collector = stack.enter_context(Collector(address, show, file))
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.signal(number, lambda *_: collector.stop())
            stack.callback(signal.signal, number, previous)
        print(f"listening on {collector.address[0]} port {collector.address[1]}", file=sys.stderr, flush=True)
        try:
            with nullcontext() if arguments.json else table:
                collector.run(arguments.count)
        except OSError as error:
            _discard_closed_stdout(error)
        print(summary(collector.decoder.stats), file=sys.stderr)
    return 0
