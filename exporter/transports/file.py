"""Files (RFC 5655): each is a session of its own, written by a thread, closed by size and age, named by its time."""

import errno
import re
import threading
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from os import O_EXCL
from pathlib import Path

from exporter.message import HEADER
from exporter.messagefile import MODE, MessageFile, left_behind
from exporter.options import FileOptions, Target
from exporter.transports.connection import CONNECT_TIMEOUT, Connection, DisconnectedError, Outgoing

WAITING_LIMIT = 256  # messages that the thread has not written yet
CLOSE_TIMEOUT = 10.0  # seconds that the process waits at its end for a disk that hangs
ROTATE, END = "rotate", "end"


class File(Connection):
    """One file; its successor has the same path, which then is another file."""

    def __init__(self, writer: "Writer", begun_ns: int | None = None) -> None:
        self.peer = str(writer.path)
        self._writer = writer
        self._begun_ns = begun_ns
        self._octets = 0
        self._flows = False

    def send(self, message: Outgoing) -> None:
        """Hand the message to the thread."""
        self._writer.put(message)
        self._octets += len(message.octets)
        self._flows = self._flows or message.flows

    def check(self, now_ns: int) -> None:
        """Raise what the thread met."""
        self._writer.raise_error()

    def flush(self) -> bool:
        """Whether all is written."""
        self._writer.raise_error()
        return not self._writer.waiting

    def unacknowledged(self) -> list[Outgoing]:
        """Return what was not written before the thread ended."""
        return [message for message in self._writer.waiting if isinstance(message, Outgoing)]

    def successor(self, now_ns: int) -> "File | None":
        """Begin another file where this one, with flows, is large or old enough."""
        options = self._writer.options
        if self._begun_ns is None:
            self._begun_ns = now_ns
        old = bool(options.rotate_interval) and now_ns - self._begun_ns >= options.rotate_interval * 10**9
        if not self._flows or not (old or 0 < options.rotate_size <= self._octets):
            return None
        self._writer.tell(ROTATE)
        return File(self._writer, now_ns)

    def close(self) -> None:
        """Close the file behind what waits. The process ends after that."""
        self._writer.tell(END)
        # No daemon, as the data thread is, which calls this.
        name = f"close {self.peer}"
        threading.Thread(target=self._writer.join, args=(CLOSE_TIMEOUT,), name=name, daemon=False).start()


class Writer(threading.Thread):
    """Writes what it is given, in order, until END or an error. A disk may block it, and nobody else."""

    def __init__(self, path: Path, options: FileOptions) -> None:
        super().__init__(name=f"write {path}", daemon=True)
        self.path = path
        self.options = options
        self.waiting: deque[Outgoing | str] = deque()
        self._given = threading.Semaphore(0)
        self._error: OSError | None = None
        self._first: int | None = None  # Export Time of the file's first message
        self._flows = False
        self._file = self._open()
        self.start()

    def put(self, message: Outgoing) -> None:
        """Give it a message. BlockingIOError: too many wait. DisconnectedError."""
        self.raise_error()
        if len(self.waiting) >= WAITING_LIMIT:
            raise BlockingIOError
        self.tell(message)

    def tell(self, item: Outgoing | str) -> None:
        """Give it a message, ROTATE or END."""
        self.waiting.append(item)
        self._given.release()

    def raise_error(self) -> None:
        """DisconnectedError if it could not go on."""
        if self._error is not None:
            raise DisconnectedError(self._error.errno, self._error.strerror or str(self._error))

    def run(self) -> None:
        """Do what it is told, one thing after the other."""
        try:
            while True:
                self._given.acquire()
                item = self.waiting[0]
                if isinstance(item, Outgoing):
                    self._write(item)
                else:
                    self._finish()
                    if item == END:
                        return
                    self._file = self._open()
                self.waiting.popleft()
        except OSError as error:
            with suppress(OSError):
                self._finish()
            self._error = error

    def _write(self, message: Outgoing) -> None:
        self._file.write(message.octets)
        self._flows = self._flows or message.flows
        if self._first is None:
            self._first = HEADER.unpack_from(message.octets)[2]

    def _open(self) -> MessageFile:
        """Make the file; what a killed writer left under its name is closed first. OSError; waits for another one."""
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while True:
            with suppress(FileExistsError):
                file = MessageFile(self.path, O_EXCL, MODE)
                file.lock()
                return file
            try:
                with suppress(FileNotFoundError), left_behind(self.path) as first:
                    self._put_away(first)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OSError(errno.EBUSY, "another process writes it: name another file") from None
                time.sleep(0.02)  # in the attempt's thread; a lock can be waited for, but not for so long only

    def _finish(self) -> None:
        """Close the file and give it its lasting name; one without flows goes. Old ones go, too."""
        # First renamed: a file that is not locked is nobody's.
        self._put_away(self._first if self._flows else None)
        self._file.close()
        self._first, self._flows = None, False
        if self.options.keep:
            for path in closed_files(self.path)[: -self.options.keep]:
                path.unlink(missing_ok=True)

    def _put_away(self, first: int | None) -> None:
        if first is None:
            self.path.unlink(missing_ok=True)
            return
        begun = datetime.fromtimestamp(first, UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{self.path.stem}-{begun}"
        number = 0
        while (closed := self.path.with_name(f"{name}{self.path.suffix}")).exists():
            number += 1
            name = f"{self.path.stem}-{begun}-{number}"
        self.path.rename(closed)


def closed_files(path: Path) -> list[Path]:
    """Files that were closed and named after this one, the oldest first."""
    pattern = re.compile(re.escape(path.stem) + r"-(\d{8}T\d{6}Z)(?:-(\d+))?" + re.escape(path.suffix))
    found = []
    for other in path.parent.iterdir():
        if match := pattern.fullmatch(other.name):
            found.append((match[1], int(match[2] or 0), other))
    return [other for _, _, other in sorted(found)]


def open_file(target: Target, options: FileOptions) -> File:
    """Make the target's file. OSError; may block as long as a disk does."""
    return File(Writer(Path(target.path), options))
