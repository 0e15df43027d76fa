"""Flow rules that ask for a tunnel: Open vSwitch as its endpoint and xdpfix below take the same packets.

Of those that both look into, as tests/peers/test_openvswitch_tunnels.py has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.flowdiff import Flow
from lib.netns import Namespace, veth
from lib.ovs_rule_flows import Sampler, oracle_flows, our_flows
from lib.ovs_rules import NO_OUTER_IPV4, TUNNEL_MATCHES, Flows, compare_rules, ovs_rules
from lib.ovs_tunnel_differences import tunnel_differences
from lib.ovs_tunnel_frames import NO_MAC, Taker, TunnelPackets
from lib.ovs_tunnel_traffic import tunnel_packets
from lib.ovs_tunnels import BRIDGE, TunnelSwitch

MTU = 3200  # as there
RULES = ovs_rules(TUNNEL_MATCHES)


@dataclass(frozen=True)
class Case:
    """Packets, and by match the flows that Open vSwitch's samples of the inner packets make."""

    packets: TunnelPackets
    flows: Mapping[str, Flows]

    def shared(self, flows: Flows) -> Flows:
        """Give the flows of packets that both look into, with Ethernet inside."""
        return {key: flow for key, flow in flows.items() if self._is_shared(flow)}

    def _is_shared(self, flow: Flow) -> bool:
        number = self.packets.number(flow)
        return (
            number is not None and self.packets.all[number].takers is Taker.BOTH and flow["sourceMacAddress"] != NO_MAC
        )

    def bare(self, flows: Flows) -> set[str]:
        """Give the names of the packets without Ethernet inside."""
        return {self.packets.name(flow) for flow in flows.values() if flow["sourceMacAddress"] == NO_MAC}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """What the oracle says."""
    packets = tunnel_packets([])
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=MTU)
        with TunnelSwitch(left, tmp_path_factory.mktemp("ovs"), "a") as switch:
            return Case(packets, oracle_flows(switch, (left, right), RULES, packets.wire(), BRIDGE))


@pytest.mark.parametrize(("hook", "profile"), [("tc", "ovs"), ("xdp", "full")])
def test_the_same_flows_of_each_match(case: Case, tmp_path: Path, hook: str, profile: str) -> None:
    """Open vSwitch matches and samples inner packets at br-int, xdpfix at the interface below."""
    found = our_flows(tmp_path, Sampler({"hook": hook}, profile, True, MTU), RULES, case.packets.wire())
    theirs, ours = ({match: case.shared(own) for match, own in flows.items()} for flows in (case.flows, found))
    # docs/rules.md: 0 is no outer IPv4 header in Open vSwitch, and no tunnel here.
    over_ipv6, none = theirs.pop(NO_OUTER_IPV4), ours.pop(NO_OUTER_IPV4)
    assert (len(over_ipv6), none) == (len(theirs["tun_ipv6_src=2001:db8:ff::/48"]), {})
    report = compare_rules(theirs, ours, tunnel_differences(case.packets.ip), case.packets.name, profile)
    assert not report.problems, "\n" + "\n".join(report.problems)
    assert (report.excused, report.otherwise) == (0, set())
    sizes = {match: len(flows) for match, flows in ours.items()}
    assert {match for match, size in sizes.items() if not 0 < size < sizes[""]} == {""}
    # docs/rules.md: matches of IP ask for Ethernet in Open vSwitch where a port takes packets without.
    name = "ipv4 tcp syn in gpe at layer 3"
    assert name in case.bare(case.flows[""])
    assert name in case.bare(found["tcp,tun_id=0x0/0x18"])
    assert name not in case.bare(case.flows["tcp,tun_id=0x0/0x18"])
