"""Captures as batches of samples: pcap and pcapng files, or one piped in, through the natively compiled parser."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.maps import log2_table
from sampler.kernel.selection import scale

ERROR_SIZE = 512
LINK_TYPES = "Ethernet, raw IP, BSD loopback and Linux cooked captures"


class CaptureError(StartError):
    """A capture that cannot be opened, or that is damaged from some record on."""


@dataclass(frozen=True)
class CaptureStats:
    """What was read of a capture.

    Octets on the wire; position in octets of the file, 0 for a pipe; tunnel_missed by cause (enum tunnel_miss).
    """

    packets: int = 0
    octets: int = 0
    sampled: int = 0
    snapped: int = 0
    truncated: int = 0
    malformed: int = 0
    chain: int = 0
    position: int = 0
    tunnel_missed: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: "CaptureStats") -> "CaptureStats":
        """Both together; positions do not add up to anything, so the last one stays."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in SUMMED}
        names = self.tunnel_missed | other.tunnel_missed
        missed = {name: self.tunnel_missed.get(name, 0) + other.tunnel_missed.get(name, 0) for name in names}
        return CaptureStats(**sums, position=other.position, tunnel_missed=missed)


SUMMED = ("packets", "octets", "sampled", "snapped", "truncated", "malformed", "chain")
# The causes of enum tunnel_miss in bpf/sample.def.h: "fragment", "header" ….
TUNNEL_MISSES = tuple(
    name.removeprefix("TUNNEL_MISS_").lower()
    for number, name in sorted(ffi.typeof("enum tunnel_miss").elements.items())
    if number not in (lib.TUNNEL_MISS_NONE, lib.TUNNEL_MISSES)
)


class Capture:
    """An open capture; a context manager.

    Args:
        path: a file, or "-" for standard input.

    Raises:
        CaptureError: it cannot be read, is no capture, or has a link type that is not read.

    """

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        out = ffi.new("struct capture **")
        message = ffi.new("char[]", ERROR_SIZE)
        code = lib.capture_open(out, path.encode("utf-8", "surrogateescape"), message, ERROR_SIZE)
        if code:
            raise CaptureError(open_error(self.name, -code, ffi.string(message).decode(errors="replace")))
        self.handle: Any = out[0]
        self._ahead: Any = ffi.NULL
        self._batch: Any = ffi.NULL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        lib.ahead_stop(self._ahead)
        self._ahead = ffi.NULL
        if self.handle != ffi.NULL:
            lib.capture_close(self.handle)
            self.handle = ffi.NULL

    @property
    def fd(self) -> int | None:
        """Descriptor of a pipe, to wait for when read() gave None; None for a file."""
        fd: int = lib.capture_fd(self.handle)
        return fd if fd >= 0 else None

    def set_sampling(self, interval: int, generation: int) -> None:
        """Take one packet in `interval` from here on, under this generation; without a call all are taken, under 0.

        Raises:
            CaptureError: there are no random numbers.

        """
        config = ffi.new("struct sampling_config *", (scale(Fraction(1, interval)), generation, 0))
        if code := lib.capture_set_sampling(self.handle, config, log2_table()):
            raise CaptureError(f"{self.name}: sampling 1 in {interval} cannot start: {os.strerror(-code)}")

    def set_tunnels(self, ports: Any) -> None:
        """Look into tunnels from here on, by destination ports: a struct port_tunnels[PORT_ENTRIES]. OSError."""
        if code := lib.capture_set_tunnels(self.handle, ports):
            raise OSError(-code, f"{self.name}: no memory for the tunnels' ports")

    def read(self, batch: Any) -> int | None:
        """Fill a batch (cffi array of struct sample) from its begin.

        Returns:
            Samples written; 0 at the end; None when there is none yet: a pipe is quiet, or the gate took nothing
            of many frames.

        Raises:
            CaptureError: the capture is damaged or cut off from here on; what came before was returned before.

        """
        return self._count(lib.capture_read(self.handle, batch, len(batch)))

    def start(self, size: int) -> None:
        """Read by next() from here on, in batches of up to `size` samples: a file in a thread, ahead of what is asked.

        Nothing else may be set or read any more.

        Raises:
            CaptureError: there is no thread to be had.

        """
        if not lib.capture_is_file(self.handle):
            self._batch = ffi.new("struct sample[]", size)
            return
        out = ffi.new("struct ahead **")
        if code := lib.ahead_start(out, self.handle, size):
            raise CaptureError(f"{self.name}: no thread can be started to read it: {os.strerror(-code)}")
        self._ahead = out[0]

    def next(self) -> tuple[Any, int] | None:
        """Return a batch and the samples in it as read() does, valid until the next call; None when there is none yet.

        None, too, now and then, where a file's disk is slow.
        """
        if self._ahead == ffi.NULL:
            count = self.read(self._batch)
            return None if count is None else (self._batch, count)
        out = ffi.new("struct sample **")
        count = self._count(lib.ahead_next(self._ahead, out))
        return None if count is None else (out[0], count)

    def _count(self, count: int) -> int | None:
        if count >= 0:
            return count
        if -count in (errno.EAGAIN, errno.EINTR):
            return None
        reason = ffi.string(lib.capture_error(self.handle)).decode(errors="replace")
        packets = self.stats().packets
        if -count == errno.ENODATA:
            raise CaptureError(f"{self.name}: the capture is cut off behind packet {packets} ({reason})")
        raise CaptureError(f"{self.name}: the capture cannot be read behind packet {packets} ({reason})")

    def stats(self) -> CaptureStats:
        """Count what was read so far."""
        stats = ffi.new("struct capture_stats *")
        if self._ahead == ffi.NULL:
            lib.capture_get_stats(self.handle, stats)
        else:
            lib.ahead_get_stats(self._ahead, stats)
        figures = {name: getattr(stats, name) for name in (*SUMMED, "position")}
        missed = {name: int(stats.tunnel_missed[i]) for i, name in enumerate(TUNNEL_MISSES, start=1)}
        return CaptureStats(**figures, tunnel_missed=missed)


def batches(capture: Capture, size: int = 256) -> Iterator[tuple[Any, int]]:
    """All batches of a file, each valid until the next one; for tests and measurements."""
    batch = ffi.new("struct sample[]", size)
    while (count := capture.read(batch)) != 0:
        if count is not None:
            yield batch, count


def open_error(name: str, code: int, reason: str) -> str:
    """Say in one sentence why a capture was not opened, and the way out."""
    if code == errno.EPROTONOSUPPORT:
        return (
            f"{name}: {reason}: capture {LINK_TYPES} only (tcpdump -y EN10MB chooses Ethernet where there is a choice)"
        )
    if code == errno.EINVAL:
        return f"{name}: no pcap or pcapng capture ({reason})"
    return f"{name}: {reason[:1].lower()}{reason[1:]}: name a capture file that can be read, or - for standard input"
