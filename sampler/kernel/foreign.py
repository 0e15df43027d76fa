"""A foreign BPF program, opened by its number, as the loaders of tracing programs want to know it."""

import os
from typing import Self

from sampler._native import ffi, lib


class ForeignProgram:
    """An XDP program that somebody loaded. A context manager: while it is open the kernel keeps the program.

    Where another program stands in the place of its main function, as with libxdp's dispatchers for one program, that
    is opened: it gets the frames.

    Attributes:
        fd: its descriptor.
        id: its number: the one asked for, or that of the program in its place.
        name: of its main function, whole.
        function: the number of that function in the program's BTF.

    Raises:
        OSError: ENOENT: it is gone; EPERM: CAP_SYS_ADMIN is missing; ENODATA: it has no BTF; ENOEXEC: it is not
            machine code of this host; EPROTOTYPE: it does not take a struct xdp_md; ENOTUNIQ: its name is not its own.

    """

    def __init__(self, program_id: int) -> None:
        self.fd = _checked(lib.trace_open(program_id), program_id)
        try:
            self._describe(program_id)
            extension = _checked(lib.trace_extension(self.fd, self.function), program_id)
            if extension:
                self.close()
                self.fd = extension
                self._describe(program_id)
        except BaseException:
            self.close()
            raise

    def _describe(self, program_id: int) -> None:
        target = ffi.new("struct trace_target *")
        _checked(lib.trace_describe(self.fd, target), program_id)
        self.id = int(target.id)
        self.name = ffi.string(target.name).decode(errors="replace")
        self.function = int(target.function)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(result: int, program_id: int) -> int:
    if result < 0:
        raise OSError(-result, f"BPF program {program_id}: {os.strerror(-result)}")
    return result
