"""The perf rings as seen from Python: a context manager around sampler/native/ring.c. The data thread reads them."""

import errno
import math
import os
from collections.abc import Iterable
from typing import Any, Self

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.maps import Maps

SAMPLE_SIZE: int = ffi.sizeof("struct sample")
BATCH_SIZE: int = lib.BATCH_SIZE
NS_PER_S = 10**9

# Samples between looks at what ended, as exporter.exporter.INGEST_BATCH: each selector's share of one may end a flow.
FEED_BATCH = 2048

# Who counts samples: addresses in this process, as exporter.cache.Cache.inlet() gives them.
Inlet = tuple[int, int, int]


class Ring:
    """One perf ring a CPU, of `pages` pages each (a power of two), and the half-filled batches behind them.

    Batches are writable buffers of `struct sample` that the caller owns; use `new_batch`. All methods but `wake`
    belong to one thread.

    Raises:
        StartError: the rings cannot be opened.

    """

    def __init__(self, maps: Maps, pages: int) -> None:
        out = ffi.new("struct ring **")
        err = lib.ring_new(out, maps.fd("ring"), maps.fd("cpus"), pages)
        if err:
            raise StartError(_explain(-err, pages))
        self._ring: Any = out[0]
        self._cpus = maps.cpus

    def new_batch(self) -> bytearray:
        """A batch with room for one full ring batch a CPU, and at least 1024 samples."""
        return bytearray(max(1024, BATCH_SIZE * (self._cpus + 1)) * SAMPLE_SIZE)

    def feed(self, batch: bytearray, inlets: Iterable[Inlet], until: float, wait: bool) -> bool:
        """Hand the samples of full batches to all inlets, by way of `batch`, with the GIL released all the time.

        Without `wait` until the rings are empty; else also what comes later, until `wake` is called or a watched
        descriptor can be read. In any case it ends behind the first batch after which something is pending behind an
        inlet, or the monotonic clock has reached `until` (s).

        Returns:
            Whether there may be more to read now.

        """
        sinks = ffi.new("struct sample_sink[]", [_sink(inlet) for inlet in inlets])
        samples = ffi.from_buffer("struct sample[]", batch)
        room = min(len(samples), FEED_BATCH)
        more = lib.ring_feed(self._ring, samples, room, sinks, len(sinks), max(0, math.ceil(until * NS_PER_S)), wait)
        if more < 0:
            raise OSError(-more, f"cannot wait for the rings: {os.strerror(-more)}")
        return bool(more)

    def rest(self, timeout: float, step: float) -> int:
        """Wait until a ring is an eighth full, `wake` is called, a watched descriptor can be read, or time is over.

        Also until samples wait in half-filled batches, which are looked at each `step` seconds. A step costs no Python:
        who has nothing to do sleeps long, and a sample waits no longer than a step.

        Returns:
            What ended it: an enum ring_end (sampler/native/ring.def.h).

        """
        # Rounded up: rounded down, the last millisecond would be spent without waiting.
        ended = int(lib.ring_rest(self._ring, max(0, math.ceil(timeout * 1000)), math.ceil(step * 1000)))
        if ended < 0:
            raise OSError(-ended, f"cannot wait for the rings: {os.strerror(-ended)}")
        return ended

    def watch(self, fd: int) -> None:
        """Let `rest` and `feed` end when this descriptor has something to read, too, once until `rearm`. OSError."""
        if err := lib.ring_watch(self._ring, fd):
            raise OSError(-err, os.strerror(-err))

    def rearm(self, fd: int) -> None:
        """Let it end them once more; at once where something waits."""
        lib.ring_rearm(self._ring, fd)

    def unwatch(self, fd: int) -> None:
        """No longer; before the descriptor is closed."""
        lib.ring_unwatch(self._ring, fd)

    def wake(self) -> None:
        """End a `rest` or `feed`. May be called from any thread."""
        if self._ring is not None:
            lib.ring_wake(self._ring)

    def read(self, batch: bytearray) -> int:
        """Samples copied to `batch` out of full batches; 0 when the rings are empty."""
        samples = ffi.from_buffer("struct sample[]", batch)
        return int(lib.ring_read(self._ring, samples, len(samples)))

    def peek(self, batch: bytearray) -> int:
        """Samples copied to `batch` out of half-filled batches. Call it when `read` has emptied the rings."""
        samples = ffi.from_buffer("struct sample[]", batch)
        return int(lib.ring_peek(self._ring, samples, len(samples)))

    def rescan(self) -> int:
        """Follow CPUs that came or went. Rings opened; negative errno when a ring could not be opened."""
        return int(lib.ring_rescan(self._ring))

    def stats(self) -> dict[str, int]:
        """Samples appended = received + lost + pending; peeked is a part of received; cpus counts open rings."""
        stats = ffi.new("struct ring_stats *")
        lib.ring_get_stats(self._ring, stats)
        return {name: int(getattr(stats, name)) for name, _ in ffi.typeof("struct ring_stats").fields}

    def close(self) -> None:
        """Close the rings. Idempotent."""
        ring, self._ring = self._ring, None
        if ring is not None:
            lib.ring_free(ring)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sink(inlet: Inlet) -> tuple[Any, Any, Any]:
    handle, ingest, pending = inlet
    return (
        ffi.cast("void *", handle),
        ffi.cast("void (*)(void *, const struct sample *, unsigned int)", ingest),
        ffi.cast("__u64 (*)(const void *)", pending),
    )


def _explain(err: int, pages: int) -> str:
    what = f"cannot open a perf ring of {pages} pages on every CPU: {os.strerror(err)}"
    if err == errno.EACCES:
        # Debian's and Ubuntu's kernels know a level above upstream's highest, which asks for CAP_SYS_ADMIN.
        return (
            f"{what}; run xdpfix as root or grant CAP_PERFMON; where the sysctl kernel.perf_event_paranoid is 3 or "
            "more, set it to 2, or grant CAP_SYS_ADMIN too (systemd/perf-event-paranoid.conf)"
        )
    if err == errno.EPERM:
        # What perf_event_mlock_kb does not cover; or somebody else's filter, since CAP_PERFMON is there.
        return (
            f"{what}: more than may be locked, or a container forbids it; lower sampler.ring_pages, raise the sysctl "
            "kernel.perf_event_mlock_kb, or grant CAP_IPC_LOCK"
        )
    if err == errno.ENOMEM:
        return f"{what}; lower sampler.ring_pages"
    return what
