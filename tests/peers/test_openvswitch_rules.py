"""Flow rules take the packets that Open vSwitch's flows of the same match sample, and say the same of them.

Each match is a flow with the action sample() in a table of its own, so that every match sees every packet. The matches
are in lib.ovs_rules, what may differ in a packet's description in lib.ovs_differences.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from exporter.decoder import Decoder
from lib.corpus import captures
from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.netns import Namespace, veth
from lib.oracle_frames import MTU
from lib.oracle_traffic import capture, flow_name, flow_packets, mutated, traffic
from lib.ovs import OpenVSwitch, OvsRule
from lib.ovs_differences import contradictions, differences
from lib.ovs_rule_flows import EveryDomain, Sampler, collectors, oracle_flows, our_flows
from lib.ovs_rules import MATCHES, RULE_FRAMES, TUNNEL_MATCHES, Flows, Selections, compare_rules, fields_of, ovs_rules
from lib.traffic import udp_frame
from lib.wait import wait_until
from sampler.rules.fields import FIELDS, KEYWORDS

RULES = ovs_rules(MATCHES)
TAKE_ALL = {"", "tun_id=0"}  # of the made-up frames
# The same ports as ranges, which Open vSwitch has not.
RANGES = {
    "sctp,tp_src=0x0/0x8000": "sctp,tp_src=0-32767",
    "tcp6,tcp_src=0x0/0x8000": "tcp6,tcp_src=0-0x7fff",
    "udp,udp_dst=0x8/0xfff8": "udp,udp_dst=8-15",
}
# Frames that are described differently in what some rule looks at, and taken accordingly. lib.ovs_differences has the
# reasons: fragments and extension headers of IPv6 that Open vSwitch does not look behind, headers that cannot be.
TAKEN_OTHERWISE = {
    "ipv6 later fragment",
    "ipv6 middle fragment",
    "ipv6 later fragment of icmp",
    "ipv6 long chain",
    "ipv6 mobility",
    "ipv6 hip",
    "ipv6 version 4",
    "ipv6 extension beyond",
    "ipv4 version 5",
    "ipv4 tcp bad offset",
}
Z = 4.892  # two-sided normal quantile of 1e-6


ALLOWED = differences(flow_packets) + contradictions(flow_packets)


@dataclass(frozen=True)
class Case:
    """Packets, and by match the flows that Open vSwitch's samples of them make."""

    name: str
    frames: list[bytes]
    flows: Mapping[str, Flows]

    def compare(self, ours: Mapping[str, Flows], profile: str) -> Selections:
        """Hold our flows against Open vSwitch's."""
        return compare_rules(self.flows, ours, ALLOWED, flow_name, profile)


