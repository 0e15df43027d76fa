"""Open vSwitch as the oracle: it and xdpfix see the same frames and must report the same flows, field by field.

ALLOWED lists the differences there may be, with reasons. Each is met by a frame, so that none outlives its reason.
"""

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from scapy.utils import RawPcapWriter

from lib.corpus import captures
from lib.daemon import PROGRAM, Daemon
from lib.flowdiff import Difference, Flow, Key, collect, compare
from lib.netns import Namespace, veth
from lib.oracle_frames import MTU
from lib.oracle_traffic import capture, frames_of, ip_length, ip_packet, mutated, name_of, traffic
from lib.ovs import OpenVSwitch
from lib.replay import ETHERNET
from lib.sink import Sink
from lib.superpackets import SUPER_PACKETS, SuperPacket, send_whole
from lib.traffic import link_counters, send
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
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)  # IANA, "IPv6 Extension Header Types", without ESP
IP = OCTETS | TOS | PORTS | ICMP | ADDRESSES | {"ipVersion", "ipTTL", "protocolIdentifier"}


def _packets(flow: Flow) -> list[bytes]:
    """The IP packets, with padding, that a flow of made-up packets is of; none for captured ones."""
    return [packet for frame in frames_of(str(flow["sourceMacAddress"])) if (packet := ip_packet(frame))]


def _is_padded(oracle: Flow, ours: Flow) -> bool:
    """Ours are the lengths that the IP headers say, and less than there is behind the Ethernet header."""
    lengths = [ip_length(packet) for packet in _packets(ours)]
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
    zero = addresses <= {"0.0.0.0", "::", 0, None} and oracle["ipTTL"] == oracle["protocolIdentifier"] == 0
    return zero and ours["ipVersion"] is None


def _is_other_version(oracle: Flow, ours: Flow) -> bool:
    packets = _packets(oracle)
    return bool(packets) and ours["ipVersion"] is None and packets[0][0] >> 4 != oracle["ipVersion"]


def _is_long_chain(oracle: Flow, ours: Flow) -> bool:
    """Ours ends at an extension header, behind eight that have eight octets or more."""
    packets = _packets(oracle)
    return (
        ours["ipVersion"] == 6
        and ours["protocolIdentifier"] in EXTENSIONS
        and ours["sourceTransportPort"] is None
        and bool(packets)
        and len(packets[0]) >= 40 + 9 * 8
    )


def _is_offset_wrong(oracle: Flow, ours: Flow) -> bool:
    packets = _packets(oracle)
    if not packets or ours["protocolIdentifier"] != 6 or {oracle[name] for name in PORTS} != {0}:
        return False
    ports = b"".join(int(ours[name]).to_bytes(2, "big") for name in ("sourceTransportPort", "destinationTransportPort"))
    header = packets[0][packets[0].index(ports, 20) : _end(packets[0])]
    return not 20 <= (header[12] >> 4) * 4 <= len(header)


def _end(packet: bytes) -> int:
    return min(len(packet), ip_length(packet))


