"""BPF objects of tests: compiled when their source is newer, loaded by libbpf as another tool would, with own maps."""

import ctypes
import os
import platform
import subprocess
from pathlib import Path
from typing import Self

from lib.machine import TREE

libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
for function in (
    "bpf_object__open_file",
    "bpf_object__next_program",
    "bpf_object__find_program_by_name",
    "bpf_program__attach_freplace",
):
    getattr(libbpf, function).restype = ctypes.c_void_p


def compiled(source: Path) -> Path:
    """The object with all programs of NAME.bpf.c, as new as that."""
    path = TREE / ".state" / source.with_suffix(".o").name
    if not path.exists() or path.stat().st_mtime < source.stat().st_mtime:
        path.parent.mkdir(exist_ok=True)
        command = ["clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror"]
        command += ["-idirafter", f"/usr/include/{platform.machine()}-linux-gnu"]
        subprocess.run([*command, "-c", str(source), "-o", str(path)], check=True)
    return path


class BpfObject:
    """Some programs of an object with its maps. A context manager.

    Args:
        source: the file NAME.bpf.c.
        names: the programs to load.

    """

    def __init__(self, source: Path, *names: str) -> None:
        self._open(source, *names)
        self._load()

    def _open(self, source: Path, *names: str) -> None:
        self._object = ctypes.c_void_p(libbpf.bpf_object__open_file(bytes(compiled(source)), None))
        assert self._object, "libbpf cannot open the object"
        program = None
        while program := libbpf.bpf_object__next_program(self._object, ctypes.c_void_p(program)):
            libbpf.bpf_program__set_autoload(ctypes.c_void_p(program), False)
        for wanted in names:
            libbpf.bpf_program__set_autoload(self._program(wanted), True)

    def _load(self) -> None:
        error = libbpf.bpf_object__load(self._object)
        assert not error, f"libbpf cannot load it: {os.strerror(-error)}"

    def _program(self, name: str) -> ctypes.c_void_p:
        return ctypes.c_void_p(libbpf.bpf_object__find_program_by_name(self._object, name.encode()))

    def fd_of(self, name: str) -> int:
        """The descriptor of a loaded program."""
        return int(libbpf.bpf_program__fd(self._program(name)))

    def map(self, name: str) -> int:
        """The descriptor of a map."""
        return int(libbpf.bpf_object__find_map_fd_by_name(self._object, name.encode()))

    def close(self) -> None:
        """Close the descriptors: the kernel ends a program when it is attached nowhere."""
        if self._object:
            libbpf.bpf_object__close(self._object)
            self._object = ctypes.c_void_p()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
