"""`xdpfix collect` and the collector that `xdpfix run` embeds: IPFIX to JSON lines, a table, or files.

sampler.collector.listen does the receiving, exporter.decoder the reading, sampler.console.table the showing.
"""

import argparse
import errno
import json
import os
import selectors
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from exporter.decoder import Decoder, DecoderStats, Record
from exporter.errors import DecodeError
from exporter.options import UDP, Target
from sampler.collector.listen import Address, listen, parse_listen
from sampler.collector.messagefile import MessageFile
from sampler.console.table import FlowTable
from sampler.errors import ConfigError

DRAIN_LIMIT = 65536  # messages taken after stop(): more than a buffer holds, so that a flood cannot hold up the end


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
    """One source of messages, one decoder; hands records on. A context manager.

    Args:
        target: where to listen; port 0 takes a free one.
        on_record: called for each record with its source.
        file: well-formed messages are appended to it, as an RFC 5655 file; one whose templates have not come yet is
            left out, because a reader of the file could not know them either.

    """

    def __init__(
        self, target: Target, on_record: Callable[[Record, Address], None], file: MessageFile | None = None
    ) -> None:
        self._source = listen(target)
        self._on_record = on_record
        self._file = file
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._stopping = False
        self.decoder = Decoder()
        self.address = self._source.address

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def stop(self) -> None:
        """End run() from a signal handler or another thread, after what has already arrived."""
        self._stopping = True
        with suppress(BlockingIOError):  # the pipe is full of earlier calls
            os.write(self._wake_write, b"\0")

    def run(self, count: int | None = None) -> None:
        """Receive until stop(), or until `count` flow records were handed on."""
        seen = 0
        left = DRAIN_LIMIT
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            self._source.register(selector)
            while left > 0:
                if not self._stopping:
                    selector.select()
                received = self._source.read()
                if self._stopping:
                    left -= len(received)
                    if not received:
                        return
                for octets, source in received:
                    for record in self._receive(octets, source):
                        self._on_record(record, source)
                        seen += record.scope_count == 0
                        if count is not None and seen >= count:
                            return
                for source in self._source.ended:
                    self.decoder.forget(source)

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

    def __init__(self, on_closed: Callable[[], None] | None = None) -> None:
        self._table = FlowTable()
        self._collector = Collector(Target("127.0.0.1", 0), lambda record, _: self._table.add(record))
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
    target = parse_listen(arguments.listen)
    with ExitStack() as stack:
        file = stack.enter_context(MessageFile(arguments.write)) if arguments.write is not None else None
        table = FlowTable()

        def show(record: Record, source: Address) -> None:
            if arguments.json:
                print(record_json(record, source), flush=True)
            else:
                table.add(record)

        collector = stack.enter_context(Collector(target, show, file))
        for number in (signal.SIGINT, signal.SIGTERM):
            previous = signal.signal(number, lambda *_: collector.stop())
            stack.callback(signal.signal, number, previous)
        kind = "" if target.transport == UDP else f"{target.transport} "
        print(f"listening on {kind}{collector.address[0]} port {collector.address[1]}", file=sys.stderr, flush=True)
        try:
            with nullcontext() if arguments.json else table:
                collector.run(arguments.count)
        except OSError as error:
            _discard_closed_stdout(error)
        print(summary(collector.decoder.stats), file=sys.stderr)
    return 0
