"""Loads the BPF programs: through libbpf from the object in the package, or by name with sampler.loader_bcc."""

import importlib.resources
import os
from typing import Protocol, Self

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.maps import Maps, refusal

PROGRAMS = ("sample_xdp", "sample_tc_ingress", "sample_tc_egress")
LOG_LINES = 12  # of the verifier: its last lines name the instruction and the reason


class Programs(Protocol):
    """The loaded programs, whoever loaded them."""

    def fd(self, name: str) -> int:
        """The descriptor of a program of PROGRAMS, owned by this object."""

    def close(self) -> None:
        """Close the descriptors; an attached program lives on with its link."""


def load(name: str, maps: Maps) -> Programs:
    """Load the programs with the loader called name, "libbpf" or "bcc", over these maps.

    Raises:
        StartError: no privilege, a missing part of the loader, or the verifier refuses.

    """
    if name == "bcc":
        from sampler.loader_bcc import BccPrograms

        return BccPrograms(maps)
    if name == "libbpf":
        return LibbpfPrograms(maps)
    raise StartError(f"There is no loader {name!r}: it may be libbpf or bcc")


def refused(program: str, error: int, log: str) -> StartError:
    """The error of a program that the kernel does not take, with the tail of the verifier's log."""
    tail = "\n".join(log.rstrip("\0\n ").splitlines()[-LOG_LINES:])
    if not tail:
        return StartError(f"The kernel refuses the BPF program {program}: {refusal(error)}")
    return StartError(
        f"The kernel's verifier refuses the BPF program {program} ({os.strerror(error)}): use another kernel or "
        f"loader, and report it with the end of the verifier's log:\n{tail}"
    )


class LibbpfPrograms:
    """The object compiled with the package, loaded in milliseconds and without a compiler.

    Args:
        maps: what the programs use.
        xdp_load_bytes: load XDP frames with the helper of Linux 5.18; default: where the kernel has it.

    """

    def __init__(self, maps: Maps, xdp_load_bytes: bool | None = None) -> None:
        self._programs = ffi.NULL
        try:
            octets = importlib.resources.files("sampler").joinpath("sampler.bpf.o").read_bytes()
        except FileNotFoundError as error:
            raise StartError("sampler.bpf.o is missing from the package: install xdpfix anew") from error
        helper = lib.bpf_has_xdp_load_bytes() if xdp_load_bytes is None else xdp_load_bytes
        self._programs = lib.bpf_programs_open(octets, len(octets), helper)
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
