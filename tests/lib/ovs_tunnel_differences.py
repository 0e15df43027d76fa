"""Where Open vSwitch as a tunnel's endpoint and xdpfix below the tunnel may differ: lib.ovs_differences and more."""

from collections.abc import Sequence

from lib.flowdiff import Difference, Flow
from lib.oracle_traffic import ip_length
from lib.ovs_differences import OCTETS, PacketsOf, differences
from lib.ovs_tunnel_oddities import OUTER_PADDING
from lib.tunnel_frames import GENEVE_PORT, OTV_PORT, VXLAN_PORT

IPV6_TUNNEL = frozenset(
    {
        "tunnelType",
        "tunnelKey",
        "tunnelProtocolIdentifier",
        "UNTUNNELED_IPV6_SRC_ADDR",
        "UNTUNNELED_IPV6_DST_ADDR",
        "tunnelSourceTransportPort",
        "tunnelDestinationTransportPort",
    }
)
OUTER6 = ("2001:db8:ff::1", "2001:db8:ff::2")
ETHERNET = 14
VXLAN, GRE, GENEVE = 1, 2, 7  # tunnelType
UDP = 17
# By tunnelType: protocol, source port and destination ports of the packets.
LAYER4 = {VXLAN: (UDP, 54321, (VXLAN_PORT, OTV_PORT)), GENEVE: (UDP, 54321, (GENEVE_PORT,)), GRE: (47, 0, (0,))}
VXLAN_SEGMENT = 1 << 56


def tunnel_differences(packets: PacketsOf) -> tuple[Difference, ...]:
    """Give the differences in what is said of a packet that came by a tunnel, or of its outer headers."""
    return (
        *differences(packets),
        Difference(
            "a tunnel over IPv6: Open vSwitch has no elements for it and says nothing of the tunnel; profile full does",
            IPV6_TUNNEL,
            _is_over_ipv6,
        ),
        Difference(
            "profile full says the key by IANA's elements also, with the encapsulation in the top octet of a segment",
            frozenset({"layer2SegmentId", "greKey"}),
            _is_key,
        ),
        Difference(
            "Geneve: Open vSwitch 3.1 says protocol 0, 2.5 said UDP and we do",
            frozenset({"tunnelProtocolIdentifier"}),
            lambda oracle, ours: (
                oracle["tunnelType"] == ours["tunnelType"] == GENEVE
                and (oracle["tunnelProtocolIdentifier"], ours["tunnelProtocolIdentifier"]) == (0, UDP)
            ),
        ),
        Difference(
            "a packet without Ethernet: Open vSwitch says the length of a header that is not there and takes it off "
            "the IP packet; we count the IP packet, at layer 2 also, and no padding",
            OCTETS | {"ethernetHeaderLength", "layer2OctetDeltaCount"},
            lambda oracle, ours: _is_bare(packets(ours), oracle, ours),
        ),
        Difference(
            "padding behind the outer packet: Open vSwitch counts it as if it were carried",
            OCTETS | {"layer2OctetDeltaCount"},
            lambda oracle, ours: _is_outer_padded(packets(ours), oracle, ours),
        ),
    )


def _is_over_ipv6(oracle: Flow, ours: Flow) -> bool:
    addresses = (ours["UNTUNNELED_IPV6_SRC_ADDR"], ours["UNTUNNELED_IPV6_DST_ADDR"])
    if {oracle[name] for name in IPV6_TUNNEL} != {None} or addresses != OUTER6 or ours["tunnelType"] not in LAYER4:
        return False
    protocol, source, destinations = LAYER4[ours["tunnelType"]]
    return (
        (ours["tunnelProtocolIdentifier"], ours["tunnelSourceTransportPort"]) == (protocol, source)
        and ours["tunnelDestinationTransportPort"] in destinations
        and ours["tunnelKey"] is not None
    )


def _is_key(oracle: Flow, ours: Flow) -> bool:
    if ours["tunnelKey"] is None or (oracle["layer2SegmentId"], oracle["greKey"]) != (None, None):
        return False
    key = int(str(ours["tunnelKey"]), 16)
    segment, gre = ours["layer2SegmentId"], ours["greKey"]
    by_type = {VXLAN: (VXLAN_SEGMENT | key, None), GRE: (None, key or None)}
    return (segment, gre) == by_type.get(ours["tunnelType"])


def _is_bare(packets: Sequence[bytes], oracle: Flow, ours: Flow) -> bool:
    """The packets may have padding behind them, which we do not count. Hidden ones have none."""
    count, octets = oracle["packetDeltaCount"], ours["octetDeltaCount"]
    if (oracle["ethernetHeaderLength"], ours["ethernetHeaderLength"]) != (ETHERNET, 0) or octets is None:
        return False
    carried = sum(len(packet) for packet in packets) if packets else octets
    return (
        octets == ours["layer2OctetDeltaCount"] == (sum(map(ip_length, packets)) if packets else octets)
        and oracle["layer2OctetDeltaCount"] == carried
        and oracle["octetDeltaCount"] == carried - count * ETHERNET
    )


def _is_outer_padded(packets: Sequence[bytes], oracle: Flow, ours: Flow) -> bool:
    """The inner packets have no padding of their own."""
    lengths = [len(packet) for packet in packets]
    longer = len(packets) * OUTER_PADDING
    return (
        bool(packets)
        and ours["layer2OctetDeltaCount"] == sum(lengths) + len(packets) * ETHERNET
        and ours["octetDeltaCount"] == sum(lengths)
        and oracle["layer2OctetDeltaCount"] == ours["layer2OctetDeltaCount"] + longer
        and oracle["octetDeltaCount"] == ours["octetDeltaCount"] + longer
    )
