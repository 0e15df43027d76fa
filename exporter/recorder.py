"""A collector inside the process: takes an exporter's messages as octets, loses nothing and is never behind.

`xdpfix read` shows flows and writes files by it.
"""

from collections.abc import Callable

from exporter._native import ffi, lib
from exporter.session import Session


class Recorder:
    """Gets what all collectors together get; see exporter.collectors.Collector for what each method promises.

    Args:
        session: a reliable one.
        deliver: called with each message, in order.

    """

    def __init__(self, session: Session, deliver: Callable[[bytes], None]) -> None:
        self._session = session
        self._deliver = deliver

    def announce(self, now_ns: int, export_time: int, limit: int) -> None:
        """Deliver the templates and options that are due."""
        for octets, _ in self._session.announce(now_ns, export_time, limit):
            self._deliver(octets)

    def send(self, buffer: "ffi.CData", messages: "ffi.CData", count: int, export_time: int) -> None:
        """Deliver messages of C's encoder, with this session's sequence numbers."""
        for i in range(count):
            item = messages[i]
            sequence = self._session.advance(item.domain, item.records, messages=1, octets=item.length)
            lib.encode_headers(buffer, messages + i, 1, export_time, sequence)
            self._deliver(bytes(ffi.buffer(buffer + item.offset, item.length)))
