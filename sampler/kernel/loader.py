"""Loads the BPF programs by the loader that the configuration names: loader_libbpf or loader_bcc, beside this file."""

from typing import Protocol

from sampler.errors import StartError
from sampler.kernel.features import tracing_features
from sampler.kernel.foreign import ForeignProgram
from sampler.kernel.maps import Maps

PROGRAMS = ("sample_xdp", "sample_tc_ingress", "sample_tc_egress")
TRACING = ("observe_entry", "observe_exit")


class Programs(Protocol):
    """The loaded programs, whoever loaded them."""

    def fd(self, name: str) -> int:
        """The descriptor of a program by its name, owned by this object."""

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


def prepare_tracing(name: str, maps: Maps) -> None:
    """Do what takes long before load_tracing() of any program: bcc compiles for seconds. What that raises."""
    if name == "bcc":
        from sampler.kernel.loader_bcc import compiled_tracing

        compiled_tracing(maps)
    else:
        tracing_features()


def load_tracing(name: str, maps: Maps, observed: int, foreign: ForeignProgram) -> Programs:
    """Load the tracing programs (TRACING) on a foreign program with the loader called name.

    Args:
        name: "libbpf" or "bcc".
        maps: those of the other programs.
        observed: descriptor of the map of this name, which no other foreign program's have.
        foreign: what they are to be attached to.

    Raises:
        StartError: RefusedError (sampler.kernel.refusal) where the kernel does not take them.
        OSError: the kernel has no BTF (ENOENT), or not the structures that are looked for (ESRCH).

    """
    if name == "bcc":
        from sampler.kernel.loader_bcc import BccTracing

        return BccTracing(maps, observed, foreign)
    from sampler.kernel.loader_libbpf import LibbpfTracing

    return LibbpfTracing(maps, observed, foreign)
