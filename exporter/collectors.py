"""Collectors: the only I/O of the exporting side. One connected UDP socket each, for the life of its session."""

import errno
import logging
import os
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from exporter._native import ffi, lib
from exporter.losses import Losses
from exporter.options import Target
from exporter.session import Session

log = logging.getLogger(__name__)

RETRY_DELAY_NS = 10 * 10**9  # a failed start is tried again after this: often enough for a DNS server that is booting

LOSS_INTERVAL_NS = 60 * 10**9  # losses that go on are told once a minute

# Messages kept while a socket takes none: 1.4 MB at the default size, a quarter of a second at 64 Mbit/s.
QUEUE_LIMIT = 1024

# Linux, <linux/in.h> and <linux/in6.h>; Python names only some of them.
IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO, IPV6_MTU = 23, 2, 24
HEADERS = {socket.AF_INET: 20 + 8, socket.AF_INET6: 40 + 8}  # IP and UDP

# Never made smaller than this: the largest record and its headers fit, and no path of today has a smaller MTU.
SMALLEST_MESSAGE = 256
REFUSALS_LIMIT = 3  # attempts at one message while ICMP errors of earlier ones are reported in its place


def _connected_socket(family: int, address: tuple[str, int]) -> socket.socket:
    """Make a UDP socket that never fragments, connected there. OSError, also where the kernel lacks the family."""
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


