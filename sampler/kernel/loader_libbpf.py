"""The loader through libbpf: the object compiled with the package, in milliseconds and without a compiler."""

import importlib.resources
from typing import Self

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.features import kernel_features
from sampler.kernel.maps import Maps
from sampler.kernel.refusal import refusal, refused


class LibbpfPrograms:
    """The object compiled with the package, loaded in milliseconds and without a compiler.

    Args:
        maps: what the programs use.
        features: what the programs may use; default: what the kernel has.

    """

    def __init__(self, maps: Maps, features: dict[str, int] | None = None) -> None:
        self._programs = ffi.NULL
        try:
            octets = importlib.resources.files("sampler").joinpath("sampler.bpf.o").read_bytes()
        except FileNotFoundError as error:
            raise StartError("sampler.bpf.o is missing from the package: install xdpfix anew") from error
        has = ffi.new("struct kernel_features *", kernel_features() if features is None else features)
        self._programs = lib.bpf_programs_open(octets, len(octets), has)
        if not self._programs:
            raise StartError("sampler.bpf.o cannot be read by libbpf: install xdpfix anew")
        try:
            for name in maps.names():
                failure = lib.bpf_programs_set_map(self._programs, name.encode(), maps.fd(name))
                if failure:
                    raise StartError(f"sampler.bpf.o does not take the map {name}: {refusal(-failure)}")
            failure = lib.bpf_programs_load(self._programs)
            if failure:
                log = ffi.string(lib.bpf_programs_log(self._programs)).decode(errors="replace")
                raise refused("sampler.bpf.o", -failure, log)
        except BaseException:
            self.close()
            raise

    def fd(self, name: str) -> int:
        """The descriptor of a program of PROGRAMS, owned by this object."""
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
