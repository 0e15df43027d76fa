"""A test's own tc programs (lib.programs) on a link: by tcx where the kernel has it, else as a clsact filter."""

import contextlib
import os
import platform
from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2 import IPRoute

from lib.netns import Namespace
from sampler._native import lib
from sampler.kernel import clsact

# tcx came with Linux 6.6 (commit e420bed02507); before it, clsact takes its place.
HAS_TCX = tuple(int(part) for part in platform.release().split(".")[:2]) >= (6, 6)
# Values of a test's parameter `tcx`: both where the kernel has both.
WAYS = [pytest.param(True, id="tcx"), pytest.param(False, id="clsact")][0 if HAS_TCX else 1 :]
ETH_P_IP, ETH_P_ALL = 0x0800, 0x0003


def here(places: list[str]) -> list[str]:
    """What `xdpfix show interfaces` names as hooks on this kernel, where one with tcx has these."""
    return places if HAS_TCX else [place.replace("tcx", "clsact") for place in places]


def add_filter(namespace: Namespace, name: str, direction: str, fd: int, **options: Any) -> None:
    """Add a clsact filter to a link that has the qdisc, at the first preference."""
    index = namespace.ifindex(name)
    options = {"protocol": ETH_P_ALL, "prio": 1, "parent": clsact.PARENTS[direction]} | options

    def add() -> None:
        with IPRoute() as netlink:
            netlink.tc("add-filter", "bpf", index, 1, fd=fd, name="other", direct_action=True, **options)

    namespace.call(add)


def link_tcx(namespace: Namespace, name: str, direction: str, fd: int) -> int:
    """Attach by tcx; the descriptor of the link, which ends with it."""
    place = lib.LINK_TCX_INGRESS if direction == "ingress" else lib.LINK_TCX_EGRESS
    with namespace.enter():
        link = int(lib.link_create(fd, namespace.ifindex(name), place))
    assert link >= 0, os.strerror(-link)
    return link


@contextlib.contextmanager
def attached(namespace: Namespace, name: str, direction: str, fd: int) -> Iterator[None]:
    """The program runs on the link's packets. At the end it is detached and its descriptor closed."""
    if HAS_TCX:
        link = link_tcx(namespace, name, direction, fd)
    else:
        namespace.run("tc", "qdisc", "add", "dev", name, "clsact")
        add_filter(namespace, name, direction, fd)
    try:
        yield
    finally:
        if HAS_TCX:
            os.close(link)
        else:
            namespace.run("tc", "qdisc", "del", "dev", name, "clsact")
        os.close(fd)
