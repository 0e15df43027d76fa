"""What Open vSwitch as a tunnel's endpoint and xdpfix below the tunnel say of the same packets, judged.

A packet that both look into is compared by its inner flow. One that xdpfix does not is compared by its outer flow, as
Open vSwitch's underlay bridge has it. One that only xdpfix looks into has the contents of a packet that both do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lib.flowdiff import Difference, Flow, Key, Report, compare
from lib.ovs_tunnel_frames import Encapsulated, Taker, TunnelPackets
from lib.ovs_tunnel_oddities import TWIN

Flows = dict[Key, Flow]
CONTENTS = (
    "ipVersion",
    "sourceIPv4Address",
    "destinationIPv4Address",
    "protocolIdentifier",
    "ipClassOfService",
    "ipTTL",
    "minimumTTL",
    "maximumTTL",
    "sourceTransportPort",
    "destinationTransportPort",
    "minimumIpTotalLength",
    "maximumIpTotalLength",
)


@dataclass(frozen=True)
class Oracle:
    """Open vSwitch's flows: of br-int, and of the underlay bridge those that are of our packets."""

    inner: Flows
    outer: Flows


def judge(packets: TunnelPackets, oracle: Oracle, ours: Flows, allowed: Iterable[Difference]) -> Report:
    """Compare, by what each packet says of its takers."""
    theirs = {number for flow in oracle.inner.values() if (number := packets.number(flow)) is not None}
    inner = _select(packets, oracle.inner, lambda packet: packet is None or packet.takers is Taker.BOTH)
    outer = _select(packets, oracle.outer, lambda packet: packet and Taker.XDPFIX not in packet.takers)
    shared = _select(packets, ours, lambda packet: packet is None or packet.takers is not Taker.XDPFIX)
    report = compare(inner | outer, shared, allowed, packets.name)
    report.problems[:0] = [
        *(f"Open vSwitch: {problem}" for n, p in enumerate(packets.all) if (problem := _taken(p, n in theirs))),
        *(
            f"xdpfix: the key of another packet: {packets.name(flow)}"
            for flow in ours.values()
            if _strays(packets, flow)
        ),
        *_lone_problems(packets, oracle, ours),
    ]
    return report


def _select(packets: TunnelPackets, flows: Flows, take: Callable[[Encapsulated | None], bool]) -> Flows:
    """The flows whose packet, None if it is not known, is to be taken."""
    found = {}
    for key, flow in flows.items():
        number = packets.number(flow)
        if take(None if number is None else packets.all[number]):
            found[key] = flow
    return found


def _taken(packet: Encapsulated, seen: bool) -> str | None:
    """What is wrong with whether Open vSwitch looks into a packet, if anything. Over IPv6 it may not show which."""
    due = Taker.OVS in packet.takers and not packet.bfd
    if seen == due or packet.hidden:
        return None
    return f"{'looks' if seen else 'does not look'} into {packet.name}"


def _strays(packets: TunnelPackets, flow: Flow) -> bool:
    """Whether source address and key of an inner flow have different numbers. Over IPv6 there is no oracle for keys."""
    number = packets.number(flow)
    keyed = bool(int(str(flow["tunnelKey"] or 0), 16))
    return number is not None and keyed and packets.number_of_key(flow) != number


def _lone_problems(packets: TunnelPackets, oracle: Oracle, ours: Flows) -> list[str]:
    """Packets that only xdpfix looks into, if it does not, or sees another key or other contents."""
    (twin,) = [flow for flow in oracle.inner.values() if packets.name(flow) == TWIN]
    flows: dict[int | None, list[Flow]] = {}
    for flow in ours.values():
        flows.setdefault(packets.number(flow), []).append(flow)
    problems = []
    for number, packet in enumerate(packets.all):
        if packet.takers is not Taker.XDPFIX:
            continue
        found = flows.get(number, [])
        if [packets.number_of_key(flow) for flow in found] != [number]:
            problems.append(f"xdpfix does not look into {packet.name}: {found}")
        elif found[0]["packetDeltaCount"] != packets.times(number):
            problems.append(f"{packet.name}: {found[0]['packetDeltaCount']} of {packets.times(number)} packets")
        elif wrong := [name for name in CONTENTS if found[0][name] != twin[name]]:
            problems.append(f"{packet.name}: {wrong} are not those of {TWIN}")
    return problems
