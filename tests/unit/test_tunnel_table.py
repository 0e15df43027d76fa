"""The tunnel table: what the kernel is told of each netdev and MAC address, and that the way there does not matter."""

from dataclasses import replace
from typing import Any

import pytest

from lib.tunnelmaps import (
    EXTERNAL,
    GENEVE,
    GRE,
    GROUP,
    LOCAL,
    MAC,
    OTHER,
    REMOTE,
    REMOTE6,
    VXLAN,
    Kernel,
    ipsec,
    number,
)
from sampler._native import ffi, lib
from sampler.daemon.linktable import Link
from sampler.kernel.xdpprograms import XdpProgram
from sampler.tunnels import tunneltable
from sampler.tunnels.neighbourtable import UNKNOWN_MAC, Added, Deleted, Entry, Place, Remote
from sampler.tunnels.ports import PORTS, STT_BIT, TunnelPorts, port_types
from sampler.tunnels.securitytable import PolicyGone
from sampler.tunnels.tunnel import Tunnel, TunnelType
from sampler.tunnels.tunneltable import TunnelTable


def table(*links: Link, ports: TunnelPorts | None = None) -> tuple[TunnelTable, Kernel]:
    made, kernel = TunnelTable(ports or TunnelPorts()), Kernel()
    made.set_links(links)
    kernel.write(made.changes())
    return made, kernel


def vx0(tunnel: Tunnel = VXLAN, name: str = "vx0", **options: Any) -> Link:
    return Link(4, name, "vxlan", tunnel=tunnel, **options)


def at(mac: bytes, address: Any, vni: int = 0, **options: Any) -> Entry:
    return Entry(4, (vni, mac), Remote(address.packed, **options))


def padded(address: Any) -> bytes:
    return address.packed.ljust(16, b"\0")


def test_structs_are_those_of_the_kernel_side() -> None:
    assert tunneltable.PORT.size == ffi.sizeof("struct tunnel_port")
    assert tunneltable.IFINDEX.size + tunneltable.REST_OF_KEY.size == ffi.sizeof("struct tunnel_neighbour_key")
    assert tunneltable.NEIGHBOUR.size == ffi.sizeof("struct tunnel_neighbour")
    assert ffi.sizeof("struct port_tunnels") == tunneltable.PORTS_AN_ENTRY
    assert tunneltable.FLAG_EXTERNAL == lib.TUNNEL_PORT_EXTERNAL
    assert tunneltable.FLAG_NEIGHBOURS == lib.TUNNEL_PORT_NEIGHBOURS
    assert STT_BIT == lib.PORT_STT
    assert PORTS == lib.PORT_ENTRIES * tunneltable.PORTS_AN_ENTRY


def test_a_gre_netdev() -> None:
    port = table(Link(5, "g0", "gretap", tunnel=GRE))[1].port(5)
    assert (bytes(port.local), bytes(port.remote)) == (padded(LOCAL), padded(REMOTE))
    assert (number(port, "key_in"), number(port, "key_out"), number(port, "port")) == (7, 8, 0)
    assert (port.type, port.key_length, port.protocol) == (lib.TUNNEL_GRE, 4, 47)
    assert (port.local_version, port.remote_version, port.flags) == (4, 4, 0)


def test_a_geneve_netdev() -> None:
    port = table(Link(5, "gn0", "geneve", tunnel=GENEVE))[1].port(5)
    assert (bytes(port.local), bytes(port.remote)) == (bytes(16), padded(REMOTE6))
    assert (number(port, "key_in"), number(port, "port"), port.type) == (9, 6081, lib.TUNNEL_GENEVE)
    assert (port.local_version, port.remote_version) == (0, 6)


def test_links_that_are_no_tunnels_are_not_told() -> None:
    made, kernel = table(Link(2, "eth0", physical=True), Link(3, "wg0", "wireguard"))
    assert kernel.maps["tunnel_ports"] == {}
    assert made.rows() == []


def test_a_vxlan_netdev_and_its_neighbours() -> None:
    made, kernel = table(vx0())
    made.apply_neighbours(Added(at(MAC, REMOTE)))
    made.apply_neighbours(Added(at(UNKNOWN_MAC, REMOTE6, port=9999)))
    kernel.write(made.changes())
    assert kernel.port(4).flags == lib.TUNNEL_PORT_NEIGHBOURS
    assert kernel.port(4).remote_version == 0
    assert kernel.neighbours() == {
        (4, 5000, MAC): (padded(REMOTE), 0, 0, 4),
        (4, 5000, UNKNOWN_MAC): (padded(REMOTE6), 0, 9999, 6),
    }
    made.apply_neighbours(Added(at(UNKNOWN_MAC, OTHER)))  # a second end for unknown addresses: copies go to both
    made.apply_neighbours(Added(at(MAC, OTHER, vni=0)))
    kernel.write(made.changes())
    assert kernel.neighbours() == {(4, 5000, MAC): (padded(OTHER), 0, 0, 4)}
    assert made.counts == {"netdevs": 1, "neighbours": 1}
    made.set_links(())
    kernel.write(made.changes())
    assert kernel.neighbours() == {}
    assert kernel.maps["tunnel_ports"] == {}


