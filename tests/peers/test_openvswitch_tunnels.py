"""Open vSwitch as a tunnel's endpoint and xdpfix on the underlay interface: the same flows, tunnel fields included.

Each packet says who looks into it (lib.ovs_tunnel_frames), and lib.ovs_tunnel_differences lists in what the two may
differ of those that both do. Each difference is met by a packet, so that none outlives its reason.
"""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from scapy.utils import RawPcapWriter

from lib.corpus import captures
from lib.daemon import PROGRAM, Daemon
from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.flowdiff import TUNNEL, Difference, Flow, Key, collect, comparable
from lib.netns import Namespace, veth
from lib.ovs_tunnel_differences import tunnel_differences
from lib.ovs_tunnel_frames import Taker, TunnelPackets
from lib.ovs_tunnel_judge import Flows, Oracle, judge
from lib.ovs_tunnel_traffic import tunnel_packets
from lib.ovs_tunnels import BRIDGE, UNDERLAY, TunnelSwitch
from lib.replay import ETHERNET
from lib.sink import Sink
from lib.traffic import send
from lib.wait import wait_until

# The tunnels' headers fit on top of lib.oracle_frames' MTU. Of a veth with an XDP program 3506 is the most.
MTU = 3200
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
"""


@dataclass(frozen=True)
class Case:
    """Packets, what Open vSwitch says of them, and what may differ."""

    packets: TunnelPackets
    oracle: Oracle
    allowed: tuple[Difference, ...]

    @property
    def due(self) -> int:
        """Packets in xdpfix's flows: all but BFD's."""
        packets = enumerate(self.packets.all)
        return len(self.packets.wire()) - sum(TunnelPackets.times(n) for n, packet in packets if packet.bfd)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """What the oracle says: of the inner packets at br-int, of the outer ones at the bridge below."""
    if not captures():
        pytest.skip("the captures are not there: python3 tests/lib/corpus.py fetches them")
    packets = tunnel_packets(captures())
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=MTU)
        with (
            Sink(left) as outer,
            Sink(left) as inner,
            TunnelSwitch(left, tmp_path_factory.mktemp("ovs"), "a") as switch,
        ):
            sinks = {UNDERLAY: outer, BRIDGE: inner}
            for bridge, sink in sinks.items():
                switch.sample_to(sink.target, bridge)
            switch.replay(right, "b", packets.wire())
            due = {bridge: switch.sampled(bridge) for bridge in sinks}
            for bridge, sink in sinks.items():
                switch.flush(bridge)
                wait_until(lambda b=bridge, s=sink: s.total() >= due[b], 30, f"{due[bridge]} packets of {bridge}")
            taken = len(packets.captured) + sum(
                TunnelPackets.times(n) for n, p in enumerate(packets.all) if Taker.OVS in p.takers and not p.bfd
            )
            assert inner.total() == due[BRIDGE] == taken
            # At the other bridge are also packets of the kernel's and, at output, those that it did not take apart.
            below = collect(outer.records)
            below = {k: f for k, f in below.items() if packets.is_outer(f) and f["flowDirection"] == 0}
            return Case(packets, Oracle(collect(inner.records), below), tunnel_differences(packets.ip))


def _oracle(case: Case, profile: str) -> Oracle:
    return Oracle(comparable(case.oracle.inner, profile), comparable(case.oracle.outer, profile))


def _assert_same(case: Case, sink: Sink, profile: str) -> None:
    wait_until(lambda: sink.total() >= case.due, 30, f"{case.due} packets in xdpfix's flows")
    report = judge(case.packets, _oracle(case, profile), comparable(collect(sink.records), profile), case.allowed)
    assert not report.problems, "\n" + "\n".join(report.problems)
    unused = {difference.reason for difference in case.allowed if difference not in report.used}
    if profile == "ovs":
        unused = {reason for reason in unused if "profile full" not in reason}
    assert not unused, "differences that no packet shows any more:\n" + "\n".join(unused)


@pytest.mark.parametrize("profile", ["full", "ovs"])
@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_live(case: Case, tmp_path: Path, hook: str, profile: str) -> None:
    """`xdpfix run` at the interface that the tunnels' packets come in by."""
    packets = case.packets.wire()
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=MTU)
        with Sink(left) as sink:
            config = CONFIG.format(hook=hook, target=sink.target, profile=profile)
            with Daemon(left, tmp_path, config).wait_ready() as daemon:
                send(right, "b", packets)
                sent = len(packets)
                wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == sent, 30, f"{sent} seen")
            _assert_same(case, sink, profile)


