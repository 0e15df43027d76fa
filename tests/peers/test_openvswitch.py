"""Open vSwitch as the oracle: it and xdpfix see the same frames and must report the same flows, field by field.

ALLOWED lists the differences there may be, with reasons. Each is met by a frame, so that none outlives its reason.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lib.daemon import Daemon
from lib.flowdiff import Difference, Flow, Key, collect, compare
from lib.netns import Namespace, veth
from lib.oracle_frames import MTU, bfd_count, capture, ip_lengths, name_of
from lib.ovs import OpenVSwitch
from lib.sink import Sink
from lib.traffic import send
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = 1
profile = "{profile}"
cache_active_timeout = 4200
cache_idle_timeout = 4200
enable_output_sampling = false
"""

OCTETS = frozenset({"octetDeltaCount", "octetDeltaSumOfSquares", "minimumIpTotalLength", "maximumIpTotalLength"})
TOS = frozenset({"ipClassOfService", "ipDiffServCodePoint", "ipPrecedence"})
PORTS = frozenset({"sourceTransportPort", "destinationTransportPort"})
ICMP = frozenset({"icmpTypeIPv4", "icmpCodeIPv4", "icmpTypeIPv6", "icmpCodeIPv6"})
ADDRESSES = frozenset(
    {"sourceIPv4Address", "destinationIPv4Address", "sourceIPv6Address", "destinationIPv6Address", "flowLabelIPv6"}
)
IP = OCTETS | TOS | PORTS | ICMP | ADDRESSES | {"ipVersion", "ipTTL", "protocolIdentifier"}


def _octets_are(flow: Flow, lengths: list[int]) -> bool:
    return (
        flow["octetDeltaCount"] == sum(lengths)
        and flow["octetDeltaSumOfSquares"] == sum(length**2 for length in lengths)
        and flow["minimumIpTotalLength"] == min(lengths)
        and flow["maximumIpTotalLength"] == max(lengths)
    )


def _is_padded(oracle: Flow, ours: Flow) -> bool:
    """Ours are the lengths that the IP headers say, and less than there is behind the Ethernet header."""
    if ours["ipVersion"] is None:
        return False
    lengths = ip_lengths(str(ours["sourceMacAddress"]))
    behind = ours["layer2OctetDeltaCount"] - ours["packetDeltaCount"] * ours["ethernetHeaderLength"]
    return ours["octetDeltaCount"] < behind and _octets_are(ours, lengths)


def _is_double_tagged(oracle: Flow, ours: Flow) -> bool:
    return oracle["ethernetHeaderLength"] == 18 and ours["ethernetHeaderLength"] == 22


def _is_double_tagged_ip(oracle: Flow, ours: Flow) -> bool:
    more = 4 * ours["packetDeltaCount"]
    return _is_double_tagged(oracle, ours) and ours["octetDeltaCount"] == oracle["octetDeltaCount"] - more


def _is_unparsed(oracle: Flow, ours: Flow) -> bool:
    """Open vSwitch read nothing of the IP header, and we read none."""
    addresses = {oracle[name] for name in ADDRESSES}
    zero = addresses <= {"0.0.0.0", "::", 0, None} and oracle["ipTTL"] == oracle["protocolIdentifier"] == 0
    return zero and ours["ipVersion"] is None


def _named(*names: str) -> Callable[[Flow, Flow], bool]:
    return lambda oracle, ours: name_of(str(oracle["sourceMacAddress"])) in names


