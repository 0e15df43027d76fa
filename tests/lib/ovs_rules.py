"""Flow rules for Open vSwitch and xdpfix both: the matches, and the flows that they make held against each other.

A rule looks at fields. Where the two describe a packet differently in one of those, for a reason that is listed, either
may take it. Of all other packets both take the same. lib.ovs_rule_flows has both sample.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from lib.flowdiff import Difference, Flow, Key, comparable, compare
from lib.ovs import OvsRule
from lib.ovs_differences import ADDRESSES, ICMP, PORTS, TTL
from sampler.rules.fields import ALIASES, KEYWORDS

SETS = 3  # collector sets that the rules are spread over
# Each takes some of the made-up frames and leaves others. The first is what the others are held against.
MATCHES = (
    "",
    "tun_id=0",
    "ip",
    "ip6",
    "arp",
    "rarp",
    "mpls",
    "tcp",
    "tcp6",
    "udp",
    "udp6",
    "sctp,tp_src=0x0/0x8000",
    "sctp6",
    "icmp",
    "icmp6",
    "in_port=a,arp",
    "dl_type=0x05ff",
    "eth_type=0x88cc",
    "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
    "eth_dst=ff:ff:ff:ff:ff:ff",
    "dl_src=02:00:5e:00:00:10/ff:ff:ff:ff:ff:f0",
    "dl_vlan=0xffff",
    "dl_vlan=0",
    "dl_vlan=100,ip",
    "dl_vlan=100,dl_vlan_pcp=3",
    "vlan_pcp=0",
    "vlan_tci=0x1004/0x1004",
    "vlan_vid=0x1000/0x1000",
    "vlan_vid=0x1004/0x1004,ipv6",
    "mpls,mpls_label=16",
    "mpls,mpls_bos=0",
    "mpls,mpls_tc=5",
    "mplsm,mpls_ttl=64",
    "ip,nw_src=192.0.2.0/255.255.255.254",
    "ip,nw_dst=224.0.0.0/4",
    "ip,ip_dst=0.0.0.2/0.0.0.255",
    "ip,nw_proto=47",
    "ip,ip_proto=0",
    "ip,nw_tos=0xb8",
    "ip,ip_dscp=46,nw_ttl=1",
    "ip,nw_ecn=3",
    "ip,nw_frag=no",
    "ip,nw_frag=yes",
    "ip,nw_frag=first",
    "ip,ip_frag=later",
    "ipv6,nw_frag=not_later",
    "ipv6,ipv6_src=2001:db8::/32",
    "ipv6,ipv6_dst=::2/::ff",
    "ipv6,ipv6_label=0x1/0x1",
    "ipv6,nw_proto=50",
    "ipv6,nw_proto=59",
    "tcp,tp_dst=0x1/0x1",
    "tcp,tcp_dst=443",
    "tcp6,tcp_src=0x0/0x8000",
    "udp,udp_src=5000",
    "udp6,tp_dst=0",
    "udp,udp_dst=0x8/0xfff8",
    "sctp,sctp_src=36412,sctp_dst=36413",
    "tcp,tcp_flags=+syn-ack",
    "tcp,tcp_flags=rst|ack",
    "tcp6,tcp_flags=0x2/0x2",
    "icmp,icmp_type=11,icmp_code=1",
    "icmp6,icmpv6_type=1,icmpv6_code=4",
    "icmp6,icmp_type=129",
)
# Fields of the other version are 0 in Open vSwitch: it takes what came by a tunnel over IPv6. xdpfix takes what did not
# come by a tunnel (docs/rules.md).
NO_OUTER_IPV4 = "tun_src=0.0.0.0"
# Each takes some of the packets that came by a tunnel and leaves others, but for the first.
TUNNEL_MATCHES = (
    "",
    "tun_id=0",
    "tunnel_id=0x1/0x1",
    "tcp,tun_id=0x0/0x18",
    "tun_src=192.0.2.0/24",
    "tun_src=192.0.2.1,tun_id=0x10/0x10",
    NO_OUTER_IPV4,
    "tun_dst=192.0.2.2",
    "tun_ipv6_src=2001:db8:ff::/48",
    "tun_ipv6_dst=2001:db8:ff::2,ip",
    "tun_src=192.0.2.0/24,ipv6,nw_frag=yes",
    "tun_dst=192.0.2.2,dl_vlan=100",
)
# Frames that none of lib.oracle_frames is like.
_IP = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1, dport=2)
_MORE = (
    Ether(type=0x8035) / ARP(op=3),
    Ether(type=0x8847) / MPLS(label=18, cos=5, s=1, ttl=7) / _IP,
    Ether(type=0x8848) / MPLS(label=18, s=1, ttl=64) / _IP,
)
RULE_FRAMES = [bytes.fromhex(f"020000000001 02005f0000{n:02x}") + bytes(frame)[12:] for n, frame in enumerate(_MORE)]
# What records say of the fields that rules look at. Both describe the others alike, or a rule shows it.
ELEMENTS: Mapping[str, frozenset[str]] = {
    "nw_proto": frozenset({"protocolIdentifier"}),
    **dict.fromkeys(("nw_src", "nw_dst", "ipv6_src", "ipv6_dst", "ipv6_label", "nw_frag"), ADDRESSES),
    **dict.fromkeys(("nw_tos", "ip_dscp", "nw_ecn"), frozenset({"ipClassOfService"})),
    "nw_ttl": TTL,
    **dict.fromkeys(("tp_src", "tp_dst", "icmp_type", "icmp_code", "tcp_flags"), PORTS | ICMP),
}
NOTHING = (None, 0, "0.0.0.0", "::")  # a field that is not there, and what a match sees in its place

Flows = dict[Key, Flow]
Name = Callable[[Flow], str]


def fields_of(match: str) -> set[str]:
    """Give the names of the fields that a match asks for, those that stand behind its keywords included."""
    found: set[str] = set()
    for part in filter(None, match.split(",")):
        word = part.partition("=")[0]
        found |= {name for name, _ in KEYWORDS[word]} if word in KEYWORDS else {ALIASES.get(word, word)}
    return found


def looks_at(match: str) -> frozenset[str]:
    """Give the elements of a record by which a packet is taken."""
    return frozenset().union(*(ELEMENTS.get(name, frozenset()) for name in fields_of(match)))


def ovs_rules(matches: Sequence[str]) -> list[OvsRule]:
    """Give each match a domain and a point of its own, in the collector sets by turns."""
    return [OvsRule(match, 1 + place % SETS, place, 1000 + place) for place, match in enumerate(matches, 1)]


@dataclass
class Selections:
    """What a comparison found: lines to read, differences met, packets that one of both took for a rule."""

    problems: list[str] = field(default_factory=list)
    used: set[Difference] = field(default_factory=set)
    otherwise: set[str] = field(default_factory=set)
    judged: int = 0
    excused: int = 0


def compare_rules(
    oracle: Mapping[str, Flows], ours: Mapping[str, Flows], allowed: Iterable[Difference], name: Name, profile: str
) -> Selections:
    """Compare the flows of every match. Those of "" say how both describe all packets."""
    allowed = tuple(allowed)
    found = Selections()
    unlike: dict[str, set[str]] = {}
    for match in sorted(oracle, key=len):
        theirs, mine = (comparable(flows[match], profile) for flows in (oracle, ours))
        if match == "":
            unlike = described_otherwise(theirs, mine, name)
        seen = looks_at(match)
        excused = {title for title, fields in unlike.items() if fields & seen}
        found.excused += sum(name(flow) in excused for flow in theirs.values())
        found.judged += len(theirs)
        found.otherwise |= excused & ({name(f) for f in theirs.values()} ^ {name(f) for f in mine.values()})
        theirs, mine = ({k: f for k, f in flows.items() if name(f) not in excused} for flows in (theirs, mine))
        report = compare(theirs, mine, allowed, name)
        found.problems += [f"{match!r}: {problem}" for problem in report.problems]
        found.used |= report.used
    return found


def described_otherwise(oracle: Flows, ours: Flows, name: Name) -> dict[str, set[str]]:
    """Give by packet the elements in which the flows of both that have no counterpart differ."""
    left: dict[str, tuple[list[Flow], list[Flow]]] = {}
    for place, (flows, other) in enumerate(((oracle, ours), (ours, oracle))):
        for key in flows.keys() - other.keys():
            left.setdefault(name(flows[key]), ([], []))[place].append(flows[key])
    return {
        title: {element for element in flows[0] if _values(flows, element) != _values(others, element)}
        for title, (flows, others) in left.items()
        if flows and others
    }


def _values(flows: Iterable[Flow], element: str) -> set[object]:
    return {None if flow[element] in NOTHING else flow[element] for flow in flows}
