"""The link kind vxlan: IFLA_INFO_DATA of a netlink message to a Tunnel."""

from typing import Any

from sampler.tunnels.tunnel import PROTOCOL_UDP, Tunnel, TunnelType, address

KINDS = ("vxlan",)
KEY_LENGTH = 3


def tunnel(data: Any) -> Tunnel:
    """Describe a vxlan netdev.

    IFLA_VXLAN_GROUP is what the kernel puts into the forwarding database as the place of
    unknown MAC addresses when it makes the link: one remote end, or a multicast group.
    A device of the Generic Protocol Extension (GPE) carries IP without MAC addresses, so
    it has no use for that database; the kernel makes it in external mode only.
    """
    external = bool(data.get_attr("IFLA_VXLAN_COLLECT_METADATA"))
    vni = 0 if external else data.get_attr("IFLA_VXLAN_ID") or 0
    return Tunnel(
        type=TunnelType.VXLAN,
        key_length=KEY_LENGTH,
        protocol=PROTOCOL_UDP,
        key_in=vni,
        key_out=vni,
        local=address(data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6")),
        remote=address(data.get_attr("IFLA_VXLAN_GROUP") or data.get_attr("IFLA_VXLAN_GROUP6")),
        port=data.get_attr("IFLA_VXLAN_PORT") or 0,
        external=external,
        forwarding=data.get_attr("IFLA_VXLAN_GPE") is None,
    )
