"""Attempts at a connection, each in a thread of its own: names, handshakes and slow hosts hold up nobody else."""

import logging
import threading
from collections.abc import Callable

from exporter.transports.connection import Connection

log = logging.getLogger(__name__)


class Attempt:
    """Begins at once; the result is there when done() is true.

    Args:
        connect: makes the connection. OSError.
        name: of the thread.

    """

    def __init__(self, connect: Callable[[], Connection], name: str) -> None:
        self._connect = connect
        self._result: Connection | OSError | None = None
        self._unwanted = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        result: Connection | OSError
        try:
            result = self._connect()
        except OSError as error:
            result = error
        except Exception as error:  # a fault of ours or of a library: without a result there would be no other attempt
            log.exception("%s", self._thread.name)
            result = OSError(f"an error of xdpfix: {error!r}; please report it with the lines of the log")
        with self._lock:
            self._result = result
        if self._unwanted:
            self.cancel()

    def done(self) -> bool:
        """Whether it succeeded or failed."""
        return self._result is not None

    def take(self) -> Connection:
        """Return the connection, or raise the OSError of the attempt."""
        assert self._result is not None
        if isinstance(self._result, OSError):
            raise self._result
        return self._result

    def cancel(self) -> None:
        """Nobody wants it any more: a connection is closed, now or when it comes."""
        with self._lock:
            self._unwanted = True
            result, self._result = self._result, None
        if result is not None and not isinstance(result, OSError):
            result.close()


class Connector:
    """Attempts until there is a connection, not too often (RFC 7011 section 10.4.4).

    Args:
        connect: makes the connection. OSError.
        instant: it takes no time, so no thread.
        delay_ns: least time from the end of an attempt to the next one.
        name: of what is connected to.

    """

    def __init__(self, connect: Callable[[], Connection], instant: bool, delay_ns: int, name: str) -> None:
        self._connect = connect
        self._instant = instant
        self.delay_ns = delay_ns
        self._name = name
        self._attempt: Attempt | None = None
        self._next_ns: int | None = None

    @property
    def busy(self) -> bool:
        """Whether an attempt goes on."""
        return self._attempt is not None

    def wait_s(self, now_ns: int) -> int:
        """Seconds until the next attempt may begin, rounded up."""
        return -(-max(0, (self._next_ns or now_ns) - now_ns) // 10**9)

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for: poll() will not find another answer at the same moment."""
        return self._attempt is None or self._attempt.done()

    def poll(self, now_ns: int) -> Connection | None:
        """Begin an attempt where one is due; return its connection when there is one. OSError: it failed."""
        if self._attempt is None:
            if self._next_ns is not None and now_ns < self._next_ns:
                return None
            if self._instant:
                self._next_ns = now_ns + self.delay_ns
                return self._connect()
            self._attempt = Attempt(self._connect, f"connect {self._name}")
        if not self._attempt.done():
            return None
        attempt, self._attempt = self._attempt, None
        self._next_ns = now_ns + self.delay_ns
        return attempt.take()

    def cancel(self) -> None:
        """Forget the attempt that goes on."""
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None
