"""Flows of two exporters side by side: same flows, field by field, but for differences that are listed with reasons.

flows = collect(sink.records)                    # {key: fields}, records of one flow added up
report = compare(oracle, ours, ALLOWED, name)    # → Report: .problems (lines to read), .used (differences met)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from exporter.decoder import Record

Flow = dict[str, int | str | None]
Key = tuple[int | str | None, ...]

TUNNEL = (
    "tunnelType",
    "tunnelKey",
    "tunnelProtocolIdentifier",
    "tunnelSourceIPv4Address",
    "tunnelDestinationIPv4Address",
    "UNTUNNELED_IPV6_SRC_ADDR",
    "UNTUNNELED_IPV6_DST_ADDR",
    "tunnelSourceTransportPort",
    "tunnelDestinationTransportPort",
    "layer2SegmentId",
    "greKey",
)
KEY = (
    "flowDirection",
    "sourceMacAddress",
    "destinationMacAddress",
    "ethernetType",
    "vlanId",
    "dot1qVlanId",
    "dot1qPriority",
    "ipVersion",
    "sourceIPv4Address",
    "destinationIPv4Address",
    "sourceIPv6Address",
    "destinationIPv6Address",
    "flowLabelIPv6",
    "protocolIdentifier",
    "ipClassOfService",
    "ipDiffServCodePoint",
    "ipPrecedence",
    "ipTTL",
    "sourceTransportPort",
    "destinationTransportPort",
    "icmpTypeIPv4",
    "icmpCodeIPv4",
    "icmpTypeIPv6",
    "icmpCodeIPv6",
    *TUNNEL,
)
# None where there is no IP header.
IP = (
    *KEY[KEY.index("ipVersion") : KEY.index("tunnelType")],
    *("octetDeltaCount", "octetDeltaSumOfSquares", "minimumIpTotalLength", "maximumIpTotalLength"),
    *("minimumTTL", "maximumTTL"),
)
SUMS = ("packetDeltaCount", "layer2OctetDeltaCount", "octetDeltaCount", "octetDeltaSumOfSquares")
BOUNDS = {"minimumIpTotalLength": min, "maximumIpTotalLength": max, "minimumTTL": min, "maximumTTL": max}
OTHER = ("ethernetHeaderLength", *BOUNDS)
FIELDS = KEY + SUMS + OTHER


@dataclass(frozen=True)
class Difference:
    """Fields that may differ in a pair of flows.

    Attributes:
        reason: why, and who is right.
        fields: the ones that may differ.
        applies: whether it holds for a pair (oracle's flow, ours).

    """

    reason: str
    fields: frozenset[str]
    applies: Callable[[Flow, Flow], bool]


@dataclass
class Report:
    """What a comparison found."""

    problems: list[str] = field(default_factory=list)
    used: set[Difference] = field(default_factory=set)


def collect(records: Iterable[Record]) -> dict[Key, Flow]:
    """Flows by key. Records of the same key are one flow that was exported in parts."""
    flows: dict[Key, Flow] = {}
    for record in records:
        values = {element.name: value for element, value in record.fields}
        flow = {name: _plain(values.get(name)) for name in FIELDS}
        _add(flows, flow)
    return flows


def comparable(flows: dict[Key, Flow], profile: str) -> dict[Key, Flow]:
    """Flows of either exporter as far as profile "full" can be compared; those of profile "ovs" as they are.

    Its TTL is no key but a range. Labelled packets are told by layer 2, as Open vSwitch has them.
    """
    if profile == "ovs":
        return flows
    merged: dict[Key, Flow] = {}
    for flow in flows.values():
        flow = dict(flow)
        if flow["ipTTL"] is not None:
            flow |= {"minimumTTL": flow["ipTTL"], "maximumTTL": flow["ipTTL"], "ipTTL": None}
        if flow["ethernetType"] in (0x8847, 0x8848):
            flow |= dict.fromkeys(IP)
        _add(merged, flow)
    return merged


def _plain(value: object) -> int | str | None:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, int) or value is None else str(value)


def _key(flow: Flow) -> Key:
    return tuple(flow[name] for name in KEY)


def _add(flows: dict[Key, Flow], flow: Flow) -> None:
    known = flows.setdefault(_key(flow), flow)
    if known is not flow:
        flows[_key(flow)] = _merge(known, flow)


def _merge(one: Flow, other: Flow) -> Flow:
    """One flow of two: counts added, and bounds widened. What else differs keeps the first's value."""
    merged = dict(one)
    for name in SUMS:
        if one[name] is not None and other[name] is not None:
            merged[name] = int(one[name]) + int(other[name])
    for name, bound in BOUNDS.items():
        if one[name] is not None and other[name] is not None:
            merged[name] = bound(int(one[name]), int(other[name]))
    return merged


def _differing(oracle: Flow, ours: Flow) -> frozenset[str]:
    return frozenset(name for name in FIELDS if oracle[name] != ours[name])


def _allowed(oracle: Flow, ours: Flow, allowed: Iterable[Difference]) -> set[Difference] | None:
    """The differences that together explain the pair; None when some field is left."""
    differing = _differing(oracle, ours)
    applying = [d for d in allowed if d.fields & differing and d.applies(oracle, ours)]
    explained = frozenset().union(*(d.fields for d in applying))
    return set(applying) if differing <= explained else None


def compare(
    oracle: dict[Key, Flow], ours: dict[Key, Flow], allowed: Iterable[Difference], name: Callable[[Flow], str]
) -> Report:
    """Pair the flows by key, and those left over by a key that an allowed difference explains.

    Args:
        oracle: the flows to be met.
        ours: the flows to be judged.
        allowed: the differences to accept.
        name: which packet a flow is of; no difference pairs flows that have different names.

    """
    allowed = tuple(allowed)
    report = Report()
    left: dict[str, list[Flow]] = {}
    for key, flow in ours.items():
        if key not in oracle:
            left.setdefault(name(flow), []).append(flow)
    for key, theirs in oracle.items():
        near = left.get(name(theirs), [])
        candidates = [ours[key]] if key in ours else near
        for mine in candidates:
            used = _allowed(theirs, mine, allowed)
            if used is not None:
                report.used |= used
                if key not in ours:
                    near.remove(mine)
                break
        else:
            if key in ours:
                report.problems.append(f"{name(theirs)}: {_fields_text(theirs, ours[key])}")
            else:
                nearest = "".join(f"\n    nearest: {_fields_text(theirs, flow)}" for flow in candidates[:3])
                report.problems.append(f"only in the oracle: {name(theirs)} {_text(theirs)}{nearest}")
    report.problems += [f"only in xdpfix: {title} {_text(flow)}" for title, flows in left.items() for flow in flows]
    return report


def _text(flow: Flow) -> str:
    return " ".join(f"{name}={value}" for name, value in flow.items() if value is not None)


def _fields_text(oracle: Flow, ours: Flow) -> str:
    differing = _differing(oracle, ours)
    return ", ".join(f"{name} oracle {oracle[name]} xdpfix {ours[name]}" for name in FIELDS if name in differing)
