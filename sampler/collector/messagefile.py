"""The file of `--write` of `xdpfix collect` and `xdpfix read`: an IPFIX file whose failures end the command."""

import os
from pathlib import Path
from typing import Self

from exporter import messagefile
from sampler.errors import StartError


class MessageFile:
    """A file made anew; a context manager.

    Args:
        path: of the file; one that is there is overwritten.

    Raises:
        StartError: it cannot be made, or, by write(), it takes no more.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = messagefile.MessageFile(path, os.O_TRUNC)
        except OSError as error:
            raise StartError(f"--write {path}: {error.strerror}: give a file that can be made") from error

    def write(self, message: bytes) -> None:
        """Append one message."""
        try:
            self._file.write(message)
        except OSError as error:
            raise StartError(f"--write {self._path}: {error.strerror}: give a file on a disk with room") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
