"""What the running kernel has, as both loaders tell it to the programs (struct kernel_features)."""

from functools import cache

from sampler._native import ffi, lib


@cache
def kernel_features() -> dict[str, int]:
    """1 or 0 by name of the feature. Asked once: for each the kernel verifies a small program."""
    features = ffi.new("struct kernel_features *")
    lib.bpf_probe_features(features)
    return {name: int(getattr(features, name)) for name, _ in ffi.typeof("struct kernel_features").fields}
