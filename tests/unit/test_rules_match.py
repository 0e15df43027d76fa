"""Matches of flow rules: every field means what it says, and what is wrong is named with its way out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.matches import INTERFACES, Packet, Piece, cases, packets, pieces, sample, takes
from sampler.errors import ConfigError
from sampler.rules.match import Match, compile_match, interfaces


def compiled(text: str) -> Match:
    return compile_match(text, INTERFACES.get)


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compiled(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@settings(max_examples=500, deadline=None)
@given(cases(), st.sampled_from((",", " ", ", ")))
def test_a_match_takes_the_packets_that_agree_with_each_of_its_pieces(
    case: tuple[list[Piece], list[Packet]], separator: str
) -> None:
    parts, some = case
    match = compiled(separator.join(part.text for part in parts))
    for packet in some:
        assert takes(match, sample(packet)) == all(part.agrees(packet) for part in parts), match.text


@settings(max_examples=150, deadline=None)
@given(pieces(), pieces(), st.lists(packets(), min_size=1, max_size=10))
def test_matches_that_take_one_packet_overlap(one: list[Piece], other: list[Piece], some: list[Packet]) -> None:
    both = [compiled(",".join(part.text for part in parts)) for parts in (one, other)]
    if any(all(takes(match, sample(packet)) for match in both) for packet in some):
        assert both[0].overlaps(both[1])
        assert both[1].overlaps(both[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ip", "ipv6"),
        ("udp", "tcp"),
        ("udp,tp_dst=53", "udp,tp_dst=54-60"),
        ("in_port=eth0", "in_port=vnet3"),
        ("ip,nw_src=192.0.2.0/25", "ip,nw_src=192.0.2.128/25"),
        ("dl_vlan=0xffff", "dl_vlan=5"),
    ],
)
def test_matches_that_exclude_each_other_do_not_overlap(one: str, other: str) -> None:
    assert not compiled(one).overlaps(compiled(other))
    assert compiled(one).overlaps(compiled(""))


def test_the_empty_match_takes_every_packet() -> None:
    assert compiled("") == Match("", {})
    assert compiled(" , ") == Match(" , ", {})


def test_an_interface_that_is_not_there_matches_nothing() -> None:
    match = compiled("udp,in_port=eth9")
    assert 0 in match.octets.values()
    assert interfaces('udp,in_port="eth9"') == ("eth9",)
    assert interfaces("udp") == ()


def test_an_interface_may_have_any_name_that_the_kernel_takes() -> None:
    names = {"a,b": 1, "LOCAL": 2, "7": 3}
    for name, number in names.items():
        match = compile_match(f'udp,in_port="{name}",tp_dst=53', names.get)
        assert match.octets == compile_match("udp,in_port=x,tp_dst=53", lambda _, number=number: number).octets


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("udp,tp_dst=53", "udp tp_dst=0x35"),
        ("udp,tp_dst=53", "dl_type=0x800,nw_proto=17,tp_dst=53"),
        ("udp,tp_dst=53", "udp_dst=53 , ip, ip_proto=17"),
        ("ip,nw_src=192.0.2.7/24", "ip,ip_src=192.0.2.0/255.255.255.0"),
        ("ipv6,ipv6_src=2001:db8::/32", "ip6 ipv6_src=2001:db8::7/ffff:ffff::"),
        ("dl_src=2:0:0:0:0:1", "eth_src=02:00:00:00:00:01/ff:ff:ff:ff:ff:ff"),
        ("ip,nw_tos=32", "ip,ip_dscp=8"),
        ("dl_vlan=5", "vlan_vid=0x1005"),
        ("dl_vlan=5,dl_vlan_pcp=3", "vlan_tci=0x7005"),
        ("dl_vlan=0xffff", "vlan_tci=0"),
        ("tcp,tcp_flags=syn|ack", "tcp,tcp_flags=0x12/0xfff"),
        ("tcp,tcp_flags=+syn-ack", "tcp,tcp_flags=2/0x12"),
        ("icmp,icmp_type=8,icmp_code=0", "icmp,tp_src=8,tp_dst=0"),
        ("icmp6,icmp_type=135", "icmp6,icmpv6_type=135"),
        ("tun_id=5", "tunnel_id=0x5"),
        ("udp,tp_src=7/0", "udp"),
        ("udp,tp_src=1000,udp_src=900-1100", "udp,tp_src=1000"),
    ],
)
def test_two_spellings_are_one_match(text: str, same: str) -> None:
    one, other = compiled(text), compiled(same)
    assert (one.octets, one.src_port, one.dst_port) == (other.octets, other.src_port, other.dst_port)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nw_src=192.0.2.1", "nw_src=192.0.2.1: is a field of ip packets; write ip,nw_src=192.0.2.1"),
        ("ipv6,nw_src=192.0.2.1", "nw_src=192.0.2.1: is a field of ip packets; write ip,nw_src=192.0.2.1"),
        ("ip,tp_dst=53", "tp_dst=53: is a field of tcp (or udp, sctp, tcp6 …) packets; write tcp,tp_dst=53"),
        ("tcp,udp_dst=53", "udp_dst=53: is a field of udp (or udp6) packets; write udp,udp_dst=53"),
        ("arp,nw_src=192.0.2.1", "nw_src=192.0.2.1: a sample has no fields of ARP; match arp alone"),
        ("mpls_label=5", "mpls_label=5: is a field of mpls packets; write mpls,mpls_label=5"),
        ("udp,tcp_flags=+syn", "tcp_flags=+syn: is a field of tcp (or tcp6) packets; write tcp,tcp_flags=+syn"),
        ("icmp,icmpv6_type=1", "icmpv6_type=1: is a field of icmp6 packets; write icmp6,icmpv6_type=1"),
        ("tcp,udp", "udp: nw_proto is 6 already; a packet has one of them: write a rule for each"),
        ("udp,tp_dst=1,tp_dst=2", "tp_dst=2: tp_dst is 1 already; a packet has one of them: write a rule for each"),
        ("udp,tp_dst=65536", "tp_dst=65536: must be a number from 0 to 65535, decimal or hexadecimal (0x…)"),
        ("udp,tp_dst=010", "tp_dst=010: must be a number from 0 to 65535, decimal or hexadecimal (0x…)"),
        ("udp,tp_dst=", "tp_dst=: must be a number from 0 to 65535, decimal or hexadecimal (0x…)"),
        ("udp,tp_dst=9-7", "tp_dst=9-7: the range ends before it begins; write 7-9"),
        ("ip,nw_ttl=64/0xf0", "nw_ttl=64/0xf0: takes no mask, as in Open vSwitch"),
        ("ip,nw_tos=5", "nw_tos=5: its two lowest bits are ECN; write nw_tos=4 and nw_ecn=1"),
        ("ip,nw_frag=some", "nw_frag=some: must be one of no, yes, first, later, not_later"),
        ("dl_vlan=4096", "dl_vlan=4096: must be a VLAN id from 0 to 4095, or 0xffff for packets without a tag"),
        ("vlan_vid=10", "vlan_vid=10: matches no packet, as in Open vSwitch; write 0x100a or dl_vlan=10"),
        ("udpp", "udpp: unknown field; did you mean udp?"),
        ("tp_dts=1", "tp_dts=1: unknown field; did you mean tp_dst?"),
        ("zzzz=1", "zzzz=1: unknown field; fields are those of ovs-fields(7), listed in docs/rules.md"),
        ("tp_dst", "tp_dst: wants a value: tp_dst=VALUE"),
        ("udp=1", "udp=1: udp takes no value"),
        ("in_port=1", "in_port=1: OpenFlow ports are Open vSwitch's own; name the interface as `ip link` does"),
        ("in_port=LOCAL", "in_port=LOCAL: OpenFlow ports are Open vSwitch's own"),
        ("in_port=abcdefghijklmnop", "in_port=abcdefghijklmnop: must be the name of an interface, at most 15 charac"),
        ('in_port=""', 'in_port="": must be the name of an interface'),
        ("dl_src=1", "dl_src=1: must be a MAC address, such as 02:00:00:00:00:01 or "),
        ("ip,nw_src=1.2.3", "nw_src=1.2.3: must be an IPv4 address, such as 192.0.2.0/24"),
        ("ip,nw_src=1.2.3.4/33", "nw_src=1.2.3.4/33: must be an IPv4 address"),
        ("ipv6,ipv6_src=fe80::1%eth0", "ipv6_src=fe80::1%eth0: must be an IPv6 address, such as 2001:db8::/32"),
        ("tcp,tcp_flags=+sny", 'tcp_flags=+sny: no TCP flag is called "sny"; write +syn-ack, syn|ack or 0x2/0x12'),
        ("tcp,tcp_flags=+syn-syn", "tcp_flags=+syn-syn: a flag cannot be both set and not set"),
        ("=1", "=1: must be FIELD=VALUE or a keyword, such as udp,tp_dst=53"),
        ("udp,tp_dst=1=2", "tp_dst=1=2: must be a number from 0 to 65535"),
    ],
)
def test_what_is_wrong_is_named_with_its_way_out(text: str, message: str) -> None:
    assert refused(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ct_state=+trk", "state that Open vSwitch keeps beside a packet"),
        ("reg0=1", "state that Open vSwitch keeps"),
        ("xxreg3=1", "state that Open vSwitch keeps"),
        ("metadata=1", "state that Open vSwitch keeps"),
        ("arp,arp_spa=192.0.2.1", "match arp, or icmp6"),
        ("icmp6,nd_target=::1", "match arp, or icmp6"),
        ("tun_metadata0=1", "has of a tunnel tun_id"),
        ("tun_gbp_id=1", "has of a tunnel tun_id"),
        ("nsh_spi=1", "Network Service Header"),
        ("priority=5,udp", "belongs to a flow of Open vSwitch"),
        ("udp,actions=drop", "belongs to a flow of Open vSwitch"),
        ("pkt_mark=1", "mark on a packet"),
        ("in_port_oxm=1", "write in_port=NAME"),
    ],
)
def test_what_open_vswitch_knows_and_a_sample_does_not_say_is_refused_by_name(text: str, reason: str) -> None:
    message = refused(text)
    assert reason in message
    assert message.split("=")[0] in text
