"""Attaches the programs to interfaces: by BPF link where the kernel has it, else by a clsact filter.

Links die with the process. What has to be cleaned up by hand (clsact) is in
sampler.kernel.clsact; what an interface does that makes counts inexact in sampler.kernel.offloads.

At ingress our program runs first, for behind one that drops, redirects or ends the chain
it would see nothing. At egress it runs first too, for the same reason: packets that a
later program drops or redirects are counted although they do not leave.
"""

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sampler._native import lib
from sampler.errors import StartError
from sampler.kernel import clsact, offloads

log = logging.getLogger(__name__)

# Set to anything: attach as on a kernel without tcx (before 6.6), to test or to work around.
NO_TCX_ENVIRONMENT = "XDPFIX_NO_TCX"


class Programs(Protocol):
    """What a loader gives: file descriptors of the loaded programs by name."""

    def fd(self, name: str, /) -> int:
        """Give the descriptor of sample_xdp, sample_tc_ingress or sample_tc_egress."""


@dataclass(frozen=True)
class Hook:
    """One program on one interface: direction "ingress" or "egress"; kind "tcx", "clsact", "xdp" or "xdp-generic"."""

    direction: str
    kind: str


class Attachment:
    """The programs on one interface. Close it to detach them; closing twice does nothing.

    Attributes:
        hooks: where the programs sit.
        warnings: sentences for the operator, about counts that this interface makes inexact.

    """

    def __init__(self, ifindex: int, name: str) -> None:
        self.ifindex = ifindex
        self.name = name
        self.hooks: tuple[Hook, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self._undo: list[Callable[[], None]] = []

    def add(self, hook: Hook, undo: Callable[[], None]) -> None:
        """Note a program that was attached, and how to detach it."""
        self.hooks += (hook,)
        self._undo.append(undo)

    def close(self) -> None:
        """Detach everything. An interface that is gone has nothing left to detach."""
        while self._undo:
            undo = self._undo.pop()
            try:
                undo()
            except OSError as error:
                # Detaching goes on with the rest: what is left behind is removed at the next start.
                log.warning("%s: cannot detach: %s; the next start tries again", self.name, error.strerror or error)


class Attacher:
    """Puts loaded programs on interfaces of the calling thread's network namespace, one attachment an interface.

    Attributes:
        ingress: attach the direction in (enable_input_sampling).
        egress: attach the direction out (enable_output_sampling).

    """

    def __init__(self, programs: Programs, tcx: bool = True, ingress: bool = True, egress: bool = True) -> None:
        self._programs = programs
        self._tcx = tcx and not os.environ.get(NO_TCX_ENVIRONMENT)
        self.ingress = ingress
        self.egress = egress

    def attach(self, ifindex: int, name: str, hook: str, kind: str | None = None) -> Attachment:
        """Attach by `hook` ("auto", "tc", "xdp", "xdp-generic") all directions or none.

        `kind` is the link's kind as netlink names it ("veth"), for the warnings. Raises
        StartError; InterfaceGoneError when the interface went away meanwhile.
        """
        attachment = Attachment(ifindex, name)
        warnings: list[str] = []
        try:
            if self.ingress:
                if hook in ("xdp", "xdp-generic"):
                    self._attach_xdp(attachment, generic=hook == "xdp-generic")
                    warnings += offloads.warnings(name, kind, generic=hook == "xdp-generic")
                else:
                    self._attach_tc(attachment, "ingress")
            if self.egress:
                self._attach_tc(attachment, "egress")
        except BaseException:
            attachment.close()
            raise
        attachment.warnings = tuple(warnings)
        return attachment

    def _attach_xdp(self, attachment: Attachment, generic: bool) -> None:
        place = lib.LINK_XDP_GENERIC if generic else lib.LINK_XDP_NATIVE
        fd = lib.link_create(self._programs.fd("sample_xdp"), attachment.ifindex, place)
        if fd < 0:
            raise _xdp_error(attachment.name, -fd, generic)
        attachment.add(Hook("ingress", "xdp-generic" if generic else "xdp"), lambda: os.close(fd))

    def _attach_tc(self, attachment: Attachment, direction: str) -> None:
        program = self._programs.fd(f"sample_tc_{direction}")
        if self._tcx:
            place = lib.LINK_TCX_INGRESS if direction == "ingress" else lib.LINK_TCX_EGRESS
            fd = lib.link_create(program, attachment.ifindex, place)
            if fd >= 0:
                attachment.add(Hook(direction, "tcx"), lambda: os.close(fd))
                return
            if fd != -errno.EINVAL:
                raise _error(attachment.name, f"tc {direction}", -fd)
            # EINVAL: a kernel before 6.6 (commit e420bed02507) knows no such attach type. So for all interfaces.
            self._tcx = False
        try:
            undo = clsact.attach(attachment.ifindex, direction, program)
        except OSError as error:
            raise _error(attachment.name, f"tc {direction}", error.errno or errno.EIO) from None
        attachment.add(Hook(direction, "clsact"), undo)


class InterfaceGoneError(StartError):
    """The interface went away while a program was being attached: no fault, it may come back."""


def _error(name: str, place: str, code: int) -> StartError:
    if code == errno.ENODEV:
        return InterfaceGoneError(f"{name}: no such interface; `ip link` lists those that there are")
    way_out = {
        errno.EEXIST: f"an older `ingress` qdisc is in the way: `tc qdisc del dev {name} ingress`",
        errno.EPERM: "run as root, or with CAP_BPF and CAP_NET_ADMIN",
        errno.E2BIG: "64 programs are attached there already, detach one",
        errno.ERANGE: "64 programs are attached there already, detach one",
    }.get(code, "leave it out of `interfaces`")
    return StartError(f"{name}: cannot attach to {place}: {os.strerror(code)}; {way_out}")


def _xdp_error(name: str, code: int, generic: bool) -> StartError:
    if code in (errno.EBUSY, errno.EEXIST):
        return StartError(
            f'{name}: cannot attach to XDP: another XDP program is attached; use hook = "tc", or detach it '
            f"(`ip link set dev {name} xdp off`)"
        )
    if not generic and code in (errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE, errno.ENOMEM, errno.ENOSPC):
        reason = "its driver has none" if code == errno.EOPNOTSUPP else f"its driver refuses: {os.strerror(code)}"
        return StartError(
            f'{name}: cannot attach to native XDP: {reason} (MTU, queues and offloads count); use hook = "tc", '
            'or "xdp-generic"'
        )
    return _error(name, "generic XDP" if generic else "native XDP", code)
