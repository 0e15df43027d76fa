"""What cffi reads to make exporter._native: the shared ABI, then one declaration file a subject."""

from pathlib import Path

from cffi import FFI

SUBJECTS = ["flow", "weight", "cache", "encode", "send"]

HERE = Path(__file__).parent
BPF = HERE.parent.parent / "bpf"

ffibuilder = FFI()
ffibuilder.cdef(
    """
    typedef uint8_t __u8;
    typedef uint16_t __u16;
    typedef uint32_t __u32;
    typedef uint64_t __u64;
    typedef int64_t __s64;
    typedef uint16_t __be16;
    typedef uint32_t __be32;
    typedef uint64_t __be64;
    """
)
for declarations in [BPF / "sample.def.h"]:
    ffibuilder.cdef(declarations.read_text())
for subject in SUBJECTS:
    ffibuilder.cdef((HERE / f"{subject}.def.h").read_text())
ffibuilder.set_source("exporter._native", "".join(f'#include "{subject}.h"\n' for subject in SUBJECTS))
