"""What cffi reads to make sampler._native: the shared ABI, then one declaration file a subject."""

from pathlib import Path

from cffi import FFI

SUBJECTS = ["bpf", "capture", "caps", "link", "parser", "ring"]

HERE = Path(__file__).parent
BPF = HERE.parent.parent / "bpf"

ffibuilder = FFI()
ffibuilder.cdef(
    """
    typedef uint8_t __u8;
    typedef uint16_t __u16;
    typedef uint32_t __u32;
    typedef unsigned long long __u64;
    typedef long long __s64;
    typedef uint16_t __be16;
    typedef uint32_t __be32;
    typedef unsigned long long __be64;
    """
)
for declarations in [BPF / "sample.def.h", BPF / "state.def.h"]:
    ffibuilder.cdef(declarations.read_text())
for subject in SUBJECTS:
    ffibuilder.cdef((HERE / f"{subject}.def.h").read_text())
ffibuilder.set_source("sampler._native", "".join(f'#include "{subject}.h"\n' for subject in SUBJECTS))
