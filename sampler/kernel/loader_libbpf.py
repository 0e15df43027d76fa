"""The loader through libbpf: objects compiled with the package, in milliseconds and without a compiler."""

import importlib.resources
from collections.abc import Mapping
from typing import Self

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.features import kernel_features, tracing_features
from sampler.kernel.foreign import ForeignProgram
from sampler.kernel.maps import Maps
from sampler.kernel.refusal import refusal, refused


class LibbpfObject:
    """The programs of an object.

    Args:
        name: of its file in the package.
        maps: descriptors of what the programs use, by name.
        features: what the programs may use, of struct kernel_features.
        foreign: for tracing programs: what they are to be attached to.

    """

    def __init__(
        self, name: str, maps: Mapping[str, int], features: dict[str, int], foreign: ForeignProgram | None = None
    ) -> None:
        self._programs = ffi.NULL
        try:
            octets = importlib.resources.files("sampler").joinpath(name).read_bytes()
        except FileNotFoundError as error:
            raise StartError(f"{name} is missing from the package: install xdpfix anew") from error
        self._programs = lib.bpf_programs_open(octets, len(octets), ffi.new("struct kernel_features *", features))
        if not self._programs:
            raise StartError(f"{name} cannot be read by libbpf: install xdpfix anew")
        try:
            for map_name, fd in maps.items():
                failure = lib.bpf_programs_set_map(self._programs, map_name.encode(), fd)
                if failure:
                    raise StartError(f"{name} does not take the map {map_name}: {refusal(-failure)}")
            failure = 0
            if foreign is not None:
                failure = lib.bpf_programs_set_target(self._programs, foreign.fd, foreign.name.encode())
            failure = failure or lib.bpf_programs_load(self._programs)
            if failure:
                log = ffi.string(lib.bpf_programs_log(self._programs)).decode(errors="replace")
                raise refused(name, -failure, log)
        except BaseException:
            self.close()
            raise

    def fd(self, name: str) -> int:
        """The descriptor of a program, owned by this object."""
        fd = int(lib.bpf_programs_fd(self._programs, name.encode()))
        if fd < 0:
            raise KeyError(name)
        return fd

    def close(self) -> None:
        """Close the descriptors; an attached program lives on with its link."""
        lib.bpf_programs_close(self._programs)
        self._programs = ffi.NULL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LibbpfPrograms(LibbpfObject):
    """The programs on interfaces (sampler.kernel.loader.PROGRAMS).

    Args:
        maps: what the programs use.
        features: what the programs may use; default: what the kernel has.

    """

    def __init__(self, maps: Maps, features: dict[str, int] | None = None) -> None:
        super().__init__("sampler.bpf.o", maps.fds(), kernel_features() if features is None else features)


class LibbpfTracing(LibbpfObject):
    """The programs on a foreign program (sampler.kernel.loader.TRACING), whose map `observed` this descriptor is."""

    def __init__(self, maps: Maps, observed: int, foreign: ForeignProgram) -> None:
        super().__init__("observer.bpf.o", maps.fds() | {"observed": observed}, tracing_features(), foreign)
