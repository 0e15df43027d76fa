"""Observes a foreign XDP program: two tracing programs on it, one at its entry and one at its exit.

The programs are those of bpf/observer.bpf.c. A gate that is opened as observed (sampler.kernel.gates) counts the frames
of its interface that pass the foreign program.
"""

from typing import Self

from sampler.errors import StartError
from sampler.kernel.maps import Maps


class TracerRefusedError(StartError):
    """The program cannot be observed here.

    Attributes:
        reason: why, and the way out where there is one: a clause without capital letter and full stop.

    """

    def __init__(self, program_id: int, reason: str) -> None:
        super().__init__(f"The XDP program {program_id} cannot be observed: {reason}")
        self.reason = reason


class ProgramGoneError(StartError):
    """The program was gone before it could be observed: no fault, another one may have taken its place."""


class Tracer:
    """The tracing programs on one foreign XDP program, whichever interfaces it is on. A context manager.

    The frames of an interface are sampled while its gate for ingress is open as an observed one. What the kernel
    frees with a program's last user is held while this is open: close it when the program has left its interfaces.

    Attributes:
        program_id: of the foreign program.
        name: its main function's.

    Args:
        maps: what the programs use, shared with those of sampler.kernel.loader.
        loader: "libbpf" or "bcc".
        program_id: of the foreign program, as netlink and bpftool give it.

    Raises:
        TracerRefusedError: this program, or this kernel, takes no tracing programs.
        ProgramGoneError: there is no program of this number any more.

    """

    def __init__(self, maps: Maps, loader: str, program_id: int) -> None:
        self.program_id = program_id
        self.name = ""
        raise TracerRefusedError(program_id, "not built yet")

    def close(self) -> None:
        """Detach both programs; nothing of the foreign program is held after it. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
