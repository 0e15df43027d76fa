"""Profiles: which templates an exporter uses and which kind of flow goes out by which one.

Profile "ovs" is the 28 templates of Open vSwitch 2.5.0, same ids, fields and order. Profile "full" adds what
OVS never had, under ids of its own. A template id stands for one layout, in every profile and for ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from exporter.elements import VARIABLE_LENGTH
from exporter.template import Field, Template, field

OVS_FIRST_ID = 256
# Clear of OVS's ids, which in later versions reach 375 and 462, and of options templates.
FULL_FIRST_ID = 1024
# What a layout with a virtualObsID adds to the id of that without.
FULL_VIRTUAL = 1024
OVS_VIRTUAL = 3072 - OVS_FIRST_ID

# Kinds of flow, as flow_kind() in exporter/native/flow.def.h counts them.
VERDICT = (False, True)
MPLS = (False, True)
TAGS = (0, 1, 2)
L3 = ("none", "ipv4", "ipv6")
L4 = ("other", "ports", "icmp", "tcp")
# The outer header, and which IANA element can say the tunnel's key: layer2SegmentId, greKey or none.
TUNNEL = (("none", "none"), *product(("ipv4", "ipv6"), ("other", "vni", "gre")))

MPLS_LABEL = 3  # octets of an entry of the label stack, without its TTL (RFC 7012, element 70)
# Values of 32 bits here and counters that seldom need more: 4 octets, which every collector reads that knows them.
SHORT = 4


@dataclass(frozen=True)
class Kind:
    """A kind of flow: what its key has. The index of a kind is its place in kinds()."""

    verdict: bool
    mpls: bool
    tags: int
    l3: str
    l4: str
    outer: str
    key: str


@cache
def kinds() -> tuple[Kind, ...]:
    """All kinds in the order of flow_kind(); those with "none" and an L4 protocol do not occur."""
    return tuple(
        Kind(verdict, mpls, tags, l3, l4, *tunnel)
        for verdict, mpls, tags, l3, l4, tunnel in product(VERDICT, MPLS, TAGS, L3, L4, TUNNEL)
    )


@dataclass(frozen=True, eq=False)  # one object each, told apart by identity
class Profile:
    """Templates of data records and, for each of kinds(), the index of its template.

    `whole`: collectors get all of them in each observation domain that has data; else those that its data uses.
    """

    name: str
    templates: tuple[Template, ...]
    by_kind: tuple[int, ...]
    whole: bool


def _fields(kind: Kind, extended: bool, virtual: bool) -> Iterator[Field]:
    """Yield the fields of OVS 2.5.0's template for this kind, in its order; the additions of "full" if `extended`.

    `virtual` adds virtualObsID, where later versions of OVS have it.
    """
    # 138 is unsigned64 in today's registry; OVS's 4 octets are its reduced-size encoding.
    yield field("observationPointId", 4)
    yield from map(field, ("flowDirection", "sourceMacAddress", "destinationMacAddress"))
    yield from map(field, ("ethernetType", "ethernetHeaderLength"))
    if extended:
        # Both, always: the side that the packet was seen on has its ifindex, the other has it where it is known, else
        # 0 (RFC 2863 has no interface 0). So every record names its interface, and nobody need combine 10 with 61.
        yield from map(field, ("ingressInterface", "egressInterface"))
    if kind.tags:
        yield from map(field, ("vlanId", "dot1qVlanId", "dot1qPriority"))
    if extended and kind.tags == 2:
        yield from map(field, ("dot1qCustomerVlanId", "dot1qCustomerPriority"))
    if extended and kind.mpls:
        yield field("mplsTopLabelStackSection", MPLS_LABEL)
    if kind.l3 != "none":
        yield field("ipVersion")
        yield from map(field, ("minimumTTL", "maximumTTL") if extended else ("ipTTL",))
        yield field("protocolIdentifier")
        yield from map(field, ("ipDiffServCodePoint", "ipPrecedence", "ipClassOfService"))
        if extended:
            yield field("fragmentFlags")
    if kind.l3 == "ipv4":
        yield from map(field, ("sourceIPv4Address", "destinationIPv4Address"))
    if kind.l3 == "ipv6":
        yield from map(field, ("sourceIPv6Address", "destinationIPv6Address", "flowLabelIPv6"))
    if kind.l4 in ("ports", "tcp"):
        yield from map(field, ("sourceTransportPort", "destinationTransportPort"))
    if kind.l4 == "icmp":
        version = {"ipv4": "IPv4", "ipv6": "IPv6"}[kind.l3]
        yield from map(field, (f"icmpType{version}", f"icmpCode{version}"))
        if extended:
            # What nfcapd and others read; OVS's pair above is what the registry calls by its parts.
            yield field(f"icmpTypeCode{version}")
    if extended and kind.l4 == "tcp":
        # One octet: the eight flags; some collectors read no other length of this element.
        yield field("tcpControlBits", 1)
    if kind.outer != "none":
        yield from _tunnel_fields(kind, extended)
    if virtual:
        yield field("virtualObsID", VARIABLE_LENGTH)
    yield from map(field, ("flowStartDeltaMicroseconds", "flowEndDeltaMicroseconds"))
    if extended:
        yield from map(field, ("flowStartMilliseconds", "flowEndMilliseconds"))
    yield from map(field, ("packetDeltaCount", "layer2OctetDeltaCount", "flowEndReason"))
    if kind.l3 != "none":
        yield from map(field, ("octetDeltaCount", "octetDeltaSumOfSquares"))
        length = SHORT if extended else None
        yield from (field(name, length) for name in ("minimumIpTotalLength", "maximumIpTotalLength"))
    if extended and kind.l4 == "tcp":
        yield from (field(f"tcp{flag}TotalCount", SHORT) for flag in ("Ack", "Fin", "Psh", "Rst", "Syn", "Urg"))
    if extended and kind.verdict:
        # unsigned32 in the registry (RFC 9710), of which RFC 7270 section 4.12 defines one octet.
        yield field("forwardingStatus", 1)
        yield field("droppedPacketDeltaCount")
    if extended and kind.verdict and kind.l3 != "none":
        yield field("droppedOctetDeltaCount")


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
    return OVS_FIRST_ID + (((kind.tags > 0) * 3 + L3.index(kind.l3)) * 3 + l4) * 2 + (kind.outer == "ipv4")


@cache
def profile(name: str, virtual: bool = False) -> Profile:
    """Return the profile "full" or "ovs", with virtualObsID in every record if `virtual`."""
    extended = name == "full"
    templates: dict[int, Template] = {}
    ids = []
    for index, kind in enumerate(kinds()):
        if kind.l3 == "none" and kind.l4 != "other":
            # The same kind with "other", the first of L4: in kinds(), L4 changes once all of TUNNEL have been.
            index -= L4.index(kind.l4) * len(TUNNEL)
            kind = kinds()[index]
        number = FULL_FIRST_ID + index if extended else _ovs_id(kind)
        number += virtual * (FULL_VIRTUAL if extended else OVS_VIRTUAL)
        ids.append(number)
        if number not in templates:
            templates[number] = Template(number, tuple(_fields(kind, extended, virtual)))
    order = sorted(templates)
    places = {number: place for place, number in enumerate(order)}
    return Profile(
        name, tuple(templates[number] for number in order), tuple(places[number] for number in ids), not extended
    )


OVS = profile("ovs")
FULL = profile("full")