def test_external_mode_takes_the_vni_of_each_entry() -> None:
    made, kernel = table(vx0(EXTERNAL))
    made.apply_neighbours(Added(at(MAC, REMOTE, vni=100)))
    made.apply_neighbours(Added(at(MAC, OTHER, vni=200)))
    made.apply_neighbours(Added(Entry(4, (200, UNKNOWN_MAC), Remote(OTHER.packed, vni=201))))
    kernel.write(made.changes())
    assert kernel.port(4).flags == lib.TUNNEL_PORT_NEIGHBOURS | lib.TUNNEL_PORT_EXTERNAL
    assert kernel.neighbours() == {
        (4, 100, MAC): (padded(REMOTE), 0, 0, 4),
        (4, 200, MAC): (padded(OTHER), 0, 0, 4),
        (4, 200, UNKNOWN_MAC): (padded(OTHER), 201, 0, 4),
    }


def test_the_remote_of_a_vxlan_link_is_fixed_while_no_other_end_is_known() -> None:
    made, kernel = table(vx0(replace(VXLAN, remote=REMOTE)))
    made.apply_neighbours(Added(at(UNKNOWN_MAC, REMOTE)))  # which the kernel makes of the link's remote
    kernel.write(made.changes())
    assert bytes(kernel.port(4).remote) == padded(REMOTE)
    made.apply_neighbours(Added(at(MAC, OTHER)))
    kernel.write(made.changes())
    assert kernel.port(4).remote_version == 0
    made.apply_neighbours(Deleted(at(MAC, OTHER)))
    kernel.write(made.changes())
    assert kernel.port(4).remote_version == 4


@pytest.mark.parametrize("tunnel", [replace(VXLAN, remote=GROUP), replace(EXTERNAL, remote=REMOTE)])
def test_a_group_is_nobodys_address_and_external_mode_has_no_fixed_remote(tunnel: Tunnel) -> None:
    assert table(vx0(tunnel))[1].port(4).remote_version == 0


def test_a_gretap_over_a_group_sends_there_and_receives_from_nobody_known() -> None:
    tap = Link(5, "g0", "gretap", tunnel=replace(GRE, remote=GROUP))
    kernel = table(tap)[1]
    assert kernel.port(5).remote_version == 0
    assert kernel.port(5).flags == lib.TUNNEL_PORT_NEIGHBOURS
    assert kernel.neighbours() == {(5, 8, UNKNOWN_MAC): (padded(GROUP), 0, 0, 4)}
    # Without MAC addresses ingress would find it too.
    kernel = table(replace(tap, kind="gre", l3=True))[1]
    assert kernel.port(5).flags == 0
    assert kernel.neighbours() == {}


def test_another_vni_moves_all_entries() -> None:
    made, kernel = table(vx0())
    made.apply_neighbours(Added(at(MAC, REMOTE)))
    kernel.write(made.changes())
    assert made.set_links([vx0(replace(VXLAN, key_in=6, key_out=6))]) == {4}
    kernel.write(made.changes())
    assert list(kernel.neighbours()) == [(4, 6, MAC)]
    assert made.set_links([replace(vx0(replace(VXLAN, key_in=6, key_out=6)), name="vx1")]) == set()
    assert made.changes() == []
    assert [row["name"] for row in made.rows()] == ["vx1"]


