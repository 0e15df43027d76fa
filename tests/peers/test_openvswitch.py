"""Open vSwitch as the oracle: it and xdpfix see the same frames and must report the same flows, field by field.

lib.ovs_differences lists the differences there may be, with reasons. Each is met by a frame, so that none outlives its
reason.
"""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from scapy.utils import RawPcapWriter

from lib.corpus import captures
from lib.daemon import PROGRAM, Daemon
from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.flowdiff import Flow, Key, collect, comparable, compare
from lib.netns import Namespace, veth
from lib.oracle_frames import MTU
from lib.oracle_traffic import capture, flow_name, flow_packets, mutated, name_of, traffic
from lib.ovs import OpenVSwitch
from lib.ovs_differences import contradictions, differences
from lib.replay import ETHERNET
from lib.sink import Sink
from lib.superpackets import SUPER_PACKETS, SuperPacket, send_whole
from lib.traffic import link_counters, send
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
hook = "{hook}"
# All that is sent at once, on one CPU, whenever the data thread comes to read it.
ring_pages = 1024
[exporter]
targets = ["{target}"]
sampling = 1
profile = "{profile}"
cache_active_timeout = 4200
cache_idle_timeout = 4200
enable_output_sampling = false
# Open vSwitch describes a tunnel's packet by its outer headers where it does not end the tunnel.
enable_tunnel_sampling = false
"""


ALLOWED = differences(flow_packets) + contradictions(flow_packets)


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
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
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
        veth(left, "a", None, right, "b", None, mtu=MTU)
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


def _assert_same(case: Case, sink: Sink, profile: str) -> None:
    wait_until(lambda: sink.total() >= case.due, 30, f"{case.due} packets in xdpfix's flows")
    oracle, ours = (comparable(flows, profile) for flows in (case.flows, collect(sink.records)))
    report = compare(oracle, ours, ALLOWED, flow_name)
    assert not report.problems, "\n" + "\n".join(report.problems)
    if case.name == "made-up":
        unused = [difference.reason for difference in ALLOWED if difference not in report.used]
        assert not unused, "differences that no frame shows any more:\n" + "\n".join(unused)


@pytest.mark.parametrize("profile", ["full", "ovs"])
@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_live(case: Case, tmp_path: Path, hook: str, profile: str) -> None:
    """`xdpfix run` at the receiving end of a veth pair. It sees super-packets whole at tc; for XDP they are split."""
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=MTU)
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
            _assert_same(case, sink, profile)


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
        _assert_same(case, sink, profile)


def test_comparison_sees_each_fault(case: Case) -> None:
    """A flow too few, one too many, and a field that is wrong: each is a problem of its own."""
    flows = case.flows
    assert compare(flows, flows, (), flow_name).problems == []
    key = next(key for key, flow in flows.items() if flow["octetDeltaCount"] and flow["ipTTL"])
    flow, name = flows[key], name_of(str(flows[key]["sourceMacAddress"]))
    fewer = {k: v for k, v in flows.items() if k != key}
    (problem,) = compare(flows, fewer, ALLOWED, flow_name).problems
    assert problem.startswith(f"only in the oracle: {name} ")
    (problem,) = compare(fewer, flows, ALLOWED, flow_name).problems
    assert problem.startswith(f"only in xdpfix: {name} ")
    for wrong in ("packetDeltaCount", "layer2OctetDeltaCount", "octetDeltaCount", "ethernetHeaderLength"):
        value = int(flow[wrong])
        (problem,) = compare(flows, flows | {key: flow | {wrong: value + 1}}, ALLOWED, flow_name).problems
        assert problem == f"{name}: {wrong} oracle {value} xdpfix {value + 1}"
