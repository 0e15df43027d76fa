"""Super-packets on live links: what GSO sends and GRO merges counts as the packets and octets on the wire."""

import math
from pathlib import Path

import pytest

from lib import transfer
from lib.daemon import Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = {sampling}
"""
Z = 4.892  # two-sided normal quantile of 1e-6
OCTETS = 20_000_000
MTU = 1500
OUT, IN = 1, 0
IP_HEADER = {4: 20, 6: 40}
TCP_HEADER = 32  # with timestamps
SYN_OPTIONS = 8  # a SYN's beyond those: maximum segment size, window scale
CONTROL_BITS = 0x1B  # FIN, SYN, PSH, ACK: all that a connection without trouble sets


def offload(namespace: Namespace, name: str, **features: str) -> None:
    namespace.run("ethtool", "-K", name, *(word for feature in features.items() for word in feature))


# GSO: the sender's super-packets pass the veth whole. GRO: its segments are merged again by the receiver.
OFFLOADS = {"gso": {"tso": "on", "gso": "on"}, "gro": {"tso": "off", "gso": "off"}}


@pytest.mark.parametrize("offloads", OFFLOADS)
@pytest.mark.parametrize("direction", [OUT, IN], ids=["out", "in"])
@pytest.mark.parametrize("version", [4, 6])
def test_tcp_is_exact_at_one(
    left: Namespace, right: Namespace, tmp_path: Path, version: int, direction: int, offloads: str
) -> None:
    """Packets, octets, lengths and flags of a transfer and of its acknowledgements are the kernel's own."""
    transfer.join(left, right, version)
    sender, receiver = (left, right) if direction == OUT else (right, left)
    offload(sender, "a" if sender is left else "b", **OFFLOADS[offloads])
    offload(left, "a", gro="on" if offloads == "gro" else "off")
    address = transfer.ADDRESSES[version][receiver is right]
    header = IP_HEADER[version] + TCP_HEADER
    with Sink(left) as sink:
        config = CONFIG.format(hook="tc", target=sink.target, sampling=1)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            before = transfer.segments(left), transfer.segments(right)
            port = transfer.tcp(sender, receiver, address, OCTETS)
            wait_until(lambda: daemon.show("stats")["ring"]["pending"] == 0)
            here, there = transfer.segments(left) - before[0], transfer.segments(right) - before[1]
            stats = daemon.show("stats")
            assert stats["errors"] == []
            if direction == IN or offloads == "gso":
                assert stats["samples"]["selected"] < stats["packets"]["selected"] / 3, "no super-packets: void"
        data = {"sourceTransportPort": port, "flowDirection": direction}
        acks = {"destinationTransportPort": port, "flowDirection": 1 - direction}
        again = here.again + there.again  # none, but for a machine that was busy in between
        sent, acked = (here, there) if direction == OUT else (there, here)
        packets = sent.sent + sent.again, acked.sent + acked.again
        wait_until(lambda: sink.total(**data) >= packets[0] and sink.total(**acks) >= packets[1])
        assert (sink.total(**data), sink.total(**acks)) == packets
        octets = OCTETS + SYN_OPTIONS + sent.sent * header, SYN_OPTIONS + acked.sent * header
        assert 0 <= sink.total("octetDeltaCount", **data) - octets[0] <= again * MTU
        assert 0 <= sink.total("octetDeltaCount", **acks) - octets[1] <= again * MTU
        layer2 = sink.total("layer2OctetDeltaCount", **data)
        assert layer2 == sink.total("octetDeltaCount", **data) + 14 * packets[0]
        (record,) = (record for record in sink.records if record.get("sourceTransportPort") == port)
        assert record.get("maximumIpTotalLength") == MTU
        assert record.get("minimumIpTotalLength") == header
        assert record.get("tcpControlBits") == CONTROL_BITS


BIG = 180_000