def test_a_change_that_no_entry_depends_on_encodes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database may have a hundred thousand entries, and a link says each change of its flags."""
    made, kernel = table(vx0(mtu=1500))
    made.apply_neighbours(Added(at(MAC, REMOTE)))
    kernel.write(made.changes())
    encoded = []
    encode = made._neighbour

    def counted(link: Link, place: Place) -> tuple[bytes, bytes | None]:
        encoded.append(place)
        return encode(link, place)

    monkeypatch.setattr(made, "_neighbour", counted)
    for link in (vx0(mtu=1450), vx0(up=True), vx0(name="vx1"), vx0(master=9), vx0(xdp=XdpProgram(3, "native"))):
        made.set_links([link])
        assert made.changes() == []
    assert encoded == []
    made.apply_neighbours(Added(at(UNKNOWN_MAC, OTHER)))
    made.set_links([vx0(mtu=1400)])  # before that was told
    kernel.write(made.changes())
    assert encoded == [(0, UNKNOWN_MAC)]
    encoded.clear()
    made.set_links([vx0(replace(VXLAN, key_in=6, key_out=6))])
    made.set_links([vx0(replace(VXLAN, key_in=6, key_out=6), mtu=1500)])
    kernel.write(made.changes())
    assert set(encoded) == {(0, MAC), (0, UNKNOWN_MAC)}
    assert set(kernel.neighbours()) == {(4, 6, MAC), (4, 6, UNKNOWN_MAC)}


def test_what_a_netdev_knew_goes_with_it() -> None:
    made, kernel = table(vx0())
    made.apply_neighbours(Added(at(MAC, REMOTE)))
    made.set_links(())
    made.apply_neighbours(Added(at(UNKNOWN_MAC, REMOTE)))  # late
    made.set_links([vx0()])
    kernel.write(made.changes())
    assert kernel.neighbours() == {}


def test_entries_of_external_mode_are_of_no_use_without_it() -> None:
    made, kernel = table(vx0(EXTERNAL))
    made.apply_neighbours(Added(at(MAC, REMOTE, vni=100)))
    made.set_links([vx0()])
    kernel.write(made.changes())
    assert kernel.neighbours() == {}


def test_ports_follow_netdevs_and_configuration() -> None:
    made, kernel = table()
    types = kernel.types()
    assert {port: types[port] for port in range(PORTS) if types[port]} == {
        4789: lib.TUNNEL_VXLAN,
        8472: lib.TUNNEL_VXLAN,
        6081: lib.TUNNEL_GENEVE,
        4341: lib.TUNNEL_LISP,
        7471: lib.PORT_STT,
    }
    made.set_links([vx0(), Link(5, "gn0", "geneve", tunnel=replace(GENEVE, port=7471))])
    kernel.write(made.changes())
    assert kernel.types()[4799] == lib.TUNNEL_VXLAN
    assert kernel.types()[7471] == lib.PORT_STT | lib.TUNNEL_GENEVE
    made.set_ports(TunnelPorts(vxlan=(), stt=(4341,)))
    kernel.write(made.changes())
    assert made.ports == {"vxlan": [4799], "geneve": [6081, 7471], "lisp": [4341], "stt": [4341]}
    assert kernel.types() == port_types(
        TunnelPorts(vxlan=(), stt=(4341,)), [(4799, TunnelType.VXLAN), (7471, TunnelType.GENEVE)]
    )
    made.set_links([vx0(lower_elsewhere=True)])  # its packets pass the interfaces of another namespace
    kernel.write(made.changes())
    assert made.ports == {"vxlan": [], "geneve": [6081], "lisp": [4341], "stt": [4341]}


def test_a_port_is_the_netdevs_before_the_configurations() -> None:
    types = port_types(TunnelPorts(), [(4789, TunnelType.GENEVE), (4789, TunnelType.VXLAN)])
    assert types[4789] == TunnelType.GENEVE


def test_ipsec_makes_another_type() -> None:
    made, kernel = table(Link(5, "g0", "gre", l3=True, tunnel=GRE))
    assert made.may_be_protected
    made.apply_security(ipsec())
    kernel.write(made.changes())
    assert kernel.port(5).type == lib.TUNNEL_IPSEC_GRE
    assert [row["type"] for row in made.rows()] == ["ipsec_gre"]
    made.apply_security(PolicyGone(1))
    kernel.write(made.changes())
    assert kernel.port(5).type == lib.TUNNEL_GRE
    # The key that it sends is 8.
    made.apply_security(ipsec(dport=8, dport_mask=0xFFFF))
    kernel.write(made.changes())
    assert kernel.port(5).type == lib.TUNNEL_IPSEC_GRE


@pytest.mark.parametrize(
    "link",
    [
        Link(5, "e0", "erspan", tunnel=GRE),
        Link(5, "g0", "gre", tunnel=replace(GRE, external=True)),
        Link(5, "g0", "gre", tunnel=replace(GRE, local=None)),
        Link(5, "g0", "gre", tunnel=replace(GRE, protocol=17)),
        Link(5, "g0", "gre", tunnel=replace(GRE, remote=GROUP)),
        vx0(replace(VXLAN, remote=REMOTE)),
    ],
)
def test_ipsec_matters_to_gre_between_two_fixed_ends_only(link: Link) -> None:
    made, kernel = table(link)
    assert not made.may_be_protected
    made.apply_security(ipsec())
    kernel.write(made.changes())
    assert link.tunnel is not None
    assert kernel.port(link.ifindex).type == link.tunnel.type


def test_rows() -> None:
    made, _ = table(vx0(), Link(5, "g0", "gretap", tunnel=GRE), Link(6, "x", "vxlan", tunnel=EXTERNAL))
    assert made.rows()[:2] == [
        {
            "ifindex": 4,
            "name": "vx0",
            "kind": "vxlan",
            "type": "vxlan",
            "key_length": 3,
            "external": False,
            "key_in": 5000,
            "key_out": 5000,
            "local": "192.0.2.1",
            "remote": None,
            "port": 4799,
            "neighbours": 0,
        },
        {
            "ifindex": 5,
            "name": "g0",
            "kind": "gretap",
            "type": "gre",
            "key_length": 4,
            "external": False,
            "key_in": 7,
            "key_out": 8,
            "local": "192.0.2.1",
            "remote": "192.0.2.9",
            "port": None,
            "neighbours": 0,
        },
    ]
    external = made.rows()[2]
    assert (external["external"], external["key_in"], external["key_out"]) == (True, None, None)
