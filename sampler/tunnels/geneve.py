"""The link kind geneve: IFLA_INFO_DATA of a netlink message to a Tunnel."""

from typing import Any

from sampler.tunnels.tunnel import PROTOCOL_UDP, Tunnel, TunnelType, address

KINDS = ("geneve",)
KEY_LENGTH = 3


def tunnel(data: Any) -> Tunnel:
    """Describe a geneve netdev. It has no local address of its own, and its remote is a single host."""
    external = bool(data.get_attr("IFLA_GENEVE_COLLECT_METADATA"))
    vni = 0 if external else data.get_attr("IFLA_GENEVE_ID") or 0
    return Tunnel(
        type=TunnelType.GENEVE,
        key_length=KEY_LENGTH,
        protocol=PROTOCOL_UDP,
        key_in=vni,
        key_out=vni,
        remote=address(data.get_attr("IFLA_GENEVE_REMOTE") or data.get_attr("IFLA_GENEVE_REMOTE6")),
        port=data.get_attr("IFLA_GENEVE_PORT") or 0,
        external=external,
    )
