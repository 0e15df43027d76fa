"""`xdpfix run` on live interfaces: by every hook and loader it counts every packet and octet that passed."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.daemon import PROGRAM, Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.tc import here
from lib.traffic import send, tcp_frame, udp_frame
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
hook = "{hook}"
loader = "{loader}"
ring_pages = 4096  # on a loaded machine the data thread comes late
[exporter]
targets = ["{target}"]
sampling = 1
"""

HOOKS = [
    pytest.param("tc", "libbpf", {}, ["ingress tcx", "egress tcx"], id="tcx"),
    pytest.param("tc", "libbpf", {"XDPFIX_NO_TCX": "1"}, ["ingress clsact", "egress clsact"], id="clsact"),
    pytest.param("xdp", "libbpf", {}, ["ingress xdp", "egress tcx"], id="xdp"),
    pytest.param("xdp-generic", "libbpf", {}, ["ingress xdp-generic", "egress tcx"], id="xdp-generic"),
    pytest.param("tc", "bcc", {}, ["ingress tcx", "egress tcx"], id="tcx-bcc"),
    pytest.param("xdp", "bcc", {}, ["ingress xdp", "egress tcx"], id="xdp-bcc"),
]


@pytest.mark.parametrize(("hook", "loader", "environment", "places"), HOOKS)
def test_every_packet_is_counted(
    wire: tuple[Namespace, Namespace],
    tmp_path: Path,
    hook: str,
    loader: str,
    environment: dict[str, str],
    places: list[str],
) -> None:
    """1:1: packets and octets of each flow and direction are exact, and end with "forced end" at SIGTERM."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(hook=hook, loader=loader, target=sink.target)
        with Daemon(left, tmp_path, config, environment=environment).wait_ready() as daemon:
            assert [row["hooks"] for row in daemon.show("interfaces")] == [here(places)]
            send(right, "b", [udp_frame(sport=1000 + i % 7) for i in range(700)])
            send(right, "b", [udp_frame("2001:db8::2", "2001:db8::1")] * 40)
            send(left, "a", [tcp_frame(payload=1000)] * 50)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 790)
            assert daemon.stop() == 0
            assert "Traceback" not in daemon.text()
        wait_until(lambda: sink.total() == 790)
        for port in range(1000, 1007):
            assert sink.total(sourceTransportPort=port, flowDirection=0) == 100
            assert sink.total("octetDeltaCount", sourceTransportPort=port) == 100 * 128
            assert sink.total("layer2OctetDeltaCount", sourceTransportPort=port) == 100 * 142
        assert sink.total(sourceIPv6Address="2001:db8::2") == 40
        assert sink.total(flowDirection=1, destinationTransportPort=443) == 50
        assert sink.total("octetDeltaCount", flowDirection=1) == 50 * 1040
        ifindex = left.ifindex("a")
        for record in sink.records:
            assert record.get("flowEndReason") == 4
            direction = record.get("flowDirection")
            assert record.get("ingressInterface" if direction == 0 else "egressInterface") == ifindex
        assert sink.decoder.stats.sequence_gaps == 0


def test_own_export_is_not_sampled(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """The messages leave by the very interface that is sampled; only their exact addresses and ports are left out."""
    left, right = wire
    left.run("ip", "address", "add", "192.0.2.1/24", "dev", "a")
    right.run("ip", "address", "add", "192.0.2.2/24", "dev", "b")
    with Sink(right, "192.0.2.2") as sink:
        config = CONFIG.format(hook="tc", loader="libbpf", target=sink.target) + "cache_active_timeout = 1\n"
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 10)
            # To the collector, but not from the exporter's port: an ordinary flow.
            send(left, "a", [udp_frame("192.0.2.1", "192.0.2.2", sport=9, dport=sink.port)] * 3)
            wait_until(lambda: sink.total(destinationTransportPort=53) == 10, 10)
            wait_until(lambda: sink.total(sourceTransportPort=9) == 3, 10)
            wait_until(lambda: daemon.show("stats")["exporters"]["main"]["excluded_own"] > 0, 10)
        assert sink.total(destinationTransportPort=sink.port) == 3


def test_a_reload_keeps_the_ledger_whole(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Flows end at another layout: what was counted before stays in the ledger, and all messages stay out."""
    left, right = wire
    left.run("ip", "address", "add", "192.0.2.1/24", "dev", "a")
    right.run("ip", "address", "add", "192.0.2.2/24", "dev", "b")
    with Sink(right, "192.0.2.2") as sink:
        config = CONFIG.format(hook="tc", loader="libbpf", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            for cycle in range(1, 4):
                send(right, "b", [udp_frame(sport=port) for port in range(1000, 1100)])
                wait_until(lambda: daemon.show("stats")["exporters"]["main"]["cached"] >= 100)
                daemon.configure(config + f'profile = "{("full", "ovs")[cycle % 2]}"\n')
                daemon.process.send_signal(signal.SIGHUP)
                wait_until(lambda: sink.total(destinationTransportPort=53) == 100 * cycle)  # noqa: B023 - called at once
            wait_until(lambda: daemon.show("stats")["errors"] == [])
            assert daemon.show("stats")["exporters"]["main"]["excluded_own"] >= len(sink.messages) // 2
            assert daemon.stop() == 0
        assert sink.total(destinationTransportPort=sink.port) == 0


def test_directions_can_be_switched_off(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """enable_input_sampling = false samples what goes out only."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(hook="tc", loader="libbpf", target=sink.target) + "enable_input_sampling = false\n"
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            assert [row["hooks"] for row in daemon.show("interfaces")] == [here(["egress tcx"])]
            send(right, "b", [udp_frame()] * 10)
            send(left, "a", [tcp_frame()] * 5)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 5)
        wait_until(lambda: sink.total() == 5)
        assert {record.get("flowDirection") for record in sink.records} == {1}


def test_without_a_collector_flows_are_shown(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """`xdpfix run -i IFACE` alone: a line a flow where the output is no terminal; SIGINT shows what is left."""
    left, right = wire
    with Daemon(left, tmp_path, arguments=("-i", "a")).wait_ready() as daemon:
        send(right, "b", [udp_frame(sport=1000)] * 30)
        daemon.wait_log("198.51.100.2:1000 → 192.0.2.1:53", timeout=10)
        send(right, "b", [udp_frame(sport=2000)] * 20)
        assert daemon.stop(signal.SIGINT) == 0
        lines = [line.split() for line in daemon.text().splitlines() if "→" in line]
    assert ["a", "30"] in [[line[2], line[-6]] for line in lines]
    assert ["a", "20", "forced"] in [[line[2], line[-6], line[-4]] for line in lines]


def test_it_ends_when_nobody_reads(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """`xdpfix run -i a | head -1`: the closed pipe is a stop, not an error."""
    left, right = wire
    command = (str(PROGRAM), "run", "-i", "a", "--socket", str(tmp_path / "socket"))
    process = left.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    assert process.stdout.readline().startswith("start")
    process.stdout.close()
    wait_until(lambda: "sampling a" in process.stderr.readline())
    send(right, "b", [udp_frame()])
    assert process.wait(20) == 0
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_show(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Every subject of `xdpfix show` has the figures of what passed, as JSON and as a table."""
    left, right = wire
    with (
        Sink(left) as sink,
        Daemon(left, tmp_path, CONFIG.format(hook="tc", loader="libbpf", target=sink.target)).wait_ready() as daemon,
    ):
        send(right, "b", [udp_frame()] * 12)
        wait_until(lambda: daemon.show("stats")["ring"]["received"] == 12)
        (flow,) = json.loads(daemon.show_text("flows", "--json"))
        assert (flow["interface"], flow["direction"], flow["packets"], flow["octets"]) == ("a", "in", 12, 12 * 128)
        assert (flow["source"], flow["source_port"]) == ("198.51.100.2", 1024)
        send(
            right,
            "b",
            [udp_frame(sport=port) for port in range(9000, 9004)] + [udp_frame("2001:db8::2", "2001:db8::1")],
        )
        wait_until(lambda: daemon.show("stats")["ring"]["received"] == 17)
        options = ("--filter", "source=198.51.100.0/24 port>9000", "--sort", "source_port", "--limit", "2", "--json")
        assert [row["source_port"] for row in json.loads(daemon.show_text("flows", *options))] == [9003, 9002]
        assert daemon.show_text("flows", "--filter", "udp 2001:db8::/64").splitlines()[1].split()[3] == "2001:db8::2"
        (interface,) = daemon.show("interfaces")
        assert (interface["name"], interface["packets_in"], interface["packets_out"]) == ("a", 17, 0)
        main = daemon.show("exporters")["main"]
        assert (main["flows"], main["samples_cached"]) == (6, 17)
        assert (main["samples_ipv4_known"], main["samples_ipv6_known"]) == (16, 1)
        sent = main["messages_sent"]
        assert daemon.show_text("exporters", "--ovs").splitlines() == [
            "NXST_IPFIX_BRIDGE reply (xid=0x2):",
            f"  bridge ipfix: flows=6, current flows=6, sampled pkts=17, ipv4 ok=16, ipv6 ok=1, tx pkts={sent}",
            "                pkts errs=0, ipv4 errs=0, ipv6 errs=0, tx errs=0",
        ]
        # Options data: no flow has ended yet.
        assert [(row["target"], row["records_sent"]) for row in main["targets"]] == [(sink.target, len(sink.options))]
        lines = [line.split() for line in daemon.show_text("stats").splitlines()]
        assert ["selected", "17", "17"] in lines
        assert ["main", "represented", "17", "-"] in lines
        assert not any("sum" in line for line in lines)
        for what in ("flows", "interfaces", "exporters"):
            assert "Traceback" not in daemon.show_text(what)


def test_full_default_cache_is_flushed_at_stop(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """SIGTERM with 65536 flows cached: every one goes out with "forced end", paced so that none is lost."""
    left, right = wire
    frame = bytearray(udp_frame())
    offset = 14 + 12  # source address

    def frames() -> Iterator[bytes]:
        for number in range(65536):
            frame[offset : offset + 4] = (0x0A000000 + number).to_bytes(4, "big")
            yield bytes(frame)

    with Sink(left) as sink:
        config = CONFIG.format(hook="tc", loader="libbpf", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            assert send(right, "b", frames()) == 65536
            wait_until(lambda: daemon.show("stats")["exporters"]["main"]["cached"] == 65536, 10)
            assert daemon.stop() == 0
        wait_until(lambda: len(sink.records) == 65536, 20)
        assert {record.get("flowEndReason") for record in sink.records} == {4}
        assert sink.decoder.stats.sequence_gaps == 0