@pytest.mark.parametrize("direction", [OUT, IN], ids=["out", "in"])
def test_big_tcp(left: Namespace, right: Namespace, tmp_path: Path, direction: int) -> None:
    """Super-packets of IPv6 beyond 64 KiB: the jumbo option that they carry never is on the wire (RFC 2675)."""
    transfer.join(left, right, 6)
    for namespace, name in ((left, "a"), (right, "b")):
        namespace.run("ip", "link", "set", "dev", name, "gso_max_size", str(BIG), "gro_max_size", str(BIG))
    sender, receiver = (left, right) if direction == OUT else (right, left)
    address = transfer.ADDRESSES[6][receiver is right]
    header = IP_HEADER[6] + TCP_HEADER
    with Sink(left) as sink:
        with Daemon(left, tmp_path, CONFIG.format(hook="tc", target=sink.target, sampling=1)).wait_ready() as daemon:
            before = transfer.segments(sender)
            with transfer.lengths(left, "a") as lengths:
                port = transfer.tcp(sender, receiver, address, OCTETS)
            truth = transfer.segments(sender) - before
            assert max(lengths) > 65536 + header, "no such super-packets: the test is void"
            assert daemon.show("stats")["errors"] == []
        data = {"sourceTransportPort": port, "flowDirection": direction}
        packets = truth.sent + truth.again
        wait_until(lambda: sink.total(**data) >= packets)
        assert sink.total(**data) == packets
        octets = OCTETS + SYN_OPTIONS + truth.sent * header
        assert 0 <= sink.total("octetDeltaCount", **data) - octets <= truth.again * MTU
        (record,) = (record for record in sink.records if record.get("sourceTransportPort") == port)
        assert record.get("maximumIpTotalLength") == MTU


@pytest.mark.parametrize("direction", [OUT, IN], ids=["out", "in"])
@pytest.mark.parametrize("version", [4, 6])
def test_udp_segments_are_exact_at_one(
    left: Namespace, right: Namespace, tmp_path: Path, version: int, direction: int
) -> None:
    """UDP_SEGMENT: 100 sends of 20 datagrams of 1000 octets and one of 100."""
    transfer.join(left, right, version)
    sender = left if direction == OUT else right
    address = transfer.ADDRESSES[version][direction == OUT]
    header = IP_HEADER[version] + 8
    with Sink(left) as sink:
        with Daemon(left, tmp_path, CONFIG.format(hook="tc", target=sink.target, sampling=1)).wait_ready() as daemon:
            transfer.udp(sender, address, octets=20_100, segment=1000, count=100)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) >= 2100)
            assert daemon.show("stats")["samples"]["selected"] < 1000, "no super-packets: the test is void"
        flow = {"destinationTransportPort": transfer.PORT, "flowDirection": direction}
        wait_until(lambda: sink.total(**flow) >= 2100)
        assert sink.total(**flow) == 2100
        assert sink.total("octetDeltaCount", **flow) == 100 * (20_100 + 21 * header)
        (record,) = (record for record in sink.records if record.get("destinationTransportPort") == transfer.PORT)
        assert record.get("maximumIpTotalLength") == 1000 + header


@pytest.mark.parametrize("direction", [OUT, IN], ids=["out", "in"])
def test_estimate_at_one_in_ten(left: Namespace, right: Namespace, tmp_path: Path, direction: int) -> None:
    """Observed exact, estimate within bounds.

    An skb of s packets is counted as s / pi(s): its variance s^2 (1 - pi) / pi is at most that of s single packets,
    s (1 - p) / p, which the bound is made of.
    """
    transfer.join(left, right)
    sender, receiver = (left, right) if direction == OUT else (right, left)
    address = transfer.ADDRESSES[4][receiver is right]
    with Sink(left) as sink:
        with Daemon(left, tmp_path, CONFIG.format(hook="tc", target=sink.target, sampling=10)).wait_ready() as daemon:
            before = transfer.segments(left), transfer.segments(right)
            port = transfer.tcp(sender, receiver, address, 4 * OCTETS)
            out, in_ = transfer.segments(left) - before[0], transfer.segments(right) - before[1]
            observed = {OUT: out.sent + out.again, IN: in_.sent + in_.again}
            (row,) = daemon.show("interfaces")
            assert {OUT: row["packets_out"], IN: row["packets_in"]} == observed
        packets = observed[direction]
        flow = {"sourceTransportPort": port, "flowDirection": direction}
        bound = Z * math.sqrt(packets * 0.9 / 0.1)
        wait_until(lambda: abs(sink.total(**flow) - packets) <= bound)
        octets = sink.total("octetDeltaCount", **flow)
        assert abs(octets - packets * MTU) <= bound * MTU


