"""Where Open vSwitch and xdpfix may differ in what they say of a packet: lib.flowdiff's differences, with reasons.

lib.ovs_tunnel_differences adds those of packets that came by a tunnel.
"""

from collections.abc import Callable, Sequence

from lib.flowdiff import Difference, Flow
from lib.oracle_traffic import ip_length

OCTETS = frozenset({"octetDeltaCount", "octetDeltaSumOfSquares", "minimumIpTotalLength", "maximumIpTotalLength"})
TOS = frozenset({"ipClassOfService", "ipDiffServCodePoint", "ipPrecedence"})
PORTS = frozenset({"sourceTransportPort", "destinationTransportPort"})
ICMP = frozenset({"icmpTypeIPv4", "icmpCodeIPv4", "icmpTypeIPv6", "icmpCodeIPv6"})
ADDRESSES = frozenset(
    {"sourceIPv4Address", "destinationIPv4Address", "sourceIPv6Address", "destinationIPv6Address", "flowLabelIPv6"}
)
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)  # IANA, "IPv6 Extension Header Types", without ESP
TTL = frozenset({"ipTTL", "minimumTTL", "maximumTTL"})  # the one of profile "ovs", or those of "full"
IP = OCTETS | TOS | PORTS | ICMP | ADDRESSES | TTL | {"ipVersion", "protocolIdentifier"}

# The IP packets, with padding, that a flow of made-up packets is of; none for captured ones.
PacketsOf = Callable[[Flow], Sequence[bytes]]


def differences(packets: PacketsOf) -> tuple[Difference, ...]:
    """Give the differences in what is said of a packet that contradicts nothing."""
    return (
        Difference(
            "padding: Open vSwitch counts all that follows the Ethernet header as IP, trailers and SNAP headers "
            "included; we count the total length that the IP header says, which is what octetDeltaCount means (RFC "
            "7012)",
            OCTETS,
            lambda oracle, ours: _is_padded(packets(ours), ours),
        ),
        Difference(
            "QinQ: Open vSwitch parses two tags and says the length of a header with one",
            frozenset({"ethernetHeaderLength"}),
            _is_double_tagged,
        ),
        Difference(
            "QinQ: so its octets include the inner tag's four",
            OCTETS,
            _is_double_tagged_ip,
        ),
        Difference(
            "later IPv6 fragments: Open vSwitch stops at the fragment header, we name the protocol behind it, with no "
            "ports, as both do in IPv4",
            frozenset({"protocolIdentifier"}) | PORTS | ICMP,
            lambda oracle, ours: (
                oracle["ipVersion"] == 6
                and oracle["protocolIdentifier"] == 44
                and {ours[name] for name in PORTS | ICMP} <= {0, None}
            ),
        ),
        Difference(
            "Mobility, HIP and Shim6 are extension headers (IANA's list): we go on behind them, Open vSwitch stops",
            frozenset({"protocolIdentifier"}),
            lambda oracle, ours: oracle["ipVersion"] == 6 and oracle["protocolIdentifier"] in (135, 139, 140),
        ),
        Difference(
            "extension headers: we follow eight, for the kernel's verifier; Open vSwitch follows any number",
            frozenset({"protocolIdentifier"}) | PORTS,
            lambda oracle, ours: _is_long_chain(packets(oracle), ours),
        ),
        Difference(
            "a TCP data offset that cannot be: Open vSwitch 3.1 drops the ports for it, 2.5 did not and we do not",
            PORTS,
            lambda oracle, ours: _is_offset_wrong(packets(oracle), oracle, ours),
        ),
    )


def contradictions(packets: PacketsOf) -> tuple[Difference, ...]:
    """Give the differences in what is said of IP headers that cannot be."""
    return (
        Difference(
            "an IP header that contradicts itself or the frame: Open vSwitch sends an IP flow of zeros, we count the "
            "packet at layer 2",
            IP,
            _is_unparsed,
        ),
        Difference(
            "the IP version: Open vSwitch goes by the ethertype and does not look at it; for us it is such a "
            "contradiction",
            IP,
            lambda oracle, ours: _is_other_version(packets(oracle), oracle, ours),
        ),
        Difference(
            "an extension header beyond the packet: Open vSwitch gives up with TTL, class, flow label and protocol 0, "
            "which the IPv6 header does say",
            TOS | TTL | {"protocolIdentifier", "flowLabelIPv6"},
            _is_chain_cut,
        ),
    )