def _read(case: Case, folder: Path, profile: str, sink: Sink) -> None:
    file, config = folder / "packets.pcap", folder / "xdpfix.toml"
    with RawPcapWriter(str(file), linktype=ETHERNET) as writer:
        writer.write(case.packets.wire())
    config.write_text(CONFIG.format(hook="tc", target=sink.target, profile=profile))
    command = [PROGRAM, "read", "--config", config, "--target", sink.target, file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("profile", ["full", "ovs"])
def test_read(case: Case, tmp_path: Path, profile: str) -> None:
    """`xdpfix read` of the packets in a file."""
    with Sink() as sink:
        _read(case, tmp_path, profile, sink)
        _assert_same(case, sink, profile)


@pytest.fixture(scope="module")
def flows(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Flows:
    """What xdpfix says, which is right."""
    with Sink() as sink:
        _read(case, tmp_path_factory.mktemp("read"), "full", sink)
        wait_until(lambda: sink.total() >= case.due, 30, f"{case.due} packets in xdpfix's flows")
        return comparable(collect(sink.records), "full")


def _problems(case: Case, flows: Flows) -> str:
    return "\n".join(judge(case.packets, _oracle(case, "full"), flows, case.allowed).problems)


def _find(case: Case, flows: Flows, name: str) -> tuple[Key, Flow]:
    return next((key, flow) for key, flow in flows.items() if case.packets.name(flow) == name)


@pytest.mark.parametrize(
    "name", ["vlan in vxlan over IPv4", "vlan in geneve over IPv6", "gre flags 2000", "ipv4 tcp in gpe at layer 3"]
)
@pytest.mark.parametrize("field", [*TUNNEL, "packetDeltaCount", "minimumTTL"])
def test_comparison_sees_a_wrong_field(case: Case, flows: Flows, name: str, field: str) -> None:
    """Each tunnel field, and some of the others, in flows of four kinds."""
    key, flow = _find(case, flows, name)
    wrong = {"tunnelKey": "999999", "tunnelType": 4, "packetDeltaCount": 99}.get(field, 1)
    assert flow[field] != wrong
    problems = _problems(case, {k: f for k, f in flows.items() if k != key} | {("wrong",): flow | {field: wrong}})
    assert name in problems


def test_comparison_sees_who_looks_into_a_packet(case: Case, flows: Flows) -> None:
    """An outer flow in place of an inner one and the other way; a flow that is missing; a packet that is."""
    inner, flow = _find(case, flows, "ipv4 tcp in geneve over IPv4")
    outer, below = _find(case, case.oracle.outer, "ipv4 tcp in geneve over IPv4")
    without = {key: flow for key, flow in flows.items() if key != inner}
    assert "only in the oracle: ipv4 tcp in geneve" in _problems(case, without)
    assert "only in xdpfix: ipv4 tcp in geneve" in _problems(case, without | {outer: below})
    outer, below = _find(case, flows, "udp length short")
    inner, flow = _find(case, case.oracle.inner, "udp length short")
    without = {key: flow for key, flow in flows.items() if key != outer}
    assert "only in xdpfix: udp length short" in _problems(case, without | {inner: flow})
    lone, flow = _find(case, flows, "vxlan group policy")
    without = {key: flow for key, flow in flows.items() if key != lone}
    assert "xdpfix does not look into vxlan group policy" in _problems(case, without)
    assert "vxlan group policy: 9 of" in _problems(case, without | {lone: flow | {"packetDeltaCount": 9}})
    assert "vxlan group policy: ['maximumTTL']" in _problems(case, without | {lone: flow | {"maximumTTL": 1}})


@pytest.mark.parametrize(
    ("name", "takers", "problem"),
    [
        ("stt", Taker.BOTH, "Open vSwitch: does not look into stt"),
        ("gpe version", Taker.NOBODY, "Open vSwitch: looks into gpe version"),
        ("gpe version", Taker.BOTH, "only in the oracle: gpe version"),
        ("first fragment", Taker.XDPFIX, "xdpfix does not look into first fragment"),
        ("vlan in gre over IPv4", Taker.OVS, "only in the oracle: vlan in gre"),
    ],
)
def test_comparison_sees_a_wrong_claim(case: Case, flows: Flows, name: str, takers: Taker, problem: str) -> None:
    """What packets say of their takers is held against both."""
    claimed = [replace(p, takers=takers) if p.name == name else p for p in case.packets.all]
    assert problem in _problems(replace(case, packets=replace(case.packets, all=claimed)), flows)
