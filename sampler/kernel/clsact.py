"""Programs on interfaces of kernels without tcx (before 6.6): a filter of the clsact qdisc, by netlink.

Such a filter outlives the process. So each carries our name, a name of its own when the
qdisc was made for it, and clean_up() removes what a killed xdpfix left behind. Whether its
owner lives is told by an abstract unix socket that the filter's name ends with: it goes
with the process, and it is of the same network namespace.
"""

import errno
import logging
import secrets
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pyroute2.iproute import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

FILTER_NAME = "xdpfix"
# The name when the qdisc is ours as well: goes with the last filter. Kept in the kernel, it survives our death.
FILTER_NAME_WITH_QDISC = "xdpfix:clsact"
OUR_NAMES = (FILTER_NAME, FILTER_NAME_WITH_QDISC)
# Between the name and its owner.
OWNER_MARK = "@"

# include/uapi/linux/pkt_sched.h: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS / TC_H_MIN_EGRESS)
PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
CLSACT_HANDLE = 0xFFFF0000
# The lowest runs first, and of BPF filters at one preference the youngest. More than one for where others sit already.
PREFERENCES = range(1, 9)
HANDLES = 0x78000000  # and a random part: beside filters of others, and of another xdpfix, at the same preference
ETH_P_ALL = 3
# What a vanished interface, qdisc or filter is reported as.
GONE = (errno.ENODEV, errno.ENOENT, errno.EINVAL)


def attach(ifindex: int, direction: str, program_fd: int) -> Callable[[], None]:
    """Put the program at the head of the interface's clsact filters; return what takes it away. OSError."""

    token = secrets.token_hex(8)
    owner = _own(token)

    def run(netlink: IPRoute) -> None:
        made = _make_qdisc(netlink, ifindex) or _have_qdisc(netlink, ifindex)
        if direction == "egress" and not made and _qdisc_kind(netlink, ifindex) != "clsact":
            # The older qdisc "ingress" takes a filter for egress and runs it at ingress.
            raise OSError(errno.EEXIST, "the qdisc `ingress` is in the way of clsact")
        name = FILTER_NAME_WITH_QDISC if made else FILTER_NAME
        _add_filter(netlink, ifindex, direction, program_fd, name + OWNER_MARK + token)

    try:
        _netlink(run)
    except BaseException:
        owner.close()
        raise

    def undo() -> None:
        with owner:
            _netlink(lambda netlink: _remove(netlink, ifindex, lambda other: other == token))

    return undo


def clean_up(ifindexes: Iterable[int]) -> int:
    """Remove the filters that a killed xdpfix left on these interfaces, and its qdiscs; returns how many there were.

    Those of another xdpfix that runs stay. OSError.
    """
    return _netlink(lambda netlink: sum(_remove(netlink, ifindex, _is_dead) for ifindex in ifindexes))


def _own(token: str) -> socket.socket:
    """Take the socket that says that the owner of this token lives, in the caller's network namespace. OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.bind(f"\0{FILTER_NAME}{OWNER_MARK}{token}")
    except OSError:
        sock.close()
        raise
    return sock


def _is_dead(token: str) -> bool:
    try:
        _own(token).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _netlink(run: Callable[[IPRoute], Result]) -> Result:
    """Run it with a netlink socket. NetlinkError becomes OSError.

    In a thread of its own, because pyroute2's synchronous calls run an event loop and the caller's thread may run one
    already; a new thread is in its creator's network namespace.
    """

    def work() -> Result:
        with IPRoute() as netlink:
            return run(netlink)

    try:
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(work).result()
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from None


def _add_filter(netlink: IPRoute, ifindex: int, direction: str, program_fd: int, name: str) -> None:
    for preference in PREFERENCES:
        try:
            netlink.tc(
                "add-filter",
                "bpf",
                ifindex,
                HANDLES | secrets.randbits(24),
                fd=program_fd,
                name=name,
                parent=PARENTS[direction],
                prio=preference,
                protocol=ETH_P_ALL,
                direct_action=True,
            )
        except NetlinkError as error:
            # A preference has one kind of filter and one protocol; the kernel answers EINVAL to others.
            if error.code != errno.EINVAL or preference == PREFERENCES[-1]:
                raise
            continue
        if preference != PREFERENCES[0]:
            log.warning(
                "interface %d: filters of another kind are in front of ours at tc %s: what they drop or redirect is "
                "not sampled; give them a preference above 1",
                ifindex,
                direction,
            )
        return


def _qdisc_kind(netlink: IPRoute, ifindex: int) -> str | None:
    for message in netlink.get_qdiscs(index=ifindex):
        if message["handle"] == CLSACT_HANDLE:
            return str(message.get_attr("TCA_KIND"))
    return None


def _make_qdisc(netlink: IPRoute, ifindex: int) -> bool:
    try:
        netlink.tc("add", "clsact", ifindex)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        return False
    return True


def _have_qdisc(netlink: IPRoute, ifindex: int) -> bool:
    """Whether the qdisc that is there is one that we made, for the other direction."""
    return any(_split(name)[0] == FILTER_NAME_WITH_QDISC for _, _, name in _filters(netlink, ifindex))


def _split(name: str | None) -> tuple[str, str]:
    """Give our name for a filter and the owner's token."""
    own, _, token = (name or "").partition(OWNER_MARK)
    return own, token


def _filters(netlink: IPRoute, ifindex: int) -> list[tuple[str, Any, str | None]]:
    """Give (direction, message, name) of each filter; the name of one that is not BPF is None."""
    found = []
    for direction, parent in PARENTS.items():
        try:
            messages = list(netlink.get_filters(index=ifindex, parent=parent))
        except NetlinkError as error:
            if error.code not in GONE:
                raise
            continue
        for message in messages:
            options = message.get_attr("TCA_OPTIONS")
            if options is None:
                continue  # the head of a preference, in front of its filters
            name = options.get_attr("TCA_BPF_NAME") if message.get_attr("TCA_KIND") == "bpf" else None
            found.append((direction, message, name))
    return found


def _remove(netlink: IPRoute, ifindex: int, wanted: Callable[[str], bool]) -> int:
    """Remove those of our filters whose owner's token is wanted; returns how many there were."""
    filters = _filters(netlink, ifindex)
    ours = [entry for entry in filters if _split(entry[2])[0] in OUR_NAMES and wanted(_split(entry[2])[1])]
    made = any(_split(name)[0] == FILTER_NAME_WITH_QDISC for _, _, name in ours)
    try:
        for direction, message, _ in ours:
            netlink.tc(
                "del-filter",
                "bpf",
                ifindex,
                message["handle"],
                parent=PARENTS[direction],
                prio=message["info"] >> 16,
                protocol=ETH_P_ALL,
            )
        if made and len(filters) == len(ours):
            netlink.tc("del", "clsact", ifindex)
    except NetlinkError as error:
        if error.code not in GONE:
            raise
    return len(ours)
