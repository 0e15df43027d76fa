"""The link kinds over GRE: IFLA_INFO_DATA of a netlink message to a Tunnel.

The kernel numbers their attributes alike, in <linux/if_tunnel.h>. pyroute2 0.9 knows
neither erspan nor external mode over IPv6, and reads the flags of ip6gre in the wrong
byte order; sampler.tunnels.kinds registers the class below for all six.
"""

from typing import Any

from pyroute2.netlink import nla

from sampler.tunnels.tunnel import PROTOCOL_GRE, PROTOCOL_UDP, Tunnel, TunnelType, address

KINDS = ("gre", "gretap", "ip6gre", "ip6gretap")
KEY_LENGTH = 4
GRE_KEY = 0x2000  # RFC 2890 section 2, of the flags in network byte order
TUNNEL_ENCAP_FOU, TUNNEL_ENCAP_GUE = 1, 2


class gre_attributes(nla):
    """IFLA_INFO_DATA of all kinds over GRE."""

    prefix = "IFLA_"
    nla_map = (
        ("IFLA_GRE_UNSPEC", "none"),
        ("IFLA_GRE_LINK", "uint32"),
        ("IFLA_GRE_IFLAGS", "be16"),
        ("IFLA_GRE_OFLAGS", "be16"),
        ("IFLA_GRE_IKEY", "be32"),
        ("IFLA_GRE_OKEY", "be32"),
        ("IFLA_GRE_LOCAL", "ipaddr"),
        ("IFLA_GRE_REMOTE", "ipaddr"),
        ("IFLA_GRE_TTL", "uint8"),
        ("IFLA_GRE_TOS", "uint8"),
        ("IFLA_GRE_PMTUDISC", "uint8"),
        ("IFLA_GRE_ENCAP_LIMIT", "uint8"),
        ("IFLA_GRE_FLOWINFO", "be32"),
        ("IFLA_GRE_FLAGS", "uint32"),
        ("IFLA_GRE_ENCAP_TYPE", "uint16"),
        ("IFLA_GRE_ENCAP_FLAGS", "uint16"),
        ("IFLA_GRE_ENCAP_SPORT", "be16"),
        ("IFLA_GRE_ENCAP_DPORT", "be16"),
        ("IFLA_GRE_COLLECT_METADATA", "flag"),
        ("IFLA_GRE_IGNORE_DF", "uint8"),
        ("IFLA_GRE_FWMARK", "uint32"),
        ("IFLA_GRE_ERSPAN_INDEX", "uint32"),
        ("IFLA_GRE_ERSPAN_VER", "uint8"),
        ("IFLA_GRE_ERSPAN_DIR", "uint8"),
        ("IFLA_GRE_ERSPAN_HWID", "uint16"),
    )


def tunnel(data: Any) -> Tunnel:
    """Describe a netdev over GRE.

    A key that the flags do not announce is not on the wire: it is 0. Over FOU or GUE the
    outer packet is UDP; the link names the port it sends to, but not the one it receives on, so none.
    """
    external = data.get_attr("IFLA_GRE_COLLECT_METADATA") is not None
    over_udp = data.get_attr("IFLA_GRE_ENCAP_TYPE") in (TUNNEL_ENCAP_FOU, TUNNEL_ENCAP_GUE)
    return Tunnel(
        type=TunnelType.GRE,
        key_length=KEY_LENGTH,
        protocol=PROTOCOL_UDP if over_udp else PROTOCOL_GRE,
        key_in=0 if external else _key(data, "IFLA_GRE_IFLAGS", "IFLA_GRE_IKEY"),
        key_out=0 if external else _key(data, "IFLA_GRE_OFLAGS", "IFLA_GRE_OKEY"),
        local=address(data.get_attr("IFLA_GRE_LOCAL")),
        remote=address(data.get_attr("IFLA_GRE_REMOTE")),
        external=external,
    )


def _key(data: Any, flags: str, key: str) -> int:
    if not (data.get_attr(flags) or 0) & GRE_KEY:
        return 0
    return int(data.get_attr(key) or 0)
