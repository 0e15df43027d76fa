"""Collectors: one target each, its connections and sessions one after the other. The ways to it are in transports/."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from exporter import transports
from exporter._native import ffi, lib
from exporter.leftovers import Leftovers
from exporter.losses import Losses
from exporter.options import FILE, UDP, ExporterOptions, Target
from exporter.outbox import QUEUE_LIMIT, Outbox, copies
from exporter.session import Session
from exporter.tally import Tally
from exporter.transports.attempt import Connector
from exporter.transports.connection import Connection, Endpoint, Outgoing

log = logging.getLogger(__name__)

RETRY_DELAY_NS = 10 * 10**9  # after a failed start of UDP or a file: often enough for a DNS server that is booting

CLOSE_SECONDS = 2.0  # at the end of a session, for what a reliable connection has not taken yet


class Collector:
    """One target: connected, sent to; every failure is counted and none is raised. No method blocks.

    `counters` has records and messages sent and records lost by cause.

    Args:
        target: where to.
        new_session: makes the session of a connection; its argument is whether that is reliable.
        options: of the exporter.
        returns: what a failure leaves behind is kept for another collector (leftovers), not lost at once.

    """

    losses: Losses | None = None  # counts what it did not get, for options data

    def __init__(
        self,
        target: Target,
        new_session: Callable[[bool], Session],
        options: ExporterOptions | None = None,
        returns: bool = False,
    ) -> None:
        self.target = target
        self._tally = Tally(str(target))
        self.counters = self._tally.counters
        self.leftovers = Leftovers(self.counters, self._lose, returns)
        self.outbox: Outbox | None = None  # of the session that there is
        self.standby = False  # another one gets the records
        self._new_session = new_session
        options = options or ExporterOptions()
        self._message_size = options.message_size
        self._needs = transports.needs(target, options)
        connect = partial(transports.open_connection, target, options)
        self._connector = Connector(connect, transports.is_instant(target), self._delay_ns(options), str(target))

    def _delay_ns(self, options: ExporterOptions) -> int:
        return RETRY_DELAY_NS if self.target.transport in (UDP, FILE) else options.reconnect_interval * 10**9

    def reconfigure(self, options: ExporterOptions, returns: bool) -> bool:
        """Go on with other options; False: its connection is for the old ones, so that another must be made."""
        if transports.needs(self.target, options) != self._needs:
            return False
        self._message_size = options.message_size
        self._connector.delay_ns = self._delay_ns(options)
        self.leftovers.kept = returns
        self.leftovers.abandon()
        self.standby = False
        return True

    @property
    def error(self) -> str:
        """The last one, for people; empty when messages go out again."""
        return self._tally.error

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self.outbox is not None

    @property
    def session(self) -> Session | None:
        """The one that there is."""
        return self.outbox.session if self.outbox is not None else None

    def start(self, now_ns: int) -> bool:
        """Notice what has become of the connection, get on with connecting; True when a session began."""
        if self.outbox is not None:
            successor = self.outbox.check(now_ns)
            self._notice_end(now_ns)
            if successor is not None:
                self._begin(successor)
            return successor is not None
        try:
            connection = self._connector.poll(now_ns)
        except OSError as error:
            self.counters["start_errors"] += 1
            self._failed(error, now_ns)
            sentence = "collector %s cannot be reached: %s; trying again in %d s"
            log.warning(sentence, self.target, self.error, self._connector.wait_s(now_ns))
            return False
        if connection is None:
            return False
        self.counters["reconnects"] += self.counters["sessions"] > 0
        self._begin(connection)
        self._tally.error = ""
        log.info("collector %s: exporting to %s", self.target, connection.peer)
        return True

    def _begin(self, connection: Connection) -> None:
        session = self._new_session(connection.reliable)
        self.outbox = Outbox(connection, session, self._tally, self.leftovers)
        self.counters["sessions"] += 1

    def _notice_end(self, now_ns: int) -> None:
        """Forget the session where the connection has ended meanwhile."""
        if self.outbox is None or self.outbox.ended is None:
            return
        self.counters["disconnects"] += 1
        self._failed(self.outbox.ended, now_ns)
        self.outbox = None
        sentence = "collector %s: the session has ended: %s; connecting again in %d s"
        log.warning(sentence, self.target, self.error, self._connector.wait_s(now_ns))

    def _failed(self, error: OSError, now_ns: int) -> None:
        self._tally.distrust(now_ns)
        self._tally.error = error.strerror or str(error)

    @property
    def busy(self) -> bool:
        """Whether so much waits that soon something is lost."""
        return self.outbox is not None and self.outbox.busy

    @property
    def unfinished(self) -> bool:
        """Whether it has more to do as soon as may be: to connect, or to send what waits."""
        return self._connector.busy if self.outbox is None else self.outbox.unfinished

    def is_well(self, now_ns: int) -> bool:
        """Whether it takes records, and has done so for a while if it ever failed."""
        if self.busy:
            self._tally.distrust(now_ns)
        return self.connected and self._tally.trusts(now_ns)

    def message_limit(self) -> int | None:
        """Octets of the longest message that the path takes, as far as is known; None without a session."""
        return self.outbox.message_limit() if self.outbox is not None else None

    def endpoints(self) -> tuple[Endpoint, ...]:
        """5-tuples of the session's packets, none without one."""
        return self.outbox.connection.endpoints() if self.outbox is not None else ()

    def announce(self, now_ns: int, export_time: int, limit: int) -> None:
        """Send the templates and options that are due."""
        if self.outbox is not None:
            self.outbox.announce(now_ns, export_time, limit)
            self._notice_end(now_ns)

    def send(self, buffer: "ffi.CData", messages: "ffi.CData", count: int, export_time: int, now_ns: int) -> None:
        """Send messages of C's encoder, made for all collectors: the session's header comes into the buffer."""
        if self.outbox is not None:
            self.outbox.send(buffer, messages, count, export_time, now_ns)
            self._notice_end(now_ns)
        else:
            lib.encode_headers(buffer, messages, count, export_time, 0)
            self.leftovers.add(copies(buffer, messages, count), "no_session")

    def adopt(self, message: Outgoing, now_ns: int) -> None:
        """Send another collector's message in this session."""
        if self.outbox is not None:
            self.outbox.adopt(message, now_ns, self._message_size)
            self._notice_end(now_ns)
        else:
            self.leftovers.lose(message, "no_session")

    def drain(self, now_ns: int) -> None:
        """Send what waits, as far as the connection takes it."""
        if self.outbox is not None:
            self.outbox.drain(now_ns)
            self._notice_end(now_ns)

    def _lose(self, message: Outgoing) -> None:
        """Count the flow records of a message that does not go out, for options data."""
        if self.losses is not None:
            self.losses.count(message, self.session)

    @property
    def records_lost(self) -> int:
        """Data records that did not go out, for whatever cause."""
        return self._tally.records_lost

    def tell_losses(self, now_ns: int) -> None:
        """Log how many records were lost since that was last told, not more often than once a minute."""
        self._tally.tell(now_ns, f"{QUEUE_LIMIT} messages wait" if self.connected else "not connected yet")

    def row(self) -> dict[str, object]:
        """The target, its counters by name and its last error."""
        state = "connected" if self.connected else "connecting" if self._connector.busy else "not connected"
        state += ", standby" if self.connected and self.standby else ""
        head = {"target": str(self.target), "transport": self.target.transport}
        return head | self._tally.row(state) | {"records_waiting": self.waiting}

    @property
    def waiting(self) -> int:
        """Data records that the connection has not taken yet."""
        return self.outbox.waiting if self.outbox is not None else 0

    def close(self) -> None:
        """End the session. A reliable connection gets CLOSE_SECONDS, in a thread, for what waits; the rest is lost."""
        self._connector.cancel()
        outbox = self.outbox
        if outbox is not None and outbox.connection.reliable and not outbox.flushed():
            # No daemon, as the data thread is: the process ends after it.
            name = f"close {self.target}"
            threading.Thread(target=self._finish, args=(CLOSE_SECONDS,), name=name, daemon=False).start()
        else:
            self._finish(0.0)

    def _finish(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.outbox is not None and time.monotonic() < end and not self.outbox.flushed():
            self.drain(time.monotonic_ns())
            time.sleep(0.01)  # what is waited for is another with each transport: no descriptor stands for all
        if self.outbox is not None:
            self.outbox.close()
        self.leftovers.abandon()
        self.outbox = None