@pytest.fixture(scope="module", params=["made-up", "mutated", "captured"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """What the oracle is asked."""
    if request.param == "made-up":
        frames = capture() + RULE_FRAMES
    elif request.param == "mutated":
        frames = mutated()[:1000]
    elif captures():
        frames = traffic(captures(), 5)
    else:
        pytest.skip("the captures are not there: python3 tests/lib/corpus.py fetches them")
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=MTU)
        with OpenVSwitch(left, tmp_path_factory.mktemp("ovs"), "a") as switch:
            return Case(request.param, frames, oracle_flows(switch, (left, right), RULES, frames))


def _assert_same(
    case: Case, folder: Path, profile: str, settings: Mapping[str, str], written: Mapping[str, str] | None = None
) -> None:
    """Compare; `written`: matches as xdpfix is to have them, where that is not what Open vSwitch has."""
    rules = [replace(rule, match=(written or {}).get(rule.match, rule.match)) for rule in RULES]
    by_text = our_flows(folder, Sampler(settings, profile, False, MTU), rules, case.frames)
    ours = dict(zip(MATCHES, by_text.values(), strict=True))
    found = case.compare(ours, profile)
    assert not found.problems, "\n" + "\n".join(found.problems)
    assert found.excused * 50 < found.judged
    if case.name == "made-up":
        assert found.otherwise == TAKEN_OTHERWISE
        unused = [difference.reason for difference in ALLOWED if difference not in found.used]
        assert not unused, "differences that no frame shows any more:\n" + "\n".join(unused)
        # Each match takes something and leaves something.
        sizes = {match: len(flows) for match, flows in ours.items()}
        assert {match for match, size in sizes.items() if not 0 < size < sizes[""]} == TAKE_ALL


@pytest.mark.parametrize(("hook", "profile"), [("tc", "full"), ("xdp", "ovs")])
def test_the_same_flows_of_each_match(case: Case, tmp_path: Path, hook: str, profile: str) -> None:
    """64 rules at 100 % of three flow exporters."""
    _assert_same(case, tmp_path, profile, {"hook": hook})


@pytest.mark.parametrize("case", ["made-up"], indirect=True)
def test_the_same_flows_with_bcc_and_by_ranges(case: Case, tmp_path: Path) -> None:
    _assert_same(case, tmp_path, "ovs", {"hook": "tc", "loader": "bcc"}, RANGES)


def test_matches_ask_for_every_field_and_keyword() -> None:
    words = {part.partition("=")[0] for match in MATCHES for part in match.split(",")}
    assert words >= KEYWORDS.keys() - {"ip6"}
    assert set().union(*map(fields_of, (*MATCHES, *TUNNEL_MATCHES))) >= FIELDS.keys()


@pytest.mark.parametrize("case", ["made-up"], indirect=True)
def test_comparison_sees_each_fault(case: Case) -> None:
    """A packet that a match lets pass, one that it takes wrongly, and one that it takes twice."""
    assert case.compare(case.flows, "ovs").problems == []
    flows = case.flows["tcp,tcp_dst=443"]
    key, flow = next(iter(flows.items()))
    wrong = (
        ("tcp,tcp_dst=443", {k: f for k, f in flows.items() if k != key}, f"only in the oracle: {flow_name(flow)} "),
        ("udp,udp_src=5000", case.flows["udp,udp_src=5000"] | {key: flow}, f"only in xdpfix: {flow_name(flow)} "),
        (
            "tcp,tcp_dst=443",
            flows | {key: flow | {"packetDeltaCount": 99}},
            f"{flow_name(flow)}: packetDeltaCount oracle ",
        ),
    )
    for match, found, problem in wrong:
        (shown,) = case.compare({**case.flows, match: found}, "ovs").problems
        assert shown.startswith(f"{match!r}: {problem}")


def test_probabilities_and_templates_where_open_vswitch_errs(tmp_path: Path) -> None:
    """Two domains of one collector set: Open vSwitch 3.1 sends the templates of one, and scales 40000 of 65535 by 1."""
    rules = [OvsRule("udp", 1, 11, 110, 40000), OvsRule("", 1, 22, 220)]
    frames = [udp_frame()] * 4000
    sent, p = len(frames), 40000 / 65535
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None)
        folder = tmp_path / "ovs"
        folder.mkdir()
        with OpenVSwitch(left, folder, "a") as switch, collectors(left, rules) as sinks:
            (sink,) = sinks.values()
            sink.decoder = EveryDomain()
            switch.sample_rules(rules, {1: sink.target})
            switch.replay(right, "b", frames)
            switch.flush_rules()
            wait_until(lambda: len(sink.records) == 2)
            theirs = {record.domain: int(str(record.get("packetDeltaCount"))) for record in sink.records}
            plain = Decoder()
            readable = [
                record for octets in sink.messages for record in plain.decode(octets, 0) if not record.scope_count
            ]
    assert theirs[22] == sent
    assert abs(theirs[11] - sent * p) <= Z * math.sqrt(sent * p * (1 - p))
    assert (len(readable), plain.stats.unknown_sets) == (1, 1)

    # The templates of each domain are there: our_flows() asserts it.
    ours = our_flows(tmp_path, Sampler({"hook": "tc"}, "ovs", True, 1500), rules, frames)
    counts = {
        match: sum(int(str(flow["packetDeltaCount"])) for flow in flows.values()) for match, flows in ours.items()
    }
    assert counts[""] == sent
    assert abs(counts["udp"] - sent) <= Z * math.sqrt(sent * (1 - p) / p)