@pytest.mark.parametrize("gro", ["on", "off"])
@pytest.mark.parametrize("tso", ["on", "off"])
def test_generic_xdp_is_inexact_and_says_so(
    left: Namespace, right: Namespace, tmp_path: Path, tso: str, gro: str
) -> None:
    """Generic XDP sees super-packets without their count, and the log warns of both ways in which they come.

    The kernel lets GRO alone on an interface with generic XDP (netif_elide_gro), but not below it.
    """
    transfer.join(left, right)
    offload(left, "a", gro=gro)
    offload(right, "b", tso=tso, gso=tso)
    with Sink(left) as sink:
        config = CONFIG.format(hook="xdp-generic", target=sink.target, sampling=1)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            before = transfer.segments(right)
            port = transfer.tcp(right, left, transfer.ADDRESSES[4][0], OCTETS)
            truth = transfer.segments(right) - before
            log = daemon.text()
        wait_until(lambda: sink.total(sourceTransportPort=port) > 0)
        counted = sink.total(sourceTransportPort=port)
        assert ("a: with GRO on, generic XDP" in log) == (gro == "on")
        assert ("ethtool -K a gro off" in log) == (gro == "on")
        assert "a: generic XDP counts a veth's super-packets (TSO, GSO) as one packet each" in log
        if tso == "on":
            assert counted < truth.sent / 3, "the warning is not about nothing"
        else:
            assert counted == truth.sent + truth.again


@pytest.mark.parametrize("looked_into", ["true", "false"])
def test_tunnel_over_a_sampled_underlay(left: Namespace, right: Namespace, tmp_path: Path, looked_into: str) -> None:
    """Super-packets of a VXLAN tunnel: each segment has the outer and the inner headers."""
    transfer.join(left, right)
    ends = ((left, "192.0.2.1", "192.0.2.2", "198.51.100.1"), (right, "192.0.2.2", "192.0.2.1", "198.51.100.2"))
    for namespace, local, remote, inner in ends:
        options = ("id", "5", "dstport", "4789", "local", local, "remote", remote)
        namespace.run("ip", "link", "add", "name", "vx0", "type", "vxlan", *options)
        namespace.run("sysctl", "-qw", "net.ipv6.conf.vx0.disable_ipv6=1")
        namespace.up("vx0", f"{inner}/24")
        namespace.run("ip", "link", "set", "dev", "vx0", "mtu", str(MTU - 50))
    left.run("ip", "neigh", "replace", "198.51.100.2", "lladdr", "02:00:00:00:00:12", "dev", "vx0")
    sends, datagrams, size = 50, 20, 1000
    with Sink(left) as sink:
        config = CONFIG.format(hook="tc", target=sink.target, sampling=1) + f"enable_tunnel_sampling = {looked_into}"
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            transfer.udp(left, "198.51.100.2", datagrams * size, size, sends)
            wait_until(lambda: daemon.show("interfaces")[0]["packets_out"] >= sends * datagrams)
            assert daemon.show("stats")["samples"]["selected"] < sends * datagrams / 2, "no super-packets: void"
        flow, headers = {"destinationTransportPort": 4789}, 28 + 8 + 14 + 28
        if looked_into == "true":
            flow, headers = {"sourceIPv4Address": "198.51.100.1", "tunnelKey": b"\0\0\x05"}, 28
        flow |= {"flowDirection": OUT, "protocolIdentifier": 17}
        wait_until(lambda: sink.total(**flow) >= sends * datagrams)
        assert sink.total(**flow) == sends * datagrams
        assert sink.total("octetDeltaCount", **flow) == sends * datagrams * (headers + size)
        assert sink.total("layer2OctetDeltaCount", **flow) == sends * datagrams * (14 + headers + size)
