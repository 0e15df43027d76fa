"""Foreign XDP programs (foreign.bpf.c beside this file): somebody else's, as xdpfix finds them on interfaces.

with Foreign("foreign_program_with_a_long_name") as foreign, foreign.on(namespace, "a"):
    ...
    assert foreign.decided() == {"PASS": 3}
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.bpfobject import BpfObject, libbpf
from lib.netns import Namespace
from sampler._native import ffi, lib

SOURCE = Path(__file__).with_name("foreign.bpf.c")
# What the map `decided` counts.
ACTIONS = ("ABORTED", "DROP", "PASS", "TX", "REDIRECT", "unknown")
DECISIONS = 8


def exists(program_id: int) -> bool:
    """Whether the kernel has a program of this number."""
    fd = lib.trace_open(program_id)
    if fd >= 0:
        os.close(fd)
    return fd != -errno.ENOENT


class Foreign(BpfObject):
    """One of the programs, with maps of its own. A context manager."""

    def __init__(self, name: str, *others: str) -> None:
        self._open(SOURCE, name, *others)
        self._load_named(name)

    def _load_named(self, name: str) -> None:
        self._load()
        self.fd = self.fd_of(name)
        info = Path(f"/proc/self/fdinfo/{self.fd}").read_text()
        self.id = next(int(line.split()[1]) for line in info.splitlines() if line.startswith("prog_id:"))

    def decided(self) -> dict[str, int]:
        """Frames by what was decided on them, those of 0 left out."""
        count, found = ffi.new("__u64 *"), {}
        for key in range(DECISIONS):
            assert lib.bpf_lookup_map(self.map("decided"), ffi.new("__u32 *", key), count) == 0
            if count[0]:
                found[ACTIONS[min(key, len(ACTIONS) - 1)]] = int(count[0])
        return found

    def set(self, name: str, value: int) -> None:
        """Write the one entry of the map `target` (an ifindex, or octets), or of `next` (a program's descriptor)."""
        assert lib.bpf_update_map(self.map(name), ffi.new("__u32 *", 0), ffi.new("__u32 *", value)) == 0

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


class Extension(Foreign):
    """foreign_extension in the place of a function of another program, as libxdp does it."""

    def __init__(self, extended: Foreign, function: str) -> None:
        self._open(SOURCE, "foreign_extension")
        program = self._program("foreign_extension")
        assert not libbpf.bpf_program__set_attach_target(program, extended.fd, function.encode())
        self._load_named("foreign_extension")
        self._links = [int(lib.trace_attach(self.fd))]
        assert self._links[0] >= 0, os.strerror(-self._links[0])

    def extend(self, extended: Foreign, function: str) -> None:
        """Stand in the place of one more function."""
        link = libbpf.bpf_program__attach_freplace(self._program("foreign_extension"), extended.fd, function.encode())
        assert link, f"{function} cannot be replaced"
        self._links.append(os.dup(libbpf.bpf_link__fd(ctypes.c_void_p(link))))
        libbpf.bpf_link__destroy(ctypes.c_void_p(link))

    def close(self) -> None:
        """Give the function its place back."""
        while self._links:
            os.close(self._links.pop())
        super().close()
