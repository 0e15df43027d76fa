"""Follows the IPsec policies and states of this namespace by netlink: the I/O half of sampler.tunnels.securitytable."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST

from sampler.daemon.links import DUMP_TRIES, NLM_F_DUMP_INTR, enlarge
from sampler.tunnels import xfrm
from sampler.tunnels.securitytable import (
    Network,
    Policy,
    PolicyGone,
    PolicySeen,
    Replaced,
    SecurityEvent,
    Selector,
    State,
    StateGone,
    StateSeen,
    StatesFlushed,
)
from sampler.tunnels.subscription import RECEIVE_BUFFER, Subscription
from sampler.tunnels.tunnel import Address


class Security(Subscription):
    """Follows policies and states while follow() says that they matter.

    Args:
        apply: takes the events.
        told: called when what has arrived was applied.
        receive_buffer: octets of messages that may wait.

    """

    what = "IPsec policies and states"
    consequence = "GRE under IPsec is exported as plain GRE"

    def __init__(
        self,
        apply: Callable[[SecurityEvent], None],
        told: Callable[[], None],
        receive_buffer: int = RECEIVE_BUFFER,
    ) -> None:
        super().__init__(told, receive_buffer)
        self._apply = apply
        self._missing = True

    def follow(self, wanted: bool) -> None:
        """Follow them, or no longer."""
        if wanted:
            self.start()
        elif self.running:
            self.stop()
            self._apply(Replaced((), ()))

    async def _open(self) -> Any:
        netlink = xfrm.AsyncXfrmSocket(self._receive_buffer)
        try:
            enlarge(netlink, self._receive_buffer)
            await netlink.bind()
            # Not by bind(), whose refusal pyroute2 takes for a port in use.
            for group in (xfrm.XFRMNLGRP_EXPIRE, xfrm.XFRMNLGRP_SA, xfrm.XFRMNLGRP_POLICY):
                netlink.add_membership(group)
        except BaseException:
            netlink.close()
            raise
        return netlink

    def _forget(self) -> None:
        self._missing = True

    async def _dump(self) -> bool:
        if not self._missing:
            return False
        self._missing = False
        self._apply(await dump())
        return True

    def _take(self, message: Any) -> None:
        event = event_of(message)
        if event is not None:
            self._apply(event)


async def dump() -> Replaced:
    """Read all policies and states."""
    netlink = xfrm.AsyncXfrmSocket(RECEIVE_BUFFER)
    try:
        await netlink.bind()
        policies = [event_of(message) for message in await _dump_all(netlink, xfrm.XFRM_MSG_GETPOLICY)]
        states = [event_of(message) for message in await _dump_all(netlink, xfrm.XFRM_MSG_GETSA)]
    finally:
        netlink.close()
    return Replaced(
        policies=tuple(event.policy for event in policies if isinstance(event, PolicySeen)),
        states=tuple(event.state for event in states if isinstance(event, StateSeen)),
    )


async def _dump_all(netlink: Any, kind: int) -> list[Any]:
    messages: list[Any] = []
    for _ in range(DUMP_TRIES):
        request = xfrm.policy_flush()
        messages = [message async for message in await netlink.nlm_request(request, kind, NLM_F_REQUEST | NLM_F_DUMP)]
        if not any(message["header"]["flags"] & NLM_F_DUMP_INTR for message in messages):
            break
    return messages


def event_of(message: Any) -> SecurityEvent | None:
    """Turn a message into an event; None if it says nothing about a policy or state that may matter here."""
    kind = message["header"]["type"]
    if kind in (xfrm.XFRM_MSG_NEWPOLICY, xfrm.XFRM_MSG_UPDPOLICY):
        return _policy_event(message)
    if kind == xfrm.XFRM_MSG_POLEXPIRE:
        return PolicyGone(message["index"]) if message["hard"] and _is_main(message) else None
    if kind == xfrm.XFRM_MSG_DELPOLICY:
        policy = message.get_attr("XFRMA_POLICY")
        return PolicyGone(policy["index"]) if policy is not None and _is_main(message) else None
    if kind == xfrm.XFRM_MSG_FLUSHPOLICY:
        return Replaced(policies=()) if _is_main(message) else None
    if kind in (xfrm.XFRM_MSG_NEWSA, xfrm.XFRM_MSG_UPDSA):
        return _state_event(message)
    if kind == xfrm.XFRM_MSG_EXPIRE:
        return StateGone(_identity(message)) if message["hard"] else None
    if kind == xfrm.XFRM_MSG_DELSA:
        return StateGone(_identity(message))
    if kind == xfrm.XFRM_MSG_FLUSHSA:
        return StatesFlushed(0 if message["proto"] in xfrm.IPSEC_PROTO_ANY else message["proto"])
    return None


def _is_main(message: Any) -> bool:
    """Sub-policies, which only Mobile IPv6 has, are left out; kernels without them do not send the attribute."""
    return (message.get_attr("XFRMA_POLICY_TYPE") or 0) == xfrm.XFRM_POLICY_TYPE_MAIN


def _is_narrowed(message: Any) -> bool:
    """Whether it takes packets of a mark or an xfrm interface only, which the netdev's packets need not have."""
    mark = message.get_attr("XFRMA_MARK")
    return bool(message.get_attr("XFRMA_IF_ID")) or (mark is not None and mark["m"] != 0)


