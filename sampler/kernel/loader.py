"""Loads the BPF programs by the loader that the configuration names: loader_libbpf or loader_bcc, beside this file."""

from typing import Protocol

from sampler.errors import StartError
from sampler.kernel.maps import Maps

PROGRAMS = ("sample_xdp", "sample_tc_ingress", "sample_tc_egress")


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
        from sampler.kernel.loader_bcc import BccPrograms

        return BccPrograms(maps)
    if name == "libbpf":
        from sampler.kernel.loader_libbpf import LibbpfPrograms

        return LibbpfPrograms(maps)
    raise StartError(f"There is no loader {name!r}: it may be libbpf or bcc")
