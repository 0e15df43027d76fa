"""The tunnel of a tunnel netdev as its link describes it: the same for all kinds, each of which has a file beside this.

No I/O, and no pyroute2: sampler.daemon.linktable keeps it with the link.
"""

import ipaddress
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

PROTOCOL_UDP = 17
PROTOCOL_GRE = 47


class TunnelType(IntEnum):
    """VMware tunnelType, the numbers of enum tunnel_type in bpf/sample.def.h."""

    VXLAN = 1
    GRE = 2
    LISP = 3
    STT = 4
    IPSEC_GRE = 5
    GENEVE = 7


@dataclass(frozen=True)
class Tunnel:
    """What packets of a tunnel netdev look like underneath, as far as the link says.

    Attributes:
        type: what it is exported as.
        key_length: octets of the key on the wire.
        protocol: IP protocol of the outer packet.
        key_in: VNI or GRE key of what it receives; 0 where there is none.
        key_out: of what it sends.
        local: address of this end; None where it is the route's choice.
        remote: address of the other end or a multicast group; None where the link has none.
        port: UDP destination port; 0 for protocols without ports, and where the link does not tell.
        external: collect-metadata mode: each packet has its own key and remote, the link has none.
        forwarding: it has a forwarding database, by which the remote depends on the inner MAC address.

    """

    type: TunnelType
    key_length: int
    protocol: int
    key_in: int = 0
    key_out: int = 0
    local: Address | None = None
    remote: Address | None = None
    port: int = 0
    external: bool = False
    forwarding: bool = False


def address(text: str | None) -> Address | None:
    """Read an address; None where there is none or it is the unspecified one, by which links say "any"."""
    if not text:
        return None
    read = ipaddress.ip_address(text)
    return None if read.is_unspecified else read
