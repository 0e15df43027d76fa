"""What cffi reads to make sampler._native: the shared ABI, then one declaration file a subject."""

from pathlib import Path

from cffi import FFI

SUBJECTS = [
    "bpf",
    "capture",
    "ahead",
    "caps",
    "feed",
    "genetlink",
    "link",
    "parser",
    "psample",
    "ring",
    "slice",
    "trace",
    "xdp",
]

HERE = Path(__file__).parent
BPF = HERE.parent.parent / "bpf"

ffibuilder = FFI()
for shared in ["types", "sample", "state"]:
    ffibuilder.cdef((BPF / f"{shared}.def.h").read_text())
for subject in SUBJECTS:
    ffibuilder.cdef((HERE / f"{subject}.def.h").read_text())
ffibuilder.set_source("sampler._native", "".join(f'#include "{subject}.h"\n' for subject in SUBJECTS))
