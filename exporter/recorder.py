"""A collector inside the process: takes an exporter's messages as octets, where another one sends them off.

`xdpfix read` shows flows and writes files by it; it loses nothing and is never behind.
"""

from collections import Counter
from collections.abc import Callable

from exporter._native import ffi, lib
from exporter.cache import NS_PER_S
from exporter.exporter import Exporter
from exporter.session import Session
from exporter.transports.connection import Endpoint


class Recorder:
    """Stands in an exporter's list of collectors; see exporter.collectors.Collector for what each method promises.

    Args:
        exporter: whose templates and options the session has.
        deliver: called with each message, in order.

    """

    target = "recorder"
    waiting = 0
    records_lost = 0
    connected = True
    busy = False
    always = True  # it gets all flows, whoever else gets them
    leftovers = ()

    def __init__(self, exporter: Exporter, deliver: Callable[[bytes], None]) -> None:
        options = exporter.options
        intervals = options.template_interval * NS_PER_S, options.stats_interval * NS_PER_S
        self.session = Session(exporter.exporting.catalog, *intervals, reliable=True)
        self.counters: Counter[str] = Counter()
        self.error = ""
        self._deliver = deliver

    def start(self, now_ns: int) -> bool:
        """Nothing to connect to."""
        return False

    def message_limit(self) -> int | None:
        """No path, so no limit but the options'."""
        return None

    def endpoints(self) -> tuple[Endpoint, ...]:
        """No traffic of its own."""
        return ()

    def announce(self, now_ns: int, export_time: int, limit: int) -> None:
        """Deliver the templates and options that are due."""
        for octets, records in self.session.announce(now_ns, export_time, limit):
            self._take(octets, records)

    def send(self, buffer: "ffi.CData", messages: "ffi.CData", count: int, export_time: int, now_ns: int) -> None:
        """Deliver messages of C's encoder, with this session's sequence numbers."""
        for i in range(count):
            item = messages[i]
            sequence = self.session.advance(item.domain, item.records, messages=1, octets=item.length)
            lib.encode_headers(buffer, messages + i, 1, export_time, sequence)
            self._take(bytes(ffi.buffer(buffer + messages[i].offset, messages[i].length)), messages[i].records)

    def _take(self, octets: bytes, records: int) -> None:
        self.counters["messages_sent"] += 1
        self.counters["records_sent"] += records
        self._deliver(octets)

    def drain(self, now_ns: int) -> None:
        """Nothing waits."""

    def tell_losses(self, now_ns: int) -> None:
        """Nothing is lost."""

    def close(self) -> None:
        """Nothing to end."""
