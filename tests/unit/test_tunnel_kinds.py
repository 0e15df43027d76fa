"""What a tunnel netdev's link says, kind by kind, from messages of Linux (vxlan) and iproute2 (all others)."""

from ipaddress import ip_address

import pytest

from lib.recorded import decoded
from sampler._native import ffi
from sampler.daemon.links import link_of
from sampler.tunnels.tunnel import Tunnel, TunnelType

V4, W4, G4 = ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("233.252.0.1")
V6, W6 = ip_address("2001:db8::1"), ip_address("2001:db8::2")
VXLAN = {"type": TunnelType.VXLAN, "key_length": 3, "protocol": 17, "forwarding": True}
GENEVE = {"type": TunnelType.GENEVE, "key_length": 3, "protocol": 17}
ERSPAN = {"type": TunnelType.GRE, "key_length": 2, "protocol": 47}
GRE = {"type": TunnelType.GRE, "key_length": 4, "protocol": 47}

CASES = {
    "vx0 type vxlan id 5000 dstport 4789 local 192.0.2.1 remote 192.0.2.9": Tunnel(
        **VXLAN, key_in=5000, key_out=5000, local=V4, remote=ip_address("192.0.2.9"), port=4789
    ),
    "vx1 type vxlan id 5001 dstport 8472 group 233.252.0.1 dev d0": Tunnel(
        **VXLAN, key_in=5001, key_out=5001, remote=G4, port=8472
    ),
    "vx2 type vxlan external dstport 4790 vnifilter": Tunnel(**VXLAN, port=4790, external=True),
    "vx3 type vxlan external gpe dstport 4791": Tunnel(**VXLAN | {"forwarding": False}, port=4791, external=True),
    "vx4 type vxlan id 7 dstport 4792 local 2001:db8::2 remote 2001:db8::1": Tunnel(
        **VXLAN, key_in=7, key_out=7, local=W6, remote=V6, port=4792
    ),
    "gn0 type geneve id 5000 remote 192.0.2.9 dstport 6081": Tunnel(
        **GENEVE, key_in=5000, key_out=5000, remote=ip_address("192.0.2.9"), port=6081
    ),
    "gn1 type geneve id 16777215 remote 2001:db8::9 dstport 6099": Tunnel(
        **GENEVE, key_in=0xFFFFFF, key_out=0xFFFFFF, remote=ip_address("2001:db8::9"), port=6099
    ),
    "gn2 type geneve external": Tunnel(**GENEVE, external=True),
    "g0 type gre local 192.0.2.1 remote 192.0.2.2 ikey 7 okey 8": Tunnel(
        **GRE, key_in=7, key_out=8, local=V4, remote=W4
    ),
    "g1 type gretap local 192.0.2.1 remote 192.0.2.2": Tunnel(**GRE, local=V4, remote=W4),
    "g2 type gretap external": Tunnel(**GRE, external=True),
    "g3 type ip6gre local 2001:db8::1 remote 2001:db8::2 key 0x01020304": Tunnel(
        **GRE, key_in=0x01020304, key_out=0x01020304, local=V6, remote=W6
    ),
    "g4 type ip6gretap local 2001:db8::1 remote 2001:db8::2 key 99": Tunnel(
        **GRE, key_in=99, key_out=99, local=V6, remote=W6
    ),
    "g5 type erspan seq key 30 local 192.0.2.1 remote 192.0.2.2 erspan_ver 1 erspan 123": Tunnel(
        **ERSPAN, key_in=30, key_out=30, local=V4, remote=W4
    ),
    "g6 type ip6erspan seq key 31 local 2001:db8::1 remote 2001:db8::2 erspan_ver 2 erspan_dir ingress "
    "erspan_hwid 17": Tunnel(**ERSPAN, key_in=31, key_out=31, local=V6, remote=W6),
    # GRE in UDP: the outer packet is UDP, and the port that it comes by is another socket's.
    "g7 type gre local 192.0.2.1 remote 192.0.2.2 encap gue encap-sport auto encap-dport 5555": Tunnel(
        **GRE | {"protocol": 17}, local=V4, remote=W4
    ),
    "g8 type gretap local 192.0.2.1 remote 233.252.0.1 key 5 dev d0": Tunnel(
        **GRE, key_in=5, key_out=5, local=V4, remote=G4
    ),
    "g9 type ip6gretap external": Tunnel(**GRE, external=True),
    "g10 type erspan external": Tunnel(**ERSPAN, external=True),
}


@pytest.mark.parametrize("command", CASES)
def test_link_tells_its_tunnel(command: str) -> None:
    link = link_of(decoded(f"ip link add {command}"))
    assert link.name == command.split()[0]
    assert link.kind == command.split()[2]
    assert link.tunnel == CASES[command]


def test_a_key_without_its_flag_is_none() -> None:
    """The kernel tells keys of 0 and leftovers alike: only the flag says that there is one on the wire."""
    message = decoded("ip link add g0 type gre local 192.0.2.1 remote 192.0.2.2 ikey 7 okey 8")
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    for attribute in data["attrs"]:
        if attribute[0] == "IFLA_GRE_IFLAGS":
            attribute.cell[1].value = 0x1000  # sequence numbers, no key
    tunnel = link_of(message).tunnel
    assert tunnel is not None
    assert (tunnel.key_in, tunnel.key_out) == (0, 8)


def test_the_link_below_is_known() -> None:
    assert link_of(decoded("ip link add vx1 type vxlan id 5001 dstport 8472 group 233.252.0.1 dev d0")).lower
    assert link_of(decoded("ip link add g8 type gretap local 192.0.2.1 remote 233.252.0.1 key 5 dev d0")).lower == 3


def test_types_are_those_of_the_kernel_side() -> None:
    names = {name: number for number, name in ffi.typeof("enum tunnel_type").elements.items()}
    assert {f"TUNNEL_{kind.name}": kind.value for kind in TunnelType} | {"TUNNEL_NONE": 0} == names
