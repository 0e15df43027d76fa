"""What the running kernel has, as both loaders tell it to the programs (struct kernel_features)."""

import os
from functools import cache
from pathlib import Path

from sampler._native import ffi, lib


@cache
def kernel_features() -> dict[str, int]:
    """All members by name; those for tracing programs are 0. Asked once: for each the kernel verifies a program."""
    features = ffi.new("struct kernel_features *")
    lib.bpf_probe_features(features)
    return _members(features)


def tracing_features() -> dict[str, int]:
    """All members by name, for tracing programs in the network namespace of the calling thread.

    Raises:
        OSError: ENOENT: the kernel has no BTF; ESRCH: its structures are not as they are looked for.

    """
    return kernel_features() | _offsets() | {"own_namespace": Path("/proc/thread-self/ns/net").stat().st_ino}


@cache
def _offsets() -> dict[str, int]:
    """The members that are not 0. Asked once: the kernel's BTF is some megabytes."""
    features = ffi.new("struct kernel_features *")
    error = lib.trace_probe_offsets(features)
    if error:
        raise OSError(-error, f"the kernel's BTF: {os.strerror(-error)}")
    return {name: value for name, value in _members(features).items() if value}


def _members(features: "ffi.CData") -> dict[str, int]:
    return {name: int(getattr(features, name)) for name, _ in ffi.typeof("struct kernel_features").fields}
