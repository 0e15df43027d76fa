"""Observes a foreign XDP program: two tracing programs on it, one at its entry and one at its exit.

The programs are those of bpf/observer.bpf.c. A gate that is opened as observed (sampler.kernel.gates) counts the frames
of its interface that pass the foreign program.
"""

import errno
import os
from typing import Self
from weakref import WeakKeyDictionary

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.foreign import ForeignProgram
from sampler.kernel.loader import load_tracing
from sampler.kernel.maps import MAP_TYPE_PERCPU_ARRAY, Maps
from sampler.kernel.refusal import refusal
from sampler.kernel.tracerrefusal import AttachError, TracerRefusedError, of_attaching, of_foreign


class ProgramGoneError(StartError):
    """The program was gone before it could be observed: no fault, another one may have taken its place."""

    def __init__(self, program_id: int) -> None:
        super().__init__(f"The XDP program {program_id} is gone: `bpftool prog` lists those that there are")


class Pair:
    """The two programs on one foreign program, with their map, until the last of its users closes it.

    Two foreign programs may share a third that stands in their places, as libxdp's dispatchers of two interfaces do: a
    second pair there would count its frames twice.
    """

    def __init__(self, maps: Maps) -> None:
        self.users = 1
        self._maps = maps
        self._links: list[int] = []
        size = ffi.sizeof("struct observed")
        # A map of its own: whom an exit belongs to is then no question of other foreign programs.
        self._observed = int(lib.bpf_create_map(MAP_TYPE_PERCPU_ARRAY, b"observed", 4, size, 1, 0))
        if self._observed < 0:
            raise StartError(f"BPF map observed cannot be made: {refusal(-self._observed)}")

    def attach(self, loader: str, foreign: ForeignProgram) -> None:
        """The exit first: it has nothing to do until there is an entry. What load_tracing() raises; AttachError."""
        programs = load_tracing(loader, self._maps, self._observed, foreign)
        try:
            for name in ("observe_exit", "observe_entry"):
                fd = int(lib.trace_attach(programs.fd(name)))
                if fd < 0:
                    raise AttachError(-fd)
                self._links.append(fd)
        finally:
            programs.close()

    def close(self) -> None:
        """Detach both. The exit first: an entry can tell that a frame before had none, an exit cannot.

        Samples whose exit did not come meanwhile are lost, and counted.
        """
        had_links = bool(self._links)
        while self._links:
            os.close(self._links.pop(0))
        if had_links:
            self._maps.wait_programs()
            self._maps.unanswered += self._unfinished()
        os.close(self._observed)

    def _unfinished(self) -> int:
        """Samples that wait for their exit."""
        values = ffi.new("struct observed[]", self._maps.cpus)
        if lib.bpf_lookup_map(self._observed, ffi.new("__u32 *", 0), values):
            return 0
        return sum(1 for value in values if value.frame)


# By the foreign program's number.
_pairs: "WeakKeyDictionary[Maps, dict[int, Pair]]" = WeakKeyDictionary()


class Tracer:
    """The tracing programs on one foreign XDP program, whichever interfaces it is on. A context manager.

    The frames of an interface are sampled while its gate for ingress is open as an observed one. The kernel keeps the
    foreign program as long as this is open: close it when the program has left its interfaces.

    Attributes:
        program_id: of the foreign program.
        observed_id: the same, or that of the program in its place (sampler.kernel.foreign).
        name: of the main function of that.

    Args:
        maps: what the programs use, shared with those of sampler.kernel.loader.
        loader: "libbpf" or "bcc".
        program_id: of the foreign program, as netlink and bpftool give it.

    Raises:
        TracerRefusedError: this program, or this kernel, takes no tracing programs.
        ProgramGoneError: there is no program of this number any more.
        StartError: what stands in the way of any program: bcc or the package is not whole.

    """

    def __init__(self, maps: Maps, loader: str, program_id: int) -> None:
        self.program_id = program_id
        self._pairs = _pairs.setdefault(maps, {})
        with self._open() as foreign:
            self.name = foreign.name
            self.observed_id = foreign.id
            if foreign.id in self._pairs:
                self._pairs[foreign.id].users += 1
            else:
                self._pairs[foreign.id] = self._attached(maps, loader, foreign)
        self._closed = False

    def _open(self) -> ForeignProgram:
        try:
            return ForeignProgram(self.program_id)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise ProgramGoneError(self.program_id) from None
            raise TracerRefusedError(self.program_id, of_foreign(error)) from None

    def _attached(self, maps: Maps, loader: str, foreign: ForeignProgram) -> Pair:
        pair = Pair(maps)
        try:
            pair.attach(loader, foreign)
        except BaseException as error:
            pair.close()
            reason = of_attaching(error)
            if not reason:
                raise
            raise TracerRefusedError(self.program_id, reason) from error
        return pair

    def close(self) -> None:
        """Detach both programs; nothing of the foreign program is held after it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        pair = self._pairs[self.observed_id]
        pair.users -= 1
        if not pair.users:
            self._pairs.pop(self.observed_id).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
