"""Attaches the programs to interfaces: by BPF link where the kernel has it, else by a clsact filter.

Where a foreign XDP program is to be observed, that is what is attached to (sampler.kernel.tracers).
Links die with the process. What has to be cleaned up by hand (clsact) is in
sampler.kernel.clsact; what an interface does that makes counts inexact in sampler.kernel.offloads.

At ingress our program runs first, for behind one that drops, redirects or ends the chain
it would see nothing. At egress it runs first too, for the same reason: packets that a
later program drops or redirects are counted although they do not leave.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from sampler._native import lib
from sampler.errors import StartError
from sampler.kernel import clsact, offloads
from sampler.kernel.tracerrefusal import TracerRefusedError, of_place
from sampler.kernel.tracers import Tracers
from sampler.kernel.xdpprograms import XdpProgram, program_id, shown

log = logging.getLogger(__name__)

# Set to anything: attach as on a kernel without tcx (before 6.6), to test or to work around.
NO_TCX_ENVIRONMENT = "XDPFIX_NO_TCX"


class Programs(Protocol):
    """What a loader gives: file descriptors of the loaded programs by name."""

    def fd(self, name: str, /) -> int:
        """Give the descriptor of sample_xdp, sample_tc_ingress or sample_tc_egress."""


@dataclass(frozen=True)
class Place:
    """Where the packets of one direction are to be seen: "tc", "xdp", "xdp-generic", or "observe" with the program."""

    kind: str
    program: XdpProgram | None = None


TC = Place("tc")


@dataclass(frozen=True)
class Hook:
    """One program on one interface.

    Attributes:
        direction: "ingress" or "egress".
        kind: "tcx", "clsact", "xdp", "xdp-generic", or "observe".
        beside: the foreign XDP program that is observed, or that at tc takes packets away before.

    """

    direction: str
    kind: str
    beside: str = ""

    @property
    def at_tc(self) -> bool:
        """It sits at tc."""
        return self.kind in ("tcx", "clsact")

    @property
    def at_tc_ingress(self) -> bool:
        """It sits where an XDP program comes before."""
        return self.at_tc and self.direction == "ingress"

    @property
    def observed(self) -> bool:
        """Packets are counted at a foreign XDP program, by a gate that is opened so."""
        return self.kind == "observe"

    def __str__(self) -> str:
        beside = f" ({'' if self.observed else 'behind XDP program '}{self.beside})" if self.beside else ""
        return f"{self.direction} {self.kind}{beside}"


class Attachment:
    """A program on one interface in one direction. Close it to detach it; closing twice does nothing.

    Attributes:
        hook: where the program sits.
        warnings: sentences for the operator, about counts that this interface makes inexact.

    """

    def __init__(self, name: str, hook: Hook, undo: Callable[[], None], warnings: Iterable[str] = ()) -> None:
        self.hook = hook
        self.warnings = tuple(warnings)
        self._name = name
        self._undo: Callable[[], None] | None = undo

    def close(self) -> None:
        """Detach it. From an interface that is gone nothing is left to detach."""
        undo, self._undo = self._undo, None
        if undo is None:
            return
        try:
            undo()
        except OSError as error:
            # What is left behind is removed at the next start.
            log.warning("%s: cannot detach: %s; the next start tries again", self._name, error.strerror or error)


class Attacher:
    """Puts loaded programs on interfaces of the calling thread's network namespace.

    Args:
        programs: the loaded programs.
        tracers: of foreign XDP programs; None: nothing is observed.
        tcx: use tcx where the kernel has it.

    """

    def __init__(self, programs: Programs, tracers: Tracers | None = None, tcx: bool = True) -> None:
        self._programs = programs
        self._tracers = tracers
        self._tcx = tcx and not os.environ.get(NO_TCX_ENVIRONMENT)

    @property
    def own_xdp(self) -> int:
        """The id of our own XDP program, which is no foreign one where it is attached."""
        return program_id(self._programs.fd("sample_xdp"))

    def attach(self, ifindex: int, name: str, direction: str, place: Place, kind: str | None = None) -> Attachment:
        """Attach in one direction, "ingress" or "egress"; XDP has no egress.

        `kind` is the link's kind as netlink names it ("veth"), for the warnings. Raises
        StartError; InterfaceGoneError when the interface went away meanwhile; where a program is to be
        observed TracerRefusedError, and ProgramGoneError when it went away meanwhile.
        """
        if direction == "ingress" and place.program is not None:
            return self._observe(name, place.program, kind)
        if direction == "ingress" and place.kind in ("xdp", "xdp-generic"):
            return self._attach_xdp(ifindex, name, place.kind, kind)
        return self._attach_tc(ifindex, name, direction)

    def _observe(self, name: str, program: XdpProgram, kind: str | None) -> Attachment:
        """Counts nothing before the gate is opened as an observed one."""
        if self._tracers is None:
            raise TracerRefusedError(program.id, "nothing is observed here")
        if (reason := of_place(program)) is not None:
            raise TracerRefusedError(program.id, reason)
        tracers, tracer = self._tracers, self._tracers.take(program.id)
        hook = Hook("ingress", "observe", shown(tracer.observed_id, tracer.name))
        warnings = offloads.warnings(name, kind, generic=program.mode == "generic", ours=False)
        return Attachment(name, hook, lambda: tracers.give_back(tracer), warnings)

    def _attach_xdp(self, ifindex: int, name: str, hook: str, kind: str | None) -> Attachment:
        generic = hook == "xdp-generic"
        place = lib.LINK_XDP_GENERIC if generic else lib.LINK_XDP_NATIVE
        fd = lib.link_create(self._programs.fd("sample_xdp"), ifindex, place)
        if fd < 0:
            raise _xdp_error(name, -fd, generic)
        warnings = offloads.warnings(name, kind, generic)
        return Attachment(name, Hook("ingress", hook), lambda: os.close(fd), warnings)

    def _attach_tc(self, ifindex: int, name: str, direction: str) -> Attachment:
        program = self._programs.fd(f"sample_tc_{direction}")
        if self._tcx:
            place = lib.LINK_TCX_INGRESS if direction == "ingress" else lib.LINK_TCX_EGRESS
            fd = lib.link_create(program, ifindex, place)
            if fd >= 0:
                return Attachment(name, Hook(direction, "tcx"), lambda: os.close(fd))
            if fd != -errno.EINVAL:
                raise _error(name, f"tc {direction}", -fd)
            # EINVAL: a kernel before 6.6 (commit e420bed02507) knows no such attach type. So for all interfaces.
            self._tcx = False
        try:
            undo = clsact.attach(ifindex, direction, program)
        except OSError as error:
            raise _error(name, f"tc {direction}", error.errno or errno.EIO) from None
        return Attachment(name, Hook(direction, "clsact"), undo)


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