@dataclass(frozen=True)
class Endpoint:
    """The 5-tuple of a session: addresses as text, ports, protocol (6 TCP, 17 UDP, 132 SCTP)."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int = 17


class Collector:
    """One target: resolved, connected, sent to; every failure is counted and none is raised.

    `counters` has records and messages sent and records lost by cause. `new_session` makes the session of a socket.
    """

    losses: Losses | None = None  # counts what it did not get, for options data

    def __init__(self, target: Target, new_session: Callable[[], Session]) -> None:
        self.target = target
        self.counters: Counter[str] = Counter()
        self.error = ""  # the last one, for people
        self.session: Session | None = None
        self._new_session = new_session
        self._lost_told = 0
        self._tell_ns: int | None = None
        self._socket: socket.socket | None = None
        self._queue: deque[tuple[bytes, int]] = deque()
        self._retry_ns: int | None = None
        self._resolver: threading.Thread | None = None
        self._resolved: list[tuple[int, tuple[str, int]]] | OSError | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._socket is not None

    def start(self, now_ns: int) -> bool:
        """Get on with connecting where that is due; True when a session began. Never blocks."""
        if self._socket is not None:
            return False
        if self._resolver is None:
            if self._retry_ns is not None and now_ns < self._retry_ns:
                return False
            self._resolve()
        if self._resolver is not None and self._resolver.is_alive():
            return False
        self._resolver = None
        self._retry_ns = now_ns + RETRY_DELAY_NS
        return self._connect()

    def _resolve(self) -> None:
        """Find the addresses: at once where they are literal, else in a thread, for a resolver may take seconds."""
        self._resolved = self._lookup(socket.AI_NUMERICHOST)
        if isinstance(self._resolved, OSError):
            self._resolver = threading.Thread(target=self._resolve_name, name=f"resolve {self.target}", daemon=True)
            self._resolver.start()

    def _resolve_name(self) -> None:
        self._resolved = self._lookup(0)

    def _lookup(self, flags: int) -> list[tuple[int, tuple[str, int]]] | OSError:
        try:
            found = socket.getaddrinfo(self.target.host, self.target.port, type=socket.SOCK_DGRAM, flags=flags)
        except OSError as error:
            return error
        except UnicodeError:  # a label too long for DNS
            return OSError(errno.EINVAL, "no valid host name")
        return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]

    def _connect(self) -> bool:
        found = self._resolved
        if not isinstance(found, list):
            return self._failed(found or OSError(errno.ENOENT, "no address"))
        error = OSError(errno.ENOENT, "no address")
        for family, address in found:
            try:
                sock = _connected_socket(family, address)
            except OSError as failure:
                error = failure
                continue
            self._socket = sock
            self.session = self._new_session()
            self.counters["sessions"] += 1
            self.error = ""
            log.info("collector %s: exporting to %s port %d", self.target, *sock.getpeername()[:2])
            return True
        return self._failed(error)

    def _failed(self, error: OSError) -> bool:
        self.counters["start_errors"] += 1
        self.error = error.strerror or str(error)
        delay = RETRY_DELAY_NS // 10**9
        log.warning("collector %s cannot be reached: %s; trying again in %d s", self.target, self.error, delay)
        return False

    def message_limit(self) -> int | None:
        """Octets of the longest message that the path takes, as far as the kernel knows; None without a session."""
        sock = self._socket
        if sock is None:
            return None
        level, name = (socket.IPPROTO_IP, IP_MTU) if sock.family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_MTU)
        try:
            mtu = sock.getsockopt(level, name)
        except OSError:  # no route at the moment
            return None
        return max(mtu - HEADERS[sock.family], SMALLEST_MESSAGE)

    def endpoint(self) -> Endpoint | None:
        """The 5-tuple of the session, None without one."""
        if self._socket is None:
            return None
        source, destination = self._socket.getsockname(), self._socket.getpeername()
        return Endpoint(source[0].partition("%")[0], source[1], destination[0].partition("%")[0], destination[1])

    def announce(self, now_ns: int, export_time: int, limit: int) -> None:
        """Send the templates and options that are due."""
        self.drain(now_ns)
        if self.session is not None:
            for octets, records in self.session.announce(now_ns, export_time, limit):
                self._enqueue(octets, records)
            self.drain(now_ns)

    def send(self, buffer: "ffi.CData", messages: "ffi.CData", count: int, export_time: int, now_ns: int) -> None:
        """Send messages of C's encoder, made for all collectors: stamp this session's header, then send."""
        start = 0
        while start < count:
            end, records, octets = start, 0, 0
            domain = messages[start].domain
            while end < count and messages[end].domain == domain:
                records += messages[end].records
                octets += messages[end].length
                end += 1
            if self.session is None:
                self.counters["records_lost_no_session"] += records
                for message in messages[start:end]:
                    self._count_lost(buffer + message.offset, message.length, export_time)
            else:
                sequence = self.session.advance(domain, records, messages=end - start, octets=octets)
                lib.encode_headers(buffer, messages + start, end - start, export_time, sequence)
                self._send_run(buffer, messages, start, end, now_ns)
            start = end

    def _send_run(self, buffer: "ffi.CData", messages: "ffi.CData", start: int, end: int, now_ns: int) -> None:
        assert self._socket is not None
        sent = ffi.new("unsigned int *")
        refusals = code = 0
        while start < end and not self._queue:
            code = lib.send_messages(self._socket.fileno(), buffer, messages + start, end - start, sent)
            self.counters["messages_sent"] += sent[0]
            self.counters["records_sent"] += sum(messages[i].records for i in range(start, start + sent[0]))
            if sent[0]:
                refusals, self.error = 0, ""
            start += sent[0]
            if not code or -code == errno.EAGAIN:
                break
            if -code == errno.EMSGSIZE:
                break
            if -code == errno.ECONNREFUSED and refusals < REFUSALS_LIMIT:
                refusals += 1
                self._refused(now_ns)
                continue
            self._lost(-code, messages[start].records)
            self._count_lost(buffer + messages[start].offset, messages[start].length)
            start += 1
        for message in (messages[i] for i in range(start, end)):
            self._enqueue(bytes(ffi.buffer(buffer + message.offset, message.length)), message.records)
        if code and -code == errno.EMSGSIZE:
            self.drain(now_ns)

    def _enqueue(self, octets: bytes, records: int) -> None:
        if len(self._queue) >= QUEUE_LIMIT:
            self.counters["records_lost_queue"] += records
            self.counters["messages_lost"] += 1
            self._count_lost(octets, len(octets))
        else:
            self._queue.append((octets, records))

    def drain(self, now_ns: int) -> None:
        """Send what waits, as far as the socket takes it."""
        refusals = 0
        while self._queue and self._socket is not None:
            octets, records = self._queue[0]
            try:
                self._socket.send(octets)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                refusals += 1
                self._refused(now_ns)
                if refusals <= REFUSALS_LIMIT:
                    continue
                self._lost(errno.ECONNREFUSED, records)
                self._count_lost(octets, len(octets))
            except OSError as error:
                if error.errno == errno.EMSGSIZE and self._shorten():
                    continue
                self._lost(error.errno or errno.EIO, records)
                self._count_lost(octets, len(octets))
            else:
                self.counters["messages_sent"] += 1
                self.counters["records_sent"] += records
                self.error = ""
            refusals = 0
            self._queue.popleft()

    def _shorten(self) -> bool:
        """Cut the first message that waits to what the path takes now; whether that is any shorter."""
        octets, _ = self._queue[0]
        limit = self.message_limit()
        if limit is None or limit >= len(octets) or self.session is None:
            return False
        pieces = self.session.split(octets, limit)
        if not pieces:
            return False
        self._queue.popleft()
        self._queue.extendleft(reversed(pieces))
        self.counters["messages_split"] += 1
        return True

    def _refused(self, now_ns: int) -> None:
        """ICMP says that nobody listens: reported on a later send, which itself did not go out. Not fatal."""
        self.counters["refusals"] += 1
        if self.session is not None:
            self.session.refused(now_ns)

    def _lost(self, code: int, records: int) -> None:
        self.counters["messages_lost"] += 1
        self.counters["send_errors"] += 1
        self.counters["records_lost_too_long" if code == errno.EMSGSIZE else "records_lost_send"] += records
        self.error = os.strerror(code)

    def _count_lost(self, message: "ffi.CData | bytes", length: int, time: int | None = None) -> None:
        """Count the flow records of a message that did not go out; without a session its header has no time yet."""
        if self.losses is None:
            return
        contents = self.losses.count(message, length, time)
        if self.session is not None:
            self.session.not_sent(contents.domain, contents.flows, length)

    def tell_losses(self, now_ns: int) -> None:
        """Log how many records were lost since that was last told, not more often than once a minute."""
        lost = self.records_lost - self._lost_told
        if lost and (self._tell_ns is None or now_ns >= self._tell_ns):
            reason = self.error or (f"{QUEUE_LIMIT} messages wait" if self.connected else "not connected yet")
            log.warning("collector %s: %d records lost: %s", self.target, lost, reason)
            self._lost_told += lost
            self._tell_ns = now_ns + LOSS_INTERVAL_NS

    @property
    def records_lost(self) -> int:
        """Data records that did not go out, for whatever cause."""
        return sum(count for name, count in self.counters.items() if name.startswith("records_lost_"))

    def row(self) -> dict[str, object]:
        """The target, its counters by name and its last error."""
        state = "connected" if self.connected else "not connected"
        names = ("messages_sent", "records_sent", "messages_lost", "refusals", "start_errors", "sessions")
        row: dict[str, object] = {
            "target": str(self.target),
            "state": f"{state}: {self.error}" if self.error else state,
        }
        row |= {name: self.counters[name] for name in names}
        row |= {name: count for name, count in sorted(self.counters.items()) if name not in names}
        return row | {"records_waiting": self.waiting}

    @property
    def waiting(self) -> int:
        """Data records in the queue."""
        return sum(records for _, records in self._queue)

    def close(self) -> None:
        """End the session. What waits is lost and counted."""
        self.counters["records_lost_queue"] += self.waiting
        for octets, _ in self._queue:
            self._count_lost(octets, len(octets))
        self._queue.clear()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
        self._socket = None
        self.session = None
