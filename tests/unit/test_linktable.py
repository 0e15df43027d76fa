"""The link table: what each event changes, which links a glob takes, and which carry the same packets."""

from dataclasses import replace

import pytest

from sampler.daemon.linktable import (
    Appeared,
    Changed,
    Dumped,
    Gone,
    Link,
    LinkTable,
    Looked,
    Moved,
    Removed,
    Renamed,
    Seen,
    matches,
    overlaps,
    unmatched,
)
from sampler.kernel.xdpprograms import XdpProgram
from sampler.tunnels.tunnel import Tunnel, TunnelType, address

ETH0 = Link(2, "eth0", physical=True, up=True)
ETH1 = Link(3, "eth1", physical=True, up=True)

FIRST, SECOND = (XdpProgram(number, "native") for number in (12, 13))


def test_what_a_look_at_the_programs_finds() -> None:
    table = LinkTable()
    table.apply(Dumped((ETH0, replace(ETH1, xdp=FIRST))))
    with_first = replace(ETH0, xdp=FIRST)
    found = table.apply(Looked((2, 3, 4), {3: FIRST}, {2: FIRST, 3: FIRST, 4: FIRST}))
    assert found == [Changed(with_first, ETH0)], "nothing of a link that is not known"
    assert table.get(2) == with_first
    assert table.apply(Looked((2,), {2: FIRST}, {2: SECOND})) == [Changed(replace(ETH0, xdp=SECOND), with_first)]
    assert table.apply(Looked((2,), {2: SECOND}, {})) == [Changed(ETH0, replace(ETH0, xdp=SECOND))]


def test_a_message_that_came_while_the_kernel_was_asked_is_the_newer_one() -> None:
    table = LinkTable()
    table.apply(Seen(replace(ETH0, xdp=SECOND)))
    assert table.apply(Looked((2,), {2: FIRST}, {2: FIRST})) == []
    assert table.apply(Looked((2,), {2: FIRST}, {})) == []
    assert table.get(2) == replace(ETH0, xdp=SECOND)
    table.apply(Removed(2))
    assert table.apply(Looked((2,), {2: SECOND}, {2: FIRST})) == []


def test_a_link_appears_changes_is_renamed_and_goes():
    table = LinkTable()
    assert table.apply(Seen(ETH0)) == [Appeared(ETH0)]
    assert table.apply(Seen(ETH0)) == []
    down = replace(ETH0, up=False)
    assert table.apply(Seen(down)) == [Changed(down, ETH0)]
    named = replace(down, name="lan0")
    assert table.apply(Seen(named)) == [Renamed(named, down)]
    assert table.get(2) == named
    assert table.apply(Removed(2)) == [Gone(named)]
    assert table.apply(Removed(2)) == []
    assert table.links == ()


def test_a_link_that_moves_is_gone_and_said_to_have_moved():
    table = LinkTable()
    table.apply(Seen(ETH0))
    (change,) = table.apply(Removed(2, moved=True))
    assert isinstance(change, Moved)
    assert isinstance(change, Gone)


def test_a_dump_is_compared_with_what_is_known():
    table = LinkTable()
    table.apply(Dumped((ETH0, ETH1)))
    other = Link(4, "vnet0", "tun")
    renamed = replace(ETH1, name="wan")
    assert table.apply(Dumped((renamed, other))) == [Gone(ETH0), Renamed(renamed, ETH1), Appeared(other)]
    assert table.apply(Dumped((renamed, other))) == []


def test_a_number_used_again_by_another_kind_is_another_link():
    table = LinkTable()
    table.apply(Seen(Link(7, "a", "veth")))
    bridge = Link(7, "a", "bridge")
    assert table.apply(Seen(bridge)) == [Gone(Link(7, "a", "veth")), Appeared(bridge)]


def test_globs():
    assert matches(ETH0, ["eth*"])
    assert matches(ETH0, ["vnet*", "eth0"])
    assert not matches(ETH0, ["ETH*"])
    assert matches(ETH0, [])
    assert not matches(Link(9, "vnet0", "tun"), [])
    assert unmatched([ETH0], ["eth*", "vnet*"]) == ["vnet*"]
    # Names that look like globs are names too.
    assert matches(Link(9, "a[b]", "veth"), ["a[b]"])
    assert unmatched([Link(9, "a[b]", "veth")], ["a[b]"]) == []


def names(*links, sampled=None):
    found = overlaps(links, [link.ifindex for link in links] if sampled is None else sampled)
    return [sentence.partition(":")[0] for sentence in found]


def test_a_vlan_and_its_lower_link_overlap():
    vlan = Link(5, "eth0.7", "vlan", lower=2)
    assert names(ETH0, vlan) == ["eth0.7 (vlan) carries its packets over eth0"]
    assert names(ETH1, vlan) == []
    assert names(ETH0, vlan, sampled=[2]) == []


def test_a_lower_link_of_another_namespace_is_no_overlap():
    assert names(ETH0, Link(5, "mv0", "macvlan", lower=2, lower_elsewhere=True)) == []


def test_bridge_and_bond_overlap_with_members_but_members_not_with_each_other():
    bridge = Link(10, "br0", "bridge")
    left, right = replace(ETH0, master=10), Link(11, "vnet0", "tun", master=10)
    assert names(left, right, bridge) == ["eth0 is a member of br0 (bridge)", "vnet0 is a member of br0 (bridge)"]
    assert names(left, right, bridge, sampled=[2, 11]) == []


