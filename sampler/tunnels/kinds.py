"""The link kinds whose packets carry a tunnel that is exported, and which file reads each."""

from collections.abc import Callable, Mapping
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from sampler.tunnels import erspan, geneve, gre, vxlan
from sampler.tunnels.tunnel import Tunnel

READERS: Mapping[str, Callable[[Any], Tunnel]] = {
    kind: module.tunnel for module in (vxlan, geneve, gre, erspan) for kind in module.KINDS
}

ifinfmsg.ifinfo.register_link_kind(module=dict.fromkeys(gre.KINDS + erspan.KINDS, gre.gre_attributes))


def tunnel_of(kind: str, data: Any) -> Tunnel | None:
    """Describe the tunnel of a link of this kind, by its IFLA_INFO_DATA; None for links that are no such tunnel."""
    reader = READERS.get(kind)
    return reader(data) if reader is not None and hasattr(data, "get_attr") else None
