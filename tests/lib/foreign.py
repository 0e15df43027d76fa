"""Foreign XDP programs (foreign.bpf.c beside this file): somebody else's, as xdpfix finds them on interfaces.

with Foreign("foreign_program_with_a_long_name") as foreign, foreign.on(namespace, "a"):
    ...
    assert foreign.decided() == {"PASS": 3}
"""

import ctypes
import errno
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lib.machine import TREE
from lib.netns import Namespace
from sampler._native import ffi, lib

SOURCE = Path(__file__).with_name("foreign.bpf.c")
OBJECT = TREE / ".state/foreign.bpf.o"
# What the map `decided` counts.
ACTIONS = ("ABORTED", "DROP", "PASS", "TX", "REDIRECT", "unknown")
DECISIONS = 8

_libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
for function in ("bpf_object__open_file", "bpf_object__next_program", "bpf_object__find_program_by_name"):
    getattr(_libbpf, function).restype = ctypes.c_void_p


def compiled() -> Path:
    """The object with all programs, as new as its source."""
    if not OBJECT.exists() or OBJECT.stat().st_mtime < SOURCE.stat().st_mtime:
        OBJECT.parent.mkdir(exist_ok=True)
        command = ["clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror"]
        command += ["-idirafter", f"/usr/include/{platform.machine()}-linux-gnu"]
        subprocess.run([*command, "-c", str(SOURCE), "-o", str(OBJECT)], check=True)
    return OBJECT


def exists(program_id: int) -> bool:
    """Whether the kernel has a program of this number."""
    fd = lib.trace_open(program_id)
    if fd >= 0:
        os.close(fd)
    return fd != -errno.ENOENT


class Foreign:
    """One of the programs, loaded by libbpf as another tool would, with maps of its own. A context manager."""

    def __init__(self, name: str, *others: str) -> None:
        self._open(name, *others)
        self._load(name)

    def _open(self, *names: str) -> None:
        self._object = ctypes.c_void_p(_libbpf.bpf_object__open_file(bytes(compiled()), None))
        assert self._object, "libbpf cannot open the object"
        program = None
        while program := _libbpf.bpf_object__next_program(self._object, ctypes.c_void_p(program)):
            _libbpf.bpf_program__set_autoload(ctypes.c_void_p(program), False)
        for wanted in names:
            _libbpf.bpf_program__set_autoload(self._program(wanted), True)

    def _load(self, name: str) -> None:
        error = _libbpf.bpf_object__load(self._object)
        assert not error, f"libbpf cannot load {name}: {os.strerror(-error)}"
        self.fd = self.fd_of(name)
        info = Path(f"/proc/self/fdinfo/{self.fd}").read_text()
        self.id = next(int(line.split()[1]) for line in info.splitlines() if line.startswith("prog_id:"))

    def _program(self, name: str) -> ctypes.c_void_p:
        return ctypes.c_void_p(_libbpf.bpf_object__find_program_by_name(self._object, name.encode()))

    def fd_of(self, name: str) -> int:
        """The descriptor of a loaded program."""
        return int(_libbpf.bpf_program__fd(self._program(name)))

    def _map(self, name: str) -> int:
        return int(_libbpf.bpf_object__find_map_fd_by_name(self._object, name.encode()))

    def decided(self) -> dict[str, int]:
        """Frames by what was decided on them, those of 0 left out."""
        count, found = ffi.new("__u64 *"), {}
        for key in range(DECISIONS):
            assert lib.bpf_lookup_map(self._map("decided"), ffi.new("__u32 *", key), count) == 0
            if count[0]:
                found[ACTIONS[min(key, len(ACTIONS) - 1)]] = int(count[0])
        return found

    def set(self, name: str, value: int) -> None:
        """Write the one entry of the map `target` (an ifindex, or octets), or of `next` (a program's descriptor)."""
        assert lib.bpf_update_map(self._map(name), ffi.new("__u32 *", 0), ffi.new("__u32 *", value)) == 0

    @contextmanager
    def on(self, namespace: Namespace, link: str, generic: bool = False) -> Iterator[None]:
        """Attach it to a link."""
        with namespace.enter():
            place = lib.LINK_XDP_GENERIC if generic else lib.LINK_XDP_NATIVE
            fd = lib.link_create(self.fd, namespace.ifindex(link), place)
        assert fd >= 0, f"{link}: {os.strerror(-fd)}"
        try:
            yield
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the descriptors: the kernel ends it when it is attached nowhere."""
        if self._object:
            _libbpf.bpf_object__close(self._object)
            self._object = ctypes.c_void_p()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Extension(Foreign):
    """foreign_extension in the place of a function of another program, as libxdp does it."""

    def __init__(self, extended: Foreign, function: str) -> None:
        self._open("foreign_extension")
        program = self._program("foreign_extension")
        assert not _libbpf.bpf_program__set_attach_target(program, extended.fd, function.encode())
        self._load("foreign_extension")
        self._links = [int(lib.trace_attach(self.fd))]
        assert self._links[0] >= 0, os.strerror(-self._links[0])

    def extend(self, extended: Foreign, function: str) -> None:
        """Stand in the place of one more function."""
        _libbpf.bpf_program__attach_freplace.restype = ctypes.c_void_p
        link = _libbpf.bpf_program__attach_freplace(self._program("foreign_extension"), extended.fd, function.encode())
        assert link, f"{function} cannot be replaced"
        self._links.append(os.dup(_libbpf.bpf_link__fd(ctypes.c_void_p(link))))
        _libbpf.bpf_link__destroy(ctypes.c_void_p(link))

    def close(self) -> None:
        """Give the function its place back."""
        while self._links:
            os.close(self._links.pop())
        super().close()
