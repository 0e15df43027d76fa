"""Netlink messages that iproute2 sent or the kernel told (tests/data/netlink_messages.txt), decoded by pyroute2."""

from pathlib import Path
from typing import Any

from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from sampler.tunnels.xfrm import MarshalXfrm

DATA = Path(__file__).parents[1] / "data" / "netlink_messages.txt"


def octets_of(command: str) -> bytes:
    """The message that the command made: sent, or told by the kernel because of it."""
    lines = DATA.read_text().splitlines()
    return bytes.fromhex(lines[lines.index(command) + 1])


def decoded(command: str) -> Any:
    """The same, decoded."""
    marshal: Marshal = MarshalXfrm() if "ip xfrm" in command else MarshalRtnl()
    (message,) = marshal.parse(octets_of(command))
    assert message["header"]["error"] is None
    return message