def test_overlap_over_links_between():
    bond = Link(10, "bond0", "bond")
    member, vlan = replace(ETH0, master=10), Link(12, "bond0.5", "vlan", lower=10)
    assert names(member, bond, vlan, sampled=[2, 12]) == ["bond0.5 (vlan) carries its packets over eth0"]


def test_tunnel_over_its_underlay():
    known = Link(20, "vxlan0", "vxlan", lower=2)
    assert names(ETH0, ETH1, known) == ["vxlan0 (vxlan) carries its packets over eth0"]
    unknown = replace(known, lower=0)
    assert names(ETH0, unknown) == ["vxlan0 (vxlan) may carry its packets over eth0"]
    assert names(Link(1, "lo", loopback=True), unknown) == []


VXLAN = Link(20, "vxlan0", "vxlan")


@pytest.mark.parametrize(
    "underlay",
    [
        ETH0,
        Link(5, "bond0", "bond"),
        Link(30, "bond0.100", "vlan", lower=2),
        Link(5, "up0", "veth", lower=6),
        Link(30, "br0", "bridge"),
        replace(ETH0, master=7),  # of a bridge, which is not sampled itself
        Link(5, "member", "dummy", master=8),  # of a VRF
    ],
)
def test_a_tunnel_without_a_lower_link_may_be_over_any_that_has_an_address(underlay):
    masters = Link(7, "br7", "bridge"), Link(8, "vrf8", "vrf")
    sampled = [VXLAN.ifindex, underlay.ifindex]
    sentence = f"vxlan0 (vxlan) may carry its packets over {underlay.name}"
    assert names(*masters, VXLAN, underlay, sampled=sampled) == [sentence]
    assert names(*masters, replace(VXLAN, kind="gretap"), underlay, sampled=sampled) == [
        sentence.replace("(vxlan)", "(gretap)")
    ]
    # Its underlay is elsewhere, or is known to be another.
    assert names(*masters, replace(VXLAN, lower_elsewhere=True), underlay, sampled=sampled) == []
    assert names(*masters, replace(VXLAN, lower=3), underlay, sampled=sampled) == []


@pytest.mark.parametrize(
    "other",
    [
        Link(1, "lo", loopback=True),
        Link(5, "gre0", "gre", lower=3),
        Link(5, "vnet0", "tun", master=7),
        Link(5, "c0", "veth", lower=6, master=7),
        Link(5, "vnet0", "tun", master=9),
    ],
)
def test_a_tunnel_is_not_over_other_tunnels_or_a_guests_interface(other):
    masters = Link(7, "br7", "bridge"), Link(9, "ovs-system", "openvswitch")
    assert names(*masters, VXLAN, other, sampled=[VXLAN.ifindex, other.ifindex]) == []


def test_a_tunnel_that_is_a_member_of_a_bridge_and_what_is_made_on_it():
    bridge, member, port = Link(30, "br0", "bridge"), replace(VXLAN, master=30), replace(ETH1, master=30)
    above = Link(31, "vxlan0.7", "vlan", lower=20)
    assert names(bridge, member, port, above, ETH0) == [
        "vxlan0 (vxlan) may carry its packets over eth0",
        "eth1 is a member of br0 (bridge)",
        "vxlan0 is a member of br0 (bridge)",
        "vxlan0.7 (vlan) carries its packets over vxlan0",
    ]


def test_both_ends_of_a_veth():
    left, right = Link(5, "a", "veth", lower=6), Link(6, "b", "veth", lower=5)
    assert names(left, right) == ["a and b are the two ends of one veth"]
    assert names(replace(left, lower_elsewhere=True), replace(right, lower_elsewhere=True)) == []


def test_a_loop_of_links_ends():
    assert len(names(Link(5, "a", "vlan", lower=6), Link(6, "b", "vlan", lower=5))) == 1


@pytest.mark.parametrize(
    ("kind", "remote", "external", "bare"),
    [
        ("gre", "192.0.2.2", False, True),
        ("gre", None, True, True),
        ("gre", None, False, False),
        ("gre", "233.252.0.1", False, False),
        ("gretap", None, False, True),
        ("vxlan", None, False, True),
    ],
)
def test_packets_of_gre_without_one_remote_keep_their_outer_header(kind, remote, external, bare):
    tunnel = Tunnel(TunnelType.GRE, 4, 47, remote=address(remote), external=external)
    assert Link(5, "g0", kind, l3=kind == "gre", tunnel=tunnel).bare == bare
    assert not Link(5, "e0", "veth").bare


class Counted(Link):
    """A link that counts how often anything of it is read."""

    reads = 0

    def __getattribute__(self, name):
        Counted.reads += 1
        return super().__getattribute__(name)


def reads_for(number):
    """How often links are read for so many tunnels, veth pairs and vlans over one interface, all of them sampled."""
    links = [Counted(2, "eth0", physical=True)]
    for base in range(10, 10 + 4 * number, 4):
        links.append(Counted(base, f"vx{base}", "vxlan", lower=2))
        links.append(Counted(base + 1, f"eth0.{base}", "vlan", lower=2))
        links.append(Counted(base + 2, f"a{base}", "veth", lower=base + 3))
        links.append(Counted(base + 3, f"b{base}", "veth", lower=base + 2))
    ifindexes = [link.ifindex for link in links]
    Counted.reads = 0
    assert len(overlaps(links, ifindexes)) == 3 * number
    return Counted.reads


def test_overlaps_of_many_links_are_found_without_comparing_each_with_each():
    few, many = reads_for(10), reads_for(1000)
    assert many < 110 * few
