"""Collectors: one target each, with its connection, session, queue and counters. The ways to it are in transports/."""

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from exporter import message as ipfix
from exporter import transports
from exporter._native import ffi, lib
from exporter.leftovers import Leftovers
from exporter.losses import Losses
from exporter.options import FILE, UDP, ExporterOptions, Target
from exporter.session import Session
from exporter.tally import Tally
from exporter.transports.attempt import Connector
from exporter.transports.connection import Connection, DisconnectedError, Endpoint, Outgoing

log = logging.getLogger(__name__)

RETRY_DELAY_NS = 10 * 10**9  # after a failed start of UDP or a file: often enough for a DNS server that is booting

# Messages kept while a connection takes none: 1.4 MB at the default size, a quarter of a second at 64 Mbit/s.
QUEUE_LIMIT = 1024

# Never made smaller than this: the largest record or template and its headers fit, and no path of today is narrower.
SMALLEST_MESSAGE = 512
REFUSALS_LIMIT = 3  # attempts at one message while ICMP errors of earlier ones are reported in its place

# A collector that failed is not preferred to another one until it has been well for so long. UDP shows that by
# refusing no templates, which it gets REFUSED_DELAY_NS after each refusal.
TRUST_DELAY_NS = 30 * 10**9

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

    always = False  # another one may get a flow in its place
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
        self.session: Session | None = None
        self.standby = False  # another one gets the records
        self.trusted_ns: int | None = None  # from when on it is well after a failure; None: it never failed
        self._new_session = new_session
        options = options or ExporterOptions()
        self._message_size = options.message_size
        self._needs = transports.needs(target, options)
        connect = partial(transports.open_connection, target, options)
        self._connector = Connector(connect, transports.is_instant(target), self._delay_ns(options), str(target))
        self._connection: Connection | None = None
        self._queue: deque[Outgoing] = deque()
        self._announced: int | None = None  # Export Time of the session's first templates

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
        return self._connection is not None

    def start(self, now_ns: int) -> bool:
        """Notice what has become of the connection, get on with connecting; True when a session began."""
        if self._connection is not None:
            return self._check(now_ns)
        try:
            connection = self._connector.poll(now_ns)
        except OSError as error:
            self.counters["start_errors"] += 1
            self._distrust(now_ns)
            self._tally.error = error.strerror or str(error)
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
        self._connection = connection
        self.session = self._new_session(connection.reliable)
        self._announced = None
        self.counters["sessions"] += 1

    def _check(self, now_ns: int) -> bool:
        """Look after the connection; True when another one has taken its place."""
        assert self._connection is not None
        try:
            self.counters["messages_abandoned"] += self._connection.abandoned()
            self._connection.check(now_ns)
            if not self._queue and (successor := self._connection.successor(now_ns)) is not None:
                self._begin(successor)
                return True
        except DisconnectedError as error:
            self._disconnected(error, now_ns)
        except ConnectionRefusedError:
            self._refused(now_ns)
        except OSError:
            pass  # of a message; the next one that fails so is counted
        return False

    def _disconnected(self, error: OSError, now_ns: int) -> None:
        """End the session, keep or count what it leaves behind."""
        assert self._connection is not None
        self.counters["disconnects"] += 1
        self._distrust(now_ns)
        self._tally.error = error.strerror or str(error)
        sent = [message for message in self._connection.unacknowledged() if message.flows]
        self.counters["records_unacknowledged"] += sum(message.records for message in sent)
        self.leftovers.add(sent)
        self.leftovers.add(self._queue, "connection")
        self._queue.clear()
        self._end()
        sentence = "collector %s: the session has ended: %s; connecting again in %d s"
        log.warning(sentence, self.target, self.error, self._connector.wait_s(now_ns))

    def _distrust(self, now_ns: int) -> None:
        self.trusted_ns = now_ns + TRUST_DELAY_NS

    @property
    def busy(self) -> bool:
        """Whether so much waits that soon something is lost."""
        return len(self._queue) >= QUEUE_LIMIT // 2

    def is_well(self, now_ns: int) -> bool:
        """Whether it takes records, and has done so for a while if it ever failed."""
        if self.connected and self.busy:
            self._distrust(now_ns)
        return self.connected and (self.trusted_ns is None or now_ns >= self.trusted_ns)

    def message_limit(self) -> int | None:
        """Octets of the longest message that the path takes, as far as is known; None without a session."""
        limit = self._connection.message_limit() if self._connection is not None else None
        return None if limit is None else max(limit, SMALLEST_MESSAGE)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """5-tuples of the session's packets, none without one."""
        return self._connection.endpoints() if self._connection is not None else ()

    def announce(self, now_ns: int, export_time: int, limit: int) -> None:
        """Send the templates and options that are due."""
        self.drain(now_ns)
        if self._connection is None or self.session is None:
            return
        for octets, records in self.session.announce(now_ns, export_time, limit):
            if self._announced is None:
                self._announced = export_time
            self._enqueue(Outgoing(octets, records, flows=False))
        self.drain(now_ns)

    def send(self, buffer: "ffi.CData", messages: "ffi.CData", count: int, export_time: int, now_ns: int) -> None:
        """Send messages of C's encoder, made for all collectors: stamp this session's header, then send."""
        start, refusals = 0, self.counters["refusals"]
        while start < count:
            end, records, octets = start, 0, 0
            domain = messages[start].domain
            while end < count and messages[end].domain == domain:
                records += messages[end].records
                octets += messages[end].length
                end += 1
            if self.session is None and not self.leftovers.kept:
                self.counters["records_lost_no_session"] += records
                self._lose_run(buffer, messages[start:end], export_time)
                start = end
                continue
            sequence = 0
            if self.session is not None:
                sequence = self.session.advance(domain, records, messages=end - start, octets=octets)
            lib.encode_headers(buffer, messages + start, end - start, export_time, sequence)
            if self._connection is not None and self._connection.batch_fd is not None:
                start = self._send_batch(self._connection.batch_fd, buffer, messages, start, end, now_ns)
            for i in range(start, end):
                copied = bytes(ffi.buffer(buffer + messages[i].offset, messages[i].length))
                message = Outgoing(copied, messages[i].records)
                if self.leftovers.kept and self.counters["refusals"] > refusals:
                    self.leftovers.add([message], "send")  # rather another's than into the void
                else:
                    self._push(message, now_ns)
            start = end

    def _push(self, message: Outgoing, now_ns: int) -> None:
        if self._connection is None:
            self.leftovers.add([message], "no_session")
            return
        self._enqueue(message)
        if len(self._queue) == 1:
            self.drain(now_ns)

    def _send_batch(
        self, fd: int, buffer: "ffi.CData", messages: "ffi.CData", start: int, end: int, now_ns: int
    ) -> int:
        """Send datagrams, many a system call; return the first that is left, from where on the slow way is right."""
        sent = ffi.new("unsigned int *")
        refusals = 0
        while start < end and not self._queue:
            code = -lib.send_messages(fd, buffer, messages + start, end - start, sent)
            self.counters["messages_sent"] += sent[0]
            self.counters["records_sent"] += sum(messages[i].records for i in range(start, start + sent[0]))
            if sent[0]:
                refusals, self._tally.error = 0, ""
            start += sent[0]
            if code == errno.ECONNREFUSED and refusals < REFUSALS_LIMIT:
                refusals += 1
                self._refused(now_ns)
            elif code:
                break
        return start

    def _enqueue(self, message: Outgoing) -> None:
        # Templates that go out once must not be lost, and options data with them as far as may be.
        once = not message.flows and self._connection is not None and self._connection.reliable
        limit = 2 * QUEUE_LIMIT if once else QUEUE_LIMIT
        if len(self._queue) >= limit and (message.records or not once):
            self.counters["records_lost_queue"] += message.records
            self.counters["messages_lost"] += 1
            self._lose(message)
        else:
            self._queue.append(message)

    def drain(self, now_ns: int) -> None:
        """Send what waits, as far as the connection takes it."""
        refusals = 0
        while self._queue and self._connection is not None:
            message = self._queue[0]
            try:
                self._connection.send(message)
            except BlockingIOError:
                return
            except DisconnectedError as error:
                self._disconnected(error, now_ns)
                return
            except ConnectionRefusedError:
                refusals += 1
                self._refused(now_ns)
                if refusals <= REFUSALS_LIMIT:
                    continue
                self._lost(errno.ECONNREFUSED, message, now_ns)
            except OSError as error:
                if error.errno == errno.EMSGSIZE and self._shorten():
                    continue
                self._lost(error.errno or errno.EIO, message, now_ns)
            else:
                self.counters["messages_sent"] += 1
                self.counters["records_sent"] += message.records
                self._tally.error = ""
            refusals = 0
            self._queue.popleft()

    def _shorten(self) -> bool:
        """Cut the first message that waits to what the path takes now; whether that is any shorter."""
        whole = self._queue[0]
        limit = self.message_limit()
        if limit is None or limit >= len(whole.octets) or self.session is None:
            return False
        pieces = self.session.split(whole.octets, limit)
        if not pieces:
            return False
        self._queue.popleft()
        self._queue.extendleft(whole._replace(octets=octets, records=n) for octets, n in reversed(pieces))
        self.counters["messages_split"] += 1
        return True

    def _refused(self, now_ns: int) -> None:
        """ICMP says that nobody listens: reported on a later send, which itself did not go out. Not fatal."""
        self.counters["refusals"] += 1
        self._distrust(now_ns)
        if self.session is not None:
            self.session.refused(now_ns)

    def _lost(self, code: int, message: Outgoing, now_ns: int) -> None:
        self.counters["messages_lost"] += 1
        self.counters["send_errors"] += 1
        self._distrust(now_ns)
        self.leftovers.add([message], "too_long" if code == errno.EMSGSIZE else "send")
        self._tally.error = os.strerror(code)

    def _lose(self, message: Outgoing) -> None:
        """Count the flow records of a message that does not go out, for options data."""
        if self.losses is None or not message.flows:
            return
        lost = self.losses.count(message.octets, len(message.octets))
        if self.session is not None:
            self.session.not_sent(lost.domain, lost.flows, len(message.octets))

    def _lose_run(self, buffer: "ffi.CData", messages: "ffi.CData", export_time: int) -> None:
        """Count messages of C's encoder that have no header yet."""
        if self.losses is not None:
            for message in messages:
                self.losses.count(buffer + message.offset, message.length, export_time)

    def adopt(self, message: Outgoing, now_ns: int) -> None:
        """Send another collector's message in this session."""
        _, _, export_time, _, domain = ipfix.HEADER.unpack_from(message.octets)
        if self.session is None or self._announced is None or export_time < self._announced:
            # Earlier than the templates, by Export Time (RFC 7011 section 8.2).
            self.counters["records_lost_no_session"] += message.records
            self._lose(message)
            return
        for octets, records in self.session.catch_up(message.octets, now_ns, self._message_size):
            self._push(Outgoing(octets, records, flows=False), now_ns)
        body = ipfix.Message(message.octets[ipfix.HEADER.size :], message.records)
        sequence = self.session.advance(domain, message.records, messages=1, octets=len(message.octets))
        octets = body.encode(export_time, sequence, domain)
        self.counters["records_adopted"] += message.records
        self._push(message._replace(octets=octets, moved=True), now_ns)

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
        """Data records in the queue."""
        return sum(message.records for message in self._queue)

    def close(self) -> None:
        """End the session. A reliable connection gets CLOSE_SECONDS, in a thread, for what waits; the rest is lost."""
        self._connector.cancel()
        connection = self._connection
        if connection is not None and connection.reliable and (self._queue or not self._flushed()):
            # No daemon, as the data thread is: the process ends after it.
            name = f"close {self.target}"
            threading.Thread(target=self._finish, args=(CLOSE_SECONDS,), name=name, daemon=False).start()
        else:
            self._finish(0.0)

    def _flushed(self) -> bool:
        try:
            return self._connection is None or self._connection.flush()
        except DisconnectedError:
            return True

    def _finish(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and (self._queue or not self._flushed()):
            self.drain(time.monotonic_ns())
            time.sleep(0.01)
        self.counters["records_lost_queue"] += self.waiting
        for message in self._queue:
            self._lose(message)
        self._queue.clear()
        self.leftovers.abandon()
        self._end()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self.session = None
