"""Follows the links of this process's network namespace by netlink: the I/O half of sampler.daemon.linktable.

Netlink may lose messages: when more change than the socket holds, the kernel reports
ENOBUFS, which ends pyroute2's reader. Then the socket is opened anew, everything is
dumped and compared with what is known, and the resync is counted.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

from pyroute2.iproute import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_LINK

from sampler.daemon.linktable import TUNNEL_KINDS, Change, Dumped, Event, Link, LinkTable, Removed, Seen
from sampler.kernel.xdpprograms import XdpProgram
from sampler.tunnels.kinds import tunnel_of

log = logging.getLogger(__name__)

# Octets of messages that may wait: some 2000 link messages, for a host whose containers all start at once.
RECEIVE_BUFFER = 4 * 1024 * 1024
SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h; with CAP_NET_ADMIN
# Seconds before the next try to open netlink or to dump, when it fails again and again.
RETRY_DELAY = 0.2
# Changes that come together are told as one list: until none has come for so long, or the first has waited for so long,
# in seconds. What follows a change takes longer than a host takes to make a link: one by one, hundreds would queue.
CALM_DELAY = 0.01
LONGEST_DELAY = 0.1
# So many at most: to attach to a link takes some 30 ms, and the watchdog is to be fed in between.
TOGETHER = 64
# A dump that links changed under may miss one (NLM_F_DUMP_INTR): so often it is read again before it is taken as it is,
# for on a host where links change without end the events still tell of each of them.
DUMP_TRIES = 5
NLM_F_DUMP_INTR = 0x10
# What a dump hits when links change under it, or that does not last.
PASSING = (errno.ENOBUFS, errno.EINTR, errno.EAGAIN, errno.EBUSY, errno.ENOMEM, errno.ECONNRESET, errno.ECOMM)

IFF_UP = 0x1
IFF_LOOPBACK = 0x8
# include/uapi/linux/if_arp.h: the types whose frames begin with an Ethernet header. All others are taken for L3.
ARPHRD_ETHER = 1
ARPHRD_LOOPBACK = 772
# Attributes by which tunnel links name the link they are made on, in IFLA_INFO_DATA.
TUNNEL_LINK_ATTRIBUTES = (
    "IFLA_VXLAN_LINK",
    "IFLA_GRE_LINK",
    "IFLA_IPTUN_LINK",
    "IFLA_SIT_LINK",
    "IFLA_VTI_LINK",
    "IFLA_XFRM_LINK",
)


class Links:
    """The link table kept up to date.

    Attributes:
        table: the links as last known.
        resyncs: how often messages were lost and everything was dumped anew.

    """

    def __init__(self, receive_buffer: int = RECEIVE_BUFFER) -> None:
        self.table = LinkTable()
        self.resyncs = 0
        self._receive_buffer = receive_buffer

    async def changes(self) -> AsyncIterator[Change]:
        """Give the changes for ever, first an Appeared for every link there is. Ends by cancelling.

        OSError when netlink cannot be opened at the start.
        """
        started = False
        while True:
            try:
                async for event in self._read():
                    for change in self.table.apply(event):
                        yield change
                    started = True
            except (OSError, NetlinkError) as error:
                code = error.code if isinstance(error, NetlinkError) else error.errno
                if not started and code not in PASSING:
                    raise
                self.resyncs += 1
                log.warning("netlink lost link messages (%s): reading all links anew", error)
                if code != errno.ENOBUFS:
                    await asyncio.sleep(RETRY_DELAY)

    async def _read(self) -> AsyncIterator[Event]:
        """Subscribe, dump, then give one event a message, until the socket fails."""
        netlink = AsyncIPRoute(groups=RTMGRP_LINK, rcvbuf=self._receive_buffer)
        try:
            enlarge(netlink, self._receive_buffer)
            await netlink.bind()
            # Subscribed before the dump: what changes meanwhile is dumped, told, or both, but never missed.
            yield Dumped(await dump())
            while True:
                async for message in netlink.get():
                    event = event_of(message)
                    if event is not None:
                        yield event
        finally:
            with contextlib.suppress(OSError):
                netlink.close()


def enlarge(netlink: Any, octets: int) -> None:
    """Let so many octets of messages wait, beyond net.core.rmem_max, which holds some 250 messages by default."""
    with contextlib.suppress(PermissionError):
        netlink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, octets)


async def together(changes: AsyncIterator[Change]) -> AsyncIterator[list[Change]]:
    """Give changes that come together as one list, each list not empty."""
    loop = asyncio.get_running_loop()
    coming = asyncio.ensure_future(anext(changes, None))
    try:
        while (first := await coming) is not None:
            found, until = [first], loop.time() + LONGEST_DELAY
            coming = asyncio.ensure_future(anext(changes, None))
            while len(found) < TOGETHER and (left := min(CALM_DELAY, until - loop.time())) > 0:
                await asyncio.wait({coming}, timeout=left)
                if not coming.done() or coming.exception() is not None or (change := coming.result()) is None:
                    break
                found.append(change)
                coming = asyncio.ensure_future(anext(changes, None))
            yield found
    finally:
        coming.cancel()


async def dump() -> tuple[Link, ...]:
    """Read all links, by a socket of its own, which no flood of events can fill."""
    netlink = AsyncIPRoute(groups=0)
    try:
        await netlink.bind()
        for _ in range(DUMP_TRIES):
            links, interrupted = [], False
            # One after the other: a message takes some 50 kB as pyroute2 has it.
            async for message in await netlink.get_links():
                links.append(link_of(message))
                interrupted |= bool(message["header"]["flags"] & NLM_F_DUMP_INTR)
            if not interrupted:
                break
        return tuple(links)
    finally:
        with contextlib.suppress(OSError):
            netlink.close()


def event_of(message: Any) -> Event | None:
    """Turn a netlink message into an event; None if it says nothing about a link's existence."""
    # A bridge tells of its ports by the same message types in a family of its own: RTM_DELLINK there
    # means that a link left the bridge, not that it is gone.
    if message.get("family"):
        return None
    name = message.get("event")
    if name == "RTM_NEWLINK":
        return Seen(link_of(message))
    if name == "RTM_DELLINK":
        moved = message.get_attr("IFLA_NEW_NETNSID") is not None or message.get_attr("IFLA_NEW_IFINDEX") is not None
        return Removed(message["index"], moved)
    return None


