"""The outbox of one session: messages wait there, not too many, until its connection takes them."""

import errno
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from exporter import message as ipfix
from exporter._native import ffi, lib
from exporter.leftovers import Leftovers
from exporter.options import SMALLEST_MESSAGE
from exporter.session import Session
from exporter.tally import Tally
from exporter.transports.connection import Connection, DisconnectedError, Outgoing

# Messages kept while a connection takes none: 1.4 MB at the default size, a quarter of a second at 64 Mbit/s.
QUEUE_LIMIT = 1024

REFUSALS_LIMIT = 3  # attempts at one message while ICMP errors of earlier ones are reported in its place


class Outbox:
    """Sends the messages of a session, in order, as far as the connection takes them; no method blocks or raises.

    What fails is counted, and left to other collectors or lost.

    Args:
        connection: that is ready.
        session: the one with it.
        tally: counts what became of the messages.
        leftovers: take those that failed.

    Attributes:
        ended: what the connection ended with; from then on nothing goes out.

    """

    def __init__(self, connection: Connection, session: Session, tally: Tally, leftovers: Leftovers) -> None:
        self.connection = connection
        self.session = session
        self.ended: DisconnectedError | None = None
        self._tally = tally
        self._leftovers = leftovers
        self._queue: deque[Outgoing] = deque()
        self._announced: int | None = None  # Export Time of the first templates

    @property
    def busy(self) -> bool:
        """Whether so much waits that soon something is lost."""
        return len(self._queue) >= QUEUE_LIMIT // 2

    @property
    def unfinished(self) -> bool:
        """Whether there is more to send: messages that wait, a rest of one, or options data that waits for its pace."""
        return bool(self._queue) or self.connection.holds or self.session.waits

    @property
    def waiting(self) -> int:
        """Data records that wait."""
        return sum(message.records for message in self._queue)

    def message_limit(self) -> int | None:
        """Octets of the longest message that the path takes, as far as is known."""
        limit = self.connection.message_limit()
        return None if limit is None else max(limit, SMALLEST_MESSAGE)

    def check(self, now_ns: int) -> Connection | None:
        """Notice what has become of the connection; return what takes its place, once nothing waits for it any more."""
        with self._noticing(now_ns):
            self._tally.counters["messages_abandoned"] += self.connection.abandoned()
            self.connection.check(now_ns)
            return None if self._queue or self.connection.holds else self.connection.successor(now_ns)
        return None

    def announce(self, now_ns: int, export_time: int, limit: int) -> None:
        """Send what waits, and the templates and options that are due."""
        self.drain(now_ns)
        for octets, records in self.session.announce(now_ns, export_time, limit):
            if self._announced is None:
                self._announced = export_time
            self.put(Outgoing(octets, records, flows=False))
        self.drain(now_ns)

    def send(self, buffer: "ffi.CData", messages: "ffi.CData", count: int, export_time: int, now_ns: int) -> None:
        """Send messages of C's encoder: stamp this session's header, then send."""
        refusals = self._tally.counters["refusals"]
        start = 0
        while start < count:
            run = lib.encoder_run(messages + start, count - start)
            end = start + run.messages
            sequence = self.session.advance(run.domain, run.records, messages=run.messages, octets=run.octets)
            lib.encode_headers(buffer, messages + start, end - start, export_time, sequence)
            start += self._send_batch(buffer, messages + start, end - start, now_ns)
            for message in copies(buffer, messages + start, end - start):
                if self._leftovers.kept and self._tally.counters["refusals"] > refusals:
                    self._leftovers.add([message], "send")  # rather another's than into the void
                else:
                    self._push(message, now_ns)
            start = end

    def adopt(self, message: Outgoing, now_ns: int, limit: int) -> None:
        """Send another session's message in this one, behind the templates that it needs."""
        _, _, export_time, _, domain = ipfix.HEADER.unpack_from(message.octets)
        if self._announced is None or export_time < self._announced:
            # Earlier than the templates, by Export Time (RFC 7011 section 8.2).
            self._leftovers.lose(message, "no_session")
            return
        for octets, records in self.session.catch_up(message.octets, now_ns, limit):
            self._push(Outgoing(octets, records, flows=False), now_ns)
        body = ipfix.Message(message.octets[ipfix.HEADER.size :], message.records)
        sequence = self.session.advance(domain, message.records, messages=1, octets=len(message.octets))
        octets = body.encode(export_time, sequence, domain)
        self._tally.counters["records_adopted"] += message.records
        self._push(message._replace(octets=octets, moved=True), now_ns)

    def put(self, message: Outgoing) -> None:
        """Let it wait, or lose it where too many do."""
        if self.ended is not None:
            self._leftovers.add([message], "no_session")
            return
        # Templates that go out once must not be lost, and options data with them as far as may be.
        once = not message.flows and self.connection.reliable
        limit = 2 * QUEUE_LIMIT if once else QUEUE_LIMIT
        if len(self._queue) >= limit and (message.records or not once):
            self._tally.counters["messages_lost"] += 1
            self._leftovers.lose(message, "queue")
        else:
            self._queue.append(message)

    def _push(self, message: Outgoing, now_ns: int) -> None:
        self.put(message)
        if len(self._queue) == 1:
            self.drain(now_ns)

    def _send_batch(self, buffer: "ffi.CData", messages: "ffi.CData", count: int, now_ns: int) -> int:
        """Send datagrams, many a system call; return how many went: for the others the slow way is right."""
        fd = self.connection.batch_fd
        if fd is None or self.ended is not None:
            return 0
        sent = ffi.new("struct sent *")
        start = refusals = 0
        while start < count and not self._queue:
            code = -lib.send_messages(fd, buffer, messages + start, count - start, sent)
            if sent.messages:
                refusals = 0
                self._tally.sent(sent.messages, sent.records)
            start += sent.messages
            if code == errno.ECONNREFUSED and refusals < REFUSALS_LIMIT:
                refusals += 1
                self._refused(now_ns)
            elif code:
                break
        return start

    def drain(self, now_ns: int) -> None:
        """Send what waits."""
        refusals = 0
        while self._queue:
            message = self._queue[0]
            try:
                self.connection.send(message)
            except BlockingIOError:
                return
            except DisconnectedError as error:
                self._end(error)
                return
            except ConnectionRefusedError:
                refusals += 1
                self._refused(now_ns)
                if refusals <= REFUSALS_LIMIT:
                    continue
                self._failed(errno.ECONNREFUSED, message, now_ns)
            except OSError as error:
                if error.errno == errno.EMSGSIZE and self._shorten():
                    continue
                self._failed(error.errno or errno.EIO, message, now_ns)
            else:
                self._tally.sent(1, message.records)
            refusals = 0
            self._queue.popleft()
        if self.ended is None and self.connection.holds:  # no message will come to push it on
            with self._noticing(now_ns):
                self.connection.flush()

    @contextmanager
    def _noticing(self, now_ns: int) -> Iterator[None]:
        """Take what the connection says of itself where no message is being sent."""
        try:
            yield
        except DisconnectedError as error:
            self._end(error)
        except ConnectionRefusedError:
            self._refused(now_ns)
        except OSError:
            pass  # of a message; the next one that fails so is counted

    def _shorten(self) -> bool:
        """Cut the first message that waits to what the path takes now; whether that is any shorter."""
        whole = self._queue[0]
        limit = self.message_limit()
        if limit is None or limit >= len(whole.octets):
            return False
        pieces = self.session.split(whole.octets, limit)
        if not pieces:
            return False
        self._queue.popleft()
        self._queue.extendleft(whole._replace(octets=octets, records=n) for octets, n in reversed(pieces))
        self._tally.counters["messages_split"] += 1
        return True

    def _refused(self, now_ns: int) -> None:
        """ICMP says that nobody listens: reported on a later send, which itself did not go out. Not fatal."""
        self._tally.counters["refusals"] += 1
        self._tally.distrust(now_ns)
        self.session.refused(now_ns)

    def _failed(self, code: int, message: Outgoing, now_ns: int) -> None:
        self._tally.counters["messages_lost"] += 1
        self._tally.counters["send_errors"] += 1
        self._tally.distrust(now_ns)
        self._leftovers.add([message], "too_long" if code == errno.EMSGSIZE else "send")
        self._tally.error = os.strerror(code)

    def _end(self, error: DisconnectedError) -> None:
        """Leave what the connection did not acknowledge, then what waits."""
        self.ended = error
        sent = [message for message in self.connection.unacknowledged() if message.flows]
        self._tally.counters["records_unacknowledged"] += sum(message.records for message in sent)
        self._leftovers.add(sent)
        self._leftovers.add(self._queue, "connection")
        self._queue.clear()
        self.connection.close()

    def flushed(self) -> bool:
        """Whether nothing is left to be sent, here or in the connection."""
        try:
            return not self._queue and self.connection.flush()
        except DisconnectedError:
            return True

    def close(self) -> None:
        """End the connection; what waits is lost."""
        for message in self._queue:
            self._leftovers.lose(message, "queue")
        self._queue.clear()
        self.connection.close()


def copies(buffer: "ffi.CData", messages: "ffi.CData", count: int) -> Iterator[Outgoing]:
    """Copy messages out of the encoder's buffer: flow records with a header."""
    for message in messages[0:count]:
        yield Outgoing(bytes(ffi.buffer(buffer + message.offset, message.length)), message.records)
