"""The link kinds of mirrored frames, ERSPAN over GRE: IFLA_INFO_DATA of a netlink message to a Tunnel, beside gre's."""

from dataclasses import replace
from typing import Any

from sampler.tunnels import gre
from sampler.tunnels.tunnel import Tunnel

KINDS = ("erspan", "ip6erspan")
# A session id, of 10 bits, which Linux keeps as the link's key. GRE has no key then: 2 octets tell the two apart.
KEY_LENGTH = 2


def tunnel(data: Any) -> Tunnel:
    """Describe a netdev of ERSPAN."""
    return replace(gre.tunnel(data), key_length=KEY_LENGTH)
