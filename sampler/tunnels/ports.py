"""Which ports of the underlay carry tunnels: a table of all 65536 for the parser, in the kernel and natively. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from sampler.tunnels.tunnel import TunnelType

PORTS = 1 << 16
# Where the TCP port is STT's: PORT_STT of bpf/state.def.h, beside the tunnel type of the UDP port.
STT_BIT = 0x80


@dataclass(frozen=True)
class TunnelPorts:
    """The configured ports, [sampler.tunnel_ports]: UDP, and TCP for stt. An empty list switches a kind off.

    The defaults are IANA's numbers, with Linux's own 8472 for vxlan, and Open vSwitch's 7471 for stt.
    """

    vxlan: tuple[int, ...] = (4789, 8472)
    geneve: tuple[int, ...] = (6081,)
    lisp: tuple[int, ...] = (4341,)
    stt: tuple[int, ...] = (7471,)


def port_types(ports: TunnelPorts, netdevs: Iterable[tuple[int, TunnelType]] = ()) -> bytes:
    """Give the octet of every port: the tunnel type of the UDP port or 0, with STT_BIT where the TCP port is STT's.

    Args:
        ports: what is configured.
        netdevs: ports of tunnel netdevs, which win over what is configured; the first of two that share one wins.

    """
    types = bytearray(PORTS)
    for port in ports.stt:
        types[port] = STT_BIT
    configured = ((ports.vxlan, TunnelType.VXLAN), (ports.geneve, TunnelType.GENEVE), (ports.lisp, TunnelType.LISP))
    wanted = {port: kind for listed, kind in configured for port in listed}
    followed: dict[int, TunnelType] = {}
    for port, kind in netdevs:
        followed.setdefault(port, kind)
    for port, kind in (wanted | followed).items():
        types[port] |= kind
    return bytes(types)


def listed(types: bytes) -> dict[str, list[int]]:
    """Give the ports of each kind of such a table, in order, for people."""
    found: dict[str, list[int]] = {"vxlan": [], "geneve": [], "lisp": [], "stt": []}
    for port, octet in enumerate(types):
        if octet & ~STT_BIT:
            found[TunnelType(octet & ~STT_BIT).name.lower()].append(port)
        if octet & STT_BIT:
            found["stt"].append(port)
    return found