def _is_chain_cut(oracle: Flow, ours: Flow) -> bool:
    given_up = TOS | {"ipTTL", "protocolIdentifier", "flowLabelIPv6"}
    return oracle["ipVersion"] == ours["ipVersion"] == 6 and {oracle[name] for name in given_up} == {0}


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
        _is_long_chain,
    ),
    Difference(
        "a TCP data offset that cannot be: Open vSwitch 3.1 drops the ports for it, 2.5 did not and we do not",
        PORTS,
        _is_offset_wrong,
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
        _is_other_version,
    ),
    Difference(
        "an extension header beyond the packet: Open vSwitch gives up with TTL, class, flow label and protocol 0, "
        "which the IPv6 header does say",
        TOS | {"ipTTL", "protocolIdentifier", "flowLabelIPv6"},
        _is_chain_cut,
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


@dataclass(frozen=True)
class Case:
    """Packets, and the flows that Open vSwitch reports of them."""

    name: str
    frames: list[bytes]
    super_packets: list[SuperPacket]
    flows: dict[Key, Flow]

    @property
    def wire(self) -> list[bytes]:
        """All packets on the wire."""
        return self.frames + [segment for packet in self.super_packets for segment in packet.segments()]

    @property
    def due(self) -> int:
        """Packets in the flows."""
        return sum(int(flow["packetDeltaCount"]) for flow in self.flows.values())


@pytest.fixture(scope="module", params=["made-up", "mutated", "captured"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _root: None) -> Case:
    """What the oracle is asked; it sees the segments of super-packets, for it drops what is longer than the MTU."""
    if request.param == "made-up":
        packets = Case(request.param, capture(), SUPER_PACKETS, {})
    elif request.param == "mutated":
        packets = Case(request.param, mutated(), [], {})
    elif captures():
        packets = Case(request.param, traffic(captures()), [], {})
    else:
        pytest.skip("the captures are not there: python3 tests/lib/corpus.py fetches them")
    with Namespace() as left, Namespace() as right:
        _wire(left, right)
        with Sink(left) as sink, OpenVSwitch(left, tmp_path_factory.mktemp("ovs"), "a") as switch:
            switch.sample_to(sink.target)
            switch.replay(right, "b", packets.wire)
            due = switch.sampled()
            switch.flush()
            wait_until(lambda: sink.total() >= due, 30, f"{due} packets in Open vSwitch's flows")
            assert sink.total() == due
            if request.param == "made-up":
                bfd = [frame for frame in packets.frames if name_of(frame[6:12].hex(":")).startswith("bfd")]
                assert due == len(packets.wire) - len(bfd)
            assert {record.get("flowEndReason") for record in sink.records} == {4}
            return replace(packets, flows=collect(sink.records))


def _assert_same(case: Case, sink: Sink) -> None:
    wait_until(lambda: sink.total() >= case.due, 30, f"{case.due} packets in xdpfix's flows")
    report = compare(case.flows, collect(sink.records), ALLOWED, name_of)
    assert not report.problems, "\n" + "\n".join(report.problems)
    if case.name == "made-up":
        unused = [difference.reason for difference in ALLOWED if difference not in report.used]
        assert not unused, "differences that no frame shows any more:\n" + "\n".join(unused)


@pytest.mark.parametrize("profile", ["full", "ovs"])
@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_live(case: Case, tmp_path: Path, hook: str, profile: str) -> None:
    """`xdpfix run` at the receiving end of a veth pair. It sees super-packets whole at tc; for XDP they are split."""
    with Namespace() as left, Namespace() as right:
        _wire(left, right)
        with Sink(left) as sink:
            config = CONFIG.format(hook=hook, target=sink.target, profile=profile)
            with Daemon(left, tmp_path, config).wait_ready() as daemon:
                send(right, "b", case.frames)
                send_whole(right, "b", case.super_packets)
                sent = len(case.wire)
                wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == sent, 30, f"{sent} seen")
                passed = link_counters(left, "a")["rx_packets"]
                whole = len(case.frames) + len(case.super_packets)
                assert passed == (whole if hook == "tc" else sent)
            _assert_same(case, sink)


@pytest.mark.parametrize("profile", ["full", "ovs"])
def test_read(case: Case, tmp_path: Path, profile: str) -> None:
    """`xdpfix read` of the packets in a file."""
    file, config = tmp_path / "packets.pcap", tmp_path / "xdpfix.toml"
    with RawPcapWriter(str(file), linktype=ETHERNET) as writer:
        writer.write(case.wire)
    with Sink() as sink:
        config.write_text(CONFIG.format(hook="tc", target=sink.target, profile=profile))
        command = [PROGRAM, "read", "--config", config, "--target", sink.target, file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        _assert_same(case, sink)


def test_comparison_sees_each_fault(case: Case) -> None:
    """A flow too few, one too many, and a field that is wrong: each is a problem of its own."""
    flows = case.flows
    assert compare(flows, flows, ()).problems == []
    key = next(key for key, flow in flows.items() if flow["octetDeltaCount"] and flow["ipTTL"])
    flow, name = flows[key], name_of(str(flows[key]["sourceMacAddress"]))
    fewer = {k: v for k, v in flows.items() if k != key}
    (problem,) = compare(flows, fewer, ALLOWED, name_of).problems
    assert problem.startswith(f"only in the oracle: {name} ")
    (problem,) = compare(fewer, flows, ALLOWED, name_of).problems
    assert problem.startswith(f"only in xdpfix: {name} ")
    for wrong in ("packetDeltaCount", "layer2OctetDeltaCount", "octetDeltaCount", "ethernetHeaderLength"):
        value = int(flow[wrong])
        (problem,) = compare(flows, flows | {key: flow | {wrong: value + 1}}, ALLOWED, name_of).problems
        assert problem == f"{name}: {wrong} oracle {value} xdpfix {value + 1}"