def link_of(message: Any) -> Link:
    """Turn an RTM_NEWLINK message into a Link."""
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""
    lower = message.get_attr("IFLA_LINK") or 0
    data = info.get_attr("IFLA_INFO_DATA") if kind in TUNNEL_KINDS else None
    if data is not None and hasattr(data, "get_attr"):
        values = (data.get_attr(name) for name in TUNNEL_LINK_ATTRIBUTES)
        lower = next((value for value in values if value), lower)
    # A tunnel without underlay says IFLA_LINK = its own number, or 0.
    if lower == message["index"]:
        lower = 0
    return Link(
        ifindex=message["index"],
        name=message.get_attr("IFLA_IFNAME") or "",
        kind=kind,
        up=bool(message["flags"] & IFF_UP),
        l3=message["ifi_type"] not in (ARPHRD_ETHER, ARPHRD_LOOPBACK),
        loopback=bool(message["flags"] & IFF_LOOPBACK),
        physical=message.get_attr("IFLA_PARENT_DEV_NAME") is not None,
        master=message.get_attr("IFLA_MASTER") or 0,
        lower=lower,
        lower_elsewhere=message.get_attr("IFLA_LINK_NETNSID") is not None,
        mtu=message.get_attr("IFLA_MTU") or 0,
        xdp=_xdp_program(message.get_attr("IFLA_XDP")),
        alias=message.get_attr("IFLA_IFALIAS") or "",
        tunnel=tunnel_of(kind, data),
    )


def _xdp_program(message: Any) -> XdpProgram | None:
    """The program that IFLA_XDP tells of; of two, one of them on the card, that which a CPU runs."""
    if message is not None:
        for mode, name in (("native", "DRV"), ("generic", "SKB"), ("hardware", "HW")):
            number = message.get_attr(f"IFLA_XDP_{name}_PROG_ID")
            if number:
                return XdpProgram(number, mode)
    return None
