"""IPFIX files (RFC 5655): whole messages, one behind the other, and what a killed writer left of one."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from exporter.message import HEADER, VERSION

MODE = 0o640  # records of who talked to whom are not for everybody


class MessageFile:
    """An open file that is written; a context manager.

    Args:
        path: of the file.
        flags: of open(2), besides those for writing: os.O_TRUNC or os.O_EXCL.
        mode: permissions of a file that is made; the umask takes from the default only.

    Raises:
        OSError: it cannot be made.

    """

    def __init__(self, path: Path, flags: int, mode: int | None = None) -> None:
        self.size = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o666 if mode is None else mode)
        if mode is not None:
            os.fchmod(self._fd, mode)

    def lock(self) -> None:
        """Tell other writers that it is ours, until it is closed."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, message: bytes) -> None:
        """Append a message whole. OSError: the file is as it was."""
        rest = memoryview(message)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            if len(rest) < len(message):
                with suppress(OSError):  # a pipe
                    os.ftruncate(self._fd, self.size)
                    os.lseek(self._fd, self.size, os.SEEK_SET)
            raise
        self.size += len(message)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def whole_messages(fd: int) -> tuple[int, int | None]:
    """Octets of the messages from the file's beginning that are whole, and Export Time of the first, None without."""
    size = os.fstat(fd).st_size
    at, first = 0, None
    while at + HEADER.size <= size:
        version, length, export_time, _, _ = HEADER.unpack(os.pread(fd, HEADER.size, at))
        if version != VERSION or length < HEADER.size or at + length > size:
            break
        first = export_time if first is None else first
        at += length
    return at, first


@contextmanager
def left_behind(path: Path) -> Iterator[int | None]:
    """Cut a file that a killed writer left to whole messages; gives the Export Time of the first, None without.

    It is locked meanwhile. FileNotFoundError; BlockingIOError: somebody writes it; OSError: it is no IPFIX file.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size, first = whole_messages(fd)
        if first is None and os.pread(fd, 2, 0) not in (b"", b"\0", VERSION.to_bytes(2, "big")):
            raise OSError(f"{path} is there and is no IPFIX file: move it away, or name another")
        os.ftruncate(fd, size)
        yield first
    finally:
        os.close(fd)