def _is_padded(packets: Sequence[bytes], ours: Flow) -> bool:
    """Ours are the lengths that the IP headers say, and less than there is behind the Ethernet header."""
    lengths = [ip_length(packet) for packet in packets]
    behind = ours["layer2OctetDeltaCount"] - ours["packetDeltaCount"] * ours["ethernetHeaderLength"]
    return (
        ours["ipVersion"] is not None
        and ours["octetDeltaCount"] == sum(lengths) < behind
        and ours["octetDeltaSumOfSquares"] == sum(length**2 for length in lengths)
        and ours["minimumIpTotalLength"] == min(lengths)
        and ours["maximumIpTotalLength"] == max(lengths)
    )


def _is_double_tagged(oracle: Flow, ours: Flow) -> bool:
    return oracle["ethernetHeaderLength"] == 18 and ours["ethernetHeaderLength"] == 22


def _is_double_tagged_ip(oracle: Flow, ours: Flow) -> bool:
    """Each length is less by the four octets of the inner tag: (x - 4)^2 = x^2 - 8x + 16 in the sum of squares."""
    packets, octets = oracle["packetDeltaCount"], oracle["octetDeltaCount"]
    return (
        _is_double_tagged(oracle, ours)
        and octets is not None
        and ours["octetDeltaCount"] == octets - 4 * packets
        and ours["octetDeltaSumOfSquares"] == oracle["octetDeltaSumOfSquares"] - 8 * octets + 16 * packets
        and ours["minimumIpTotalLength"] == oracle["minimumIpTotalLength"] - 4
        and ours["maximumIpTotalLength"] == oracle["maximumIpTotalLength"] - 4
    )


def _is_unparsed(oracle: Flow, ours: Flow) -> bool:
    """Open vSwitch read nothing of the IP header, and we read none."""
    addresses = {oracle[name] for name in ADDRESSES}
    zero = addresses <= {"0.0.0.0", "::", 0, None} and oracle["protocolIdentifier"] == 0
    return zero and {oracle[name] for name in TTL} <= {0, None} and ours["ipVersion"] is None


def _is_other_version(packets: Sequence[bytes], oracle: Flow, ours: Flow) -> bool:
    return bool(packets) and ours["ipVersion"] is None and packets[0][0] >> 4 != oracle["ipVersion"]


def _is_long_chain(packets: Sequence[bytes], ours: Flow) -> bool:
    """Ours ends at an extension header, behind eight that have eight octets or more."""
    return (
        ours["ipVersion"] == 6
        and ours["protocolIdentifier"] in EXTENSIONS
        and ours["sourceTransportPort"] is None
        and bool(packets)
        and len(packets[0]) >= 40 + 9 * 8
    )


def _is_offset_wrong(packets: Sequence[bytes], oracle: Flow, ours: Flow) -> bool:
    if not packets or ours["protocolIdentifier"] != 6 or {oracle[name] for name in PORTS} != {0}:
        return False
    ports = b"".join(int(ours[name]).to_bytes(2, "big") for name in ("sourceTransportPort", "destinationTransportPort"))
    end = min(len(packets[0]), ip_length(packets[0]))
    header = packets[0][packets[0].index(ports, 20) : end]
    return not 20 <= (header[12] >> 4) * 4 <= len(header)


def _is_chain_cut(oracle: Flow, ours: Flow) -> bool:
    given_up = TOS | TTL | {"protocolIdentifier", "flowLabelIPv6"}
    return oracle["ipVersion"] == ours["ipVersion"] == 6 and {oracle[name] for name in given_up} <= {0, None}