def _policy_event(message: Any) -> SecurityEvent | None:
    if not _is_main(message):
        return None
    if _is_narrowed(message):
        return PolicyGone(message["index"])
    templates = message.get_attr("XFRMA_TMPL") or []
    levels = [optional for protocol, optional in templates if protocol in xfrm.PROTOCOLS]
    allowed = message["action"] == xfrm.XFRM_POLICY_ALLOW
    return PolicySeen(
        Policy(
            index=message["index"],
            direction=message["dir"],
            selector=_selector(message),
            priority=message["priority"],
            required=allowed and not all(levels),
            optional=allowed and any(levels),
        )
    )


def _state_event(message: Any) -> SecurityEvent:
    family, identity = message["family"], _identity(message)
    # Without algorithm it is the place of one that a key exchange is still about.
    ready = any(message.get_attrs(name) for name in xfrm.ALGORITHMS)
    if (
        not ready
        or _is_narrowed(message)
        or message["proto"] not in xfrm.PROTOCOLS
        or message["mode"] not in (xfrm.XFRM_MODE_TRANSPORT, xfrm.XFRM_MODE_TUNNEL)
    ):
        return StateGone(identity)
    pair = (_address(family, message["saddr"]), _address(family, message["daddr"]))
    return StateSeen(State(identity, message["proto"], pair, _selector(message)))


def _identity(message: Any) -> tuple[object, ...]:
    mark = message.get_attr("XFRMA_MARK")
    marked = (mark["v"], mark["m"]) if mark is not None else (0, 0)
    return (message["family"], message["daddr"], message["spi"], message["proto"], *marked)


def _selector(message: Any) -> Selector:
    family = message["sel_family"]
    return Selector(
        source=_network(family, message["sel_saddr"], message["sel_prefixlen_s"]),
        destination=_network(family, message["sel_daddr"], message["sel_prefixlen_d"]),
        protocol=message["sel_proto"],
        sport=message["sel_sport"],
        dport=message["sel_dport"],
        sport_mask=message["sel_sport_mask"],
        dport_mask=message["sel_dport_mask"],
        ifindex=message["sel_ifindex"],
    )


def _address(family: int, octets: bytes) -> Address:
    return ipaddress.IPv4Address(octets[:4]) if family == socket.AF_INET else ipaddress.IPv6Address(octets)


def _network(family: int, octets: bytes, length: int) -> Network | None:
    if family == socket.AF_INET:
        return ipaddress.IPv4Network((octets[:4], length), strict=False)
    if family == socket.AF_INET6:
        return ipaddress.IPv6Network((octets, length), strict=False)
    return None  # AF_UNSPEC: a state that takes packets of either family
