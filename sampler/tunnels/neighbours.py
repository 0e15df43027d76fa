"""Follows the forwarding databases of vxlan netdevs by netlink: the I/O half of sampler.tunnels.neighbourtable."""

import ctypes
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

from pyroute2.iproute import AsyncIPRoute
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH, RTMGRP_NEIGH
from pyroute2.netlink.rtnl.ndmsg import NTF_SELF, ndmsg

from sampler.daemon.links import DUMP_TRIES, NLM_F_DUMP_INTR, enlarge
from sampler.tunnels.neighbourtable import Added, Deleted, Dumped, Entry, NeighbourEvent, Remote
from sampler.tunnels.subscription import RECEIVE_BUFFER, Subscription

AF_BRIDGE = 7
SO_ATTACH_FILTER = 26
# struct sock_filter: code, jump if true, jump if false, operand. <linux/bpf_common.h>
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_BYTE, _JUMP_ANY_BIT, _RETURN = 0x30, 0x45, 0x06
# Offset in a message: struct nlmsghdr (16 octets), then struct ndmsg.
_FLAGS = 16 + 10


def forwarding_only() -> bytes:
    """Give a socket filter that keeps the databases of netdevs themselves: only their entries have NTF_SELF.

    The multicast group also tells of every neighbour of ARP and ND, and of every address
    that a bridge learns: with thousands of hosts more than a netlink socket holds.
    """
    return b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in (
            (_LOAD_BYTE, 0, 0, _FLAGS),
            (_JUMP_ANY_BIT, 0, 1, NTF_SELF),
            (_RETURN, 0, 0, 0xFFFFFFFF),
            (_RETURN, 0, 0, 0),
        )
    )


class Neighbours(Subscription):
    """Follows the databases of the netdevs that follow() names.

    Args:
        apply: takes the events.
        told: called when what has arrived was applied.
        receive_buffer: octets of messages that may wait.

    """

    what = "vxlan forwarding entries"
    consequence = (
        'packets on vxlan interfaces without a fixed remote go out without their tunnel and are counted as "remote"'
    )

    def __init__(
        self,
        apply: Callable[[NeighbourEvent], None],
        told: Callable[[], None],
        receive_buffer: int = RECEIVE_BUFFER,
    ) -> None:
        super().__init__(told, receive_buffer)
        self._apply = apply
        self._wanted: frozenset[int] = frozenset()
        self._missing: set[int] = set()

    def follow(self, ifindexes: Iterable[int], changed: Iterable[int]) -> None:
        """Follow exactly these netdevs; those that are new or `changed` are dumped."""
        self._wanted = frozenset(ifindexes)
        self._missing = (self._missing | set(changed)) & self._wanted
        if not self._wanted:
            self.stop()
            return
        self.start()
        if self._missing:
            self.wake()

    async def _open(self) -> Any:
        netlink = AsyncIPRoute(groups=RTMGRP_NEIGH, rcvbuf=self._receive_buffer)
        try:
            enlarge(netlink, self._receive_buffer)
            attach_filter(netlink, forwarding_only())
            await netlink.bind()
        except BaseException:
            netlink.close()
            raise
        return netlink

    def _forget(self) -> None:
        self._missing = set(self._wanted)

    async def _dump(self) -> bool:
        if not self._missing:
            return False
        missing, self._missing = self._missing, set()
        for ifindex, entries in (await dump(missing)).items():
            if ifindex in self._wanted:
                self._apply(Dumped(ifindex, entries))
        return True

    def _take(self, message: Any) -> None:
        event = event_of(message)
        if event is not None and event.entry.ifindex in self._wanted:
            self._apply(event)


def attach_filter(netlink: Any, program: bytes) -> None:
    """Have the kernel keep from a socket what the filter (struct sock_filter[]) refuses."""
    octets = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, and where they are.
    fprog = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(octets))
    netlink.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


async def dump(ifindexes: Iterable[int]) -> dict[int, tuple[Entry, ...]]:
    """Read the databases of these netdevs. The kernel picks them out: a bridge beside them may have many more."""
    netlink = AsyncIPRoute(groups=0, strict_check=True)
    try:
        await netlink.bind()
        return {ifindex: await _dump_one(netlink, ifindex) for ifindex in ifindexes}
    finally:
        netlink.close()


async def _dump_one(netlink: Any, ifindex: int) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for _ in range(DUMP_TRIES):
        request = ndmsg()
        request["family"], request["ifindex"] = AF_BRIDGE, ifindex
        entries, whole = [], True
        async for message in await netlink.nlm_request(request, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP):
            whole = whole and not message["header"]["flags"] & NLM_F_DUMP_INTR
            event = event_of(message)
            if event is not None and event.entry.ifindex == ifindex:
                entries.append(event.entry)
        if whole:
            break
    return tuple(entries)


def event_of(message: Any) -> Added | Deleted | None:
    """Turn a netlink message into an event; None if it is no entry of a netdev's own that leads to a remote."""
    kind = message["header"]["type"]
    if kind not in (RTM_NEWNEIGH, RTM_DELNEIGH) or message["family"] != AF_BRIDGE or not message["flags"] & NTF_SELF:
        return None
    mac, text = message.get_attr("NDA_LLADDR"), message.get_attr("NDA_DST")
    group = message.get_attr("NDA_NH_ID") or 0
    if mac is None or len(mac) != len("00:00:00:00:00:00") or (text is None and not group):
        return None
    remote = Remote(
        address=_packed(text) if text is not None else b"",
        vni=message.get_attr("NDA_VNI") or 0,
        port=message.get_attr("NDA_PORT") or 0,
        group=group,
    )
    place = (message.get_attr("NDA_SRC_VNI") or 0, bytes.fromhex(mac.replace(":", "")))
    entry = Entry(message["ifindex"], place, remote)
    return Added(entry) if kind == RTM_NEWNEIGH else Deleted(entry)


def _packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