ALLOWED = (
    Difference(
        "padding: Open vSwitch counts all that follows the Ethernet header as IP, trailers and SNAP headers included; "
        "we count the total length that the IP header says, which is what octetDeltaCount means (RFC 7012)",
        OCTETS,
        _is_padded,
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
        lambda oracle, ours: _named("ipv6 long chain")(oracle, ours) and ours["protocolIdentifier"] == 60,
    ),
    Difference(
        "a TCP data offset beyond the packet: Open vSwitch 3.1 drops the ports for it, 2.5 did not and we do not",
        PORTS,
        lambda oracle, ours: _named("ipv4 tcp bad offset")(oracle, ours) and {oracle[name] for name in PORTS} == {0},
    ),
    Difference(
        "an IP header that contradicts itself or the frame: Open vSwitch sends an IP flow of zeros, we count the "
        "packet at layer 2",
        IP,
        _is_unparsed,
    ),
    Difference(
        "the IP version: Open vSwitch goes by the ethertype and does not look at it; for us it is such a contradiction",
        IP,
        lambda oracle, ours: _named("ipv4 version 5", "ipv6 version 4")(oracle, ours) and ours["ipVersion"] is None,
    ),
    Difference(
        "an extension header beyond the packet: Open vSwitch gives up with TTL, class and protocol 0, which the IPv6 "
        "header does say",
        TOS | {"ipTTL", "protocolIdentifier"},
        lambda oracle, ours: (
            oracle["ipVersion"] == ours["ipVersion"] == 6
            and oracle["ipTTL"] == oracle["protocolIdentifier"] == 0
            and ours["ipTTL"] != 0
        ),
    ),
)


@pytest.fixture(scope="module", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: run as root")


def _wire(left: Namespace, right: Namespace) -> None:
    veth(left, "a", None, right, "b", None)
    left.run("ip", "link", "set", "dev", "a", "mtu", str(MTU))
    right.run("ip", "link", "set", "dev", "b", "mtu", str(MTU))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory, _root: None) -> dict[Key, Flow]:
    """The flows that Open vSwitch reports of the capture."""
    frames = capture()
    due = len(frames) - bfd_count(frames)
    with Namespace() as left, Namespace() as right:
        _wire(left, right)
        with Sink(left) as sink, OpenVSwitch(left, tmp_path_factory.mktemp("ovs"), "a") as switch:
            switch.sample_to(sink.target)
            switch.replay(right, "b", frames)
            switch.flush()
            wait_until(lambda: sink.total() >= due, what=f"{due} packets in Open vSwitch's flows")
            assert sink.total() == due
            assert {record.get("flowEndReason") for record in sink.records} == {4}
            return collect(sink.records)


def _assert_same(oracle: dict[Key, Flow], ours: dict[Key, Flow]) -> None:
    report = compare(oracle, ours, ALLOWED, name_of)
    assert not report.problems, "\n" + "\n".join(report.problems)
    unused = [difference.reason for difference in ALLOWED if difference not in report.used]
    assert not unused, "differences that no frame shows any more:\n" + "\n".join(unused)


@pytest.mark.parametrize("profile", ["full", "ovs"])
@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_live(oracle: dict[Key, Flow], tmp_path: Path, hook: str, profile: str) -> None:
    """`xdpfix run` on the receiving end of a veth pair."""
    frames = capture()
    due = len(frames) - bfd_count(frames)
    with Namespace() as left, Namespace() as right:
        _wire(left, right)
        with Sink(left) as sink:
            config = CONFIG.format(hook=hook, target=sink.target, profile=profile)
            with Daemon(left, tmp_path, config).wait_ready() as daemon:
                send(right, "b", frames)
                wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == len(frames))
            wait_until(lambda: sink.total() >= due, what=f"{due} packets in xdpfix's flows")
            _assert_same(oracle, collect(sink.records))


def test_comparison_sees_each_fault(oracle: dict[Key, Flow]) -> None:
    """A flow too few, one too many, and a field that is wrong: each is a problem of its own."""
    assert compare(oracle, oracle, ()).problems == []
    key, flow = next((key, flow) for key, flow in oracle.items() if name_of(str(flow["sourceMacAddress"])) == "vlan")
    fewer = {k: v for k, v in oracle.items() if k != key}
    (problem,) = compare(oracle, fewer, ALLOWED, name_of).problems
    assert problem.startswith("only in the oracle: vlan ")
    (problem,) = compare(fewer, oracle, ALLOWED, name_of).problems
    assert problem.startswith("only in xdpfix: vlan ")
    for name, value in flow.items():
        if isinstance(value, int) and name in ("packetDeltaCount", "octetDeltaCount", "ethernetHeaderLength"):
            (problem,) = compare(oracle, oracle | {key: flow | {name: value + 1}}, ALLOWED, name_of).problems
            assert problem == f"vlan: {name} oracle {value} xdpfix {value + 1}"
