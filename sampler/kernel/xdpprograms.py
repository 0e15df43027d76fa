"""The XDP programs that are attached to interfaces, whoever attached them, and what is known of a program."""

import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sampler._native import ffi, lib

# By enum xdp_mode.
MODES = {lib.XDP_MODE_NATIVE: "native", lib.XDP_MODE_GENERIC: "generic", lib.XDP_MODE_HARDWARE: "hardware"}


@dataclass(frozen=True)
class XdpProgram:
    """A program on an interface: its id, and where it runs: "native", "generic", "hardware", or "members" of a bond."""

    id: int
    mode: str


class XdpPrograms:
    """Asks the kernel. A context manager; in the network namespace of the thread that makes it.

    Raises:
        OSError: there is no socket.

    """

    def __init__(self) -> None:
        self._socket: int = lib.xdp_open()
        if self._socket < 0:
            raise OSError(-self._socket, os.strerror(-self._socket))
        self._one_at_a_time = threading.Lock()
        self._asked: list[int] = []
        self._answers = ffi.new("struct xdp_program[]", 0)

    def read(self, ifindexes: Collection[int]) -> Mapping[int, XdpProgram]:
        """Give the programs by ifindex, of those that have one. Waits for the RTNL lock. OSError."""
        with self._one_at_a_time:
            if list(ifindexes) != self._asked:
                self._asked = list(ifindexes)
                self._answers = ffi.new("struct xdp_program[]", [{"ifindex": ifindex} for ifindex in ifindexes])
            found = lib.xdp_read(self._socket, self._answers, len(self._asked))
            if found < 0:
                raise OSError(-found, os.strerror(-found))
            # Twice a second, and most hosts have none.
            having = [answer for answer in self._answers if answer.id] if found else []
            return {answer.ifindex: XdpProgram(answer.id, MODES[answer.mode]) for answer in having}

    def close(self) -> None:
        """Close the socket; closing twice does nothing."""
        with self._one_at_a_time:
            if self._socket >= 0:
                os.close(self._socket)
                self._socket = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NewLinks:
    """Asks the kernel whether a BPF link was made, of whatever kind."""

    def __init__(self) -> None:
        self._newest = ffi.new("__u32 *")

    def any(self) -> bool | None:
        """Whether there is one that was not there before; None without CAP_SYS_ADMIN.

        It may take a moment from now until it is attached.
        """
        newer = lib.xdp_newer_link(self._newest)
        return None if newer < 0 else bool(newer)


def program_id(fd: int) -> int:
    """Give the id of a program of this process, by its descriptor."""
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        if line.startswith("prog_id:"):
            return int(line.split()[1])
    raise OSError(f"descriptor {fd} is no BPF program")


def program_name(number: int) -> str:
    """Give the name of a program, "" where it cannot be asked for: without CAP_SYS_ADMIN, or when it is gone."""
    name = ffi.new("char[16]")
    return "" if lib.xdp_program_name(number, name) else ffi.string(name).decode(errors="replace")


def shown(number: int, name: str) -> str:
    """How a program is called in sentences: 'filter, id 12'."""
    return f"{name}, id {number}" if name else f"id {number}"
