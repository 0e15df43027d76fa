"""Profiles: which templates an exporter uses and which kind of flow goes out by which one.

Profile "ovs" is the 28 templates of Open vSwitch 2.5.0, same ids, fields and order. Profile "full" adds what
OVS never had, under ids of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from exporter.template import Field, Template, field

OVS_FIRST_ID = 256
FULL_FIRST_ID = 1024  # clear of OVS's ids, which in later versions reach 375 and 462, and of options templates

# Kinds of flow, as flow_kind() in exporter/native/flow.def.h counts them.
L2 = ("untagged", "vlan")
L3 = ("none", "ipv4", "ipv6")
L4 = ("other", "ports", "icmp", "tcp")
# The outer header, and which IANA element can say the tunnel's key: layer2SegmentId, greKey or none.
TUNNEL = (("none", "none"), *product(("ipv4", "ipv6"), ("other", "vni", "gre")))


@dataclass(frozen=True)
class Kind:
    """A kind of flow: what its key has. The index of a kind is its place in kinds()."""

    l2: str
    l3: str
    l4: str
    outer: str
    key: str


def kinds() -> tuple[Kind, ...]:
    """All kinds in the order of flow_kind(); those with "none" and an L4 protocol do not occur."""
    return tuple(Kind(l2, l3, l4, *tunnel) for l2, l3, l4, tunnel in product(L2, L3, L4, TUNNEL))


@dataclass(frozen=True)
class Profile:
    """Templates of data records and, for each of kinds(), the index of its template.

    `whole`: collectors get all of them in each observation domain that has data; else those that its data uses.
    """

    name: str
    templates: tuple[Template, ...]
    by_kind: tuple[int, ...]
    whole: bool


def _fields(kind: Kind, extended: bool) -> Iterator[Field]:
    """Yield the fields of OVS 2.5.0's template for this kind, in its order; the additions of "full" if `extended`."""
    # 138 is unsigned64 in today's registry; OVS's 4 octets are its reduced-size encoding.
    yield field("observationPointId", 4)
    yield from map(field, ("flowDirection", "sourceMacAddress", "destinationMacAddress"))
    yield from map(field, ("ethernetType", "ethernetHeaderLength"))
    if extended:
        # Both, always: the side that the packet was seen on has its ifindex, the other is 0, "not known" (RFC 2863
        # has no interface 0). So every record names its interface, and collectors need not combine 10 with 61.
        yield from map(field, ("ingressInterface", "egressInterface"))
    if kind.l2 == "vlan":
        yield from map(field, ("vlanId", "dot1qVlanId", "dot1qPriority"))
    if kind.l3 != "none":
        yield from map(field, ("ipVersion", "ipTTL", "protocolIdentifier"))
        yield from map(field, ("ipDiffServCodePoint", "ipPrecedence", "ipClassOfService"))
    if kind.l3 == "ipv4":
        yield from map(field, ("sourceIPv4Address", "destinationIPv4Address"))
    if kind.l3 == "ipv6":
        yield from map(field, ("sourceIPv6Address", "destinationIPv6Address", "flowLabelIPv6"))
    if kind.l4 in ("ports", "tcp"):
        yield from map(field, ("sourceTransportPort", "destinationTransportPort"))
    if kind.l4 == "icmp":
        version = {"ipv4": "IPv4", "ipv6": "IPv6"}[kind.l3]
        yield from map(field, (f"icmpType{version}", f"icmpCode{version}"))
    if extended and kind.l4 == "tcp":
        # One octet: the eight flags; some collectors read no other length of this element.
        yield field("tcpControlBits", 1)
    if kind.outer != "none":
        yield from _tunnel_fields(kind, extended)
    yield from map(field, ("flowStartDeltaMicroseconds", "flowEndDeltaMicroseconds"))
    if extended:
        yield from map(field, ("flowStartMilliseconds", "flowEndMilliseconds"))
    yield from map(field, ("packetDeltaCount", "layer2OctetDeltaCount", "flowEndReason"))
    if kind.l3 != "none":
        yield from map(field, ("octetDeltaCount", "octetDeltaSumOfSquares"))
        yield from map(field, ("minimumIpTotalLength", "maximumIpTotalLength"))


def _tunnel_fields(kind: Kind, extended: bool) -> Iterator[Field]:
    if kind.outer == "ipv4":
        yield from map(field, ("tunnelSourceIPv4Address", "tunnelDestinationIPv4Address"))
    else:
        # VMware has no such elements, IANA none for an outer header: ntop's, whose nProbe fills them with the
        # addresses of the header that it took off. docs/ipfix.md says what collectors make of the alternatives.
        yield from map(field, ("UNTUNNELED_IPV6_SRC_ADDR", "UNTUNNELED_IPV6_DST_ADDR"))
    yield from map(field, ("tunnelProtocolIdentifier", "tunnelSourceTransportPort", "tunnelDestinationTransportPort"))
    yield from map(field, ("tunnelType", "tunnelKey"))
    if extended and kind.key == "vni":
        yield field("layer2SegmentId")
    if extended and kind.key == "gre":
        yield field("greKey")


def _ovs_id(kind: Kind) -> int:
    """Number as OVS does (ofproto-dpif-ipfix.c). It has no elements for an IPv6 outer header: no tunnel then."""
    l4 = {"other": 0, "ports": 1, "tcp": 1, "icmp": 2}[kind.l4]
    return OVS_FIRST_ID + ((L2.index(kind.l2) * 3 + L3.index(kind.l3)) * 3 + l4) * 2 + (kind.outer == "ipv4")


def _profile(name: str) -> Profile:
    extended = name == "full"
    templates: dict[int, Template] = {}
    ids = []
    for index, kind in enumerate(kinds()):
        if kind.l3 == "none" and kind.l4 != "other":
            kind = replace(kind, l4="other")
            index = kinds().index(kind)
        number = FULL_FIRST_ID + index if extended else _ovs_id(kind)
        ids.append(number)
        if number not in templates:
            templates[number] = Template(number, tuple(_fields(kind, extended)))
    order = sorted(templates)
    by_kind = tuple(order.index(number) for number in ids)
    return Profile(name, tuple(templates[number] for number in order), by_kind, not extended)


OVS = _profile("ovs")
FULL = _profile("full")
PROFILES = {profile.name: profile for profile in (OVS, FULL)}
