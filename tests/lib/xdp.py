"""Attaches XDP programs to links as their owners do: by netlink or by a BPF link, replaced and let go."""

import os
import struct
from types import TracebackType
from typing import Self

from pyroute2 import IPRoute

from lib.netns import Namespace
from lib.programs import bpf
from sampler._native import lib

BPF_LINK_UPDATE = 29
NOTHING = -1  # instead of a program's descriptor


def set_xdp(namespace: Namespace, name: str, fd: int) -> None:
    """Put the program on a link by netlink, in place of the one that is there: `ip -force link set dev NAME xdp`."""
    index = namespace.ifindex(name)

    def change() -> None:
        with IPRoute() as netlink:
            netlink.link("set", index=index, xdp_fd=fd)

    namespace.call(change)


class XdpLink:
    """A BPF link of a program to an interface, gone when it is closed. A context manager."""

    def __init__(self, namespace: Namespace, name: str, fd: int, generic: bool = False) -> None:
        place = lib.LINK_XDP_GENERIC if generic else lib.LINK_XDP_NATIVE
        with namespace.enter():
            self.fd = int(lib.link_create(fd, namespace.ifindex(name), place))
        assert self.fd >= 0, os.strerror(-self.fd)

    def update(self, fd: int) -> None:
        """Put another program in the place of the one that it has."""
        bpf(BPF_LINK_UPDATE, struct.pack("IIII", self.fd, fd, 0, 0))

    def close(self) -> None:
        """Detach the program."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
