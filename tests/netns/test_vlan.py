"""VLAN tags that the kernel holds beside the frame: seen as those in it, and the same flow."""

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from lib import transfer
from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.programs import TC_UNSPEC, program, vlan_pusher
from lib.sink import Sink
from lib.tc import attached
from lib.traffic import send, udp_frame
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["{name}"]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = 1
"""
CUSTOMER, SERVICE = 0x8100, 0x88A8
INNER, OUTER = (CUSTOMER, 5 << 13 | 100), (SERVICE, 200)


def tagged(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """The frame with these tags in it, the innermost first."""
    for tpid, tci in tags:
        frame = frame[:12] + tpid.to_bytes(2, "big") + tci.to_bytes(2, "big") + frame[12:]
    return frame


def pushing(namespace: Namespace, name: str, *tags: tuple[int, int]) -> AbstractContextManager[None]:
    """Every packet that leaves by the link gets these tags, the innermost first."""
    return attached(namespace, name, "egress", vlan_pusher(*tags))


def lengths(sink: Sink) -> list[tuple[object, object, object]]:
    """Ethernet header length, VLAN id and packets of each flow."""
    return sorted(
        (record.get("ethernetHeaderLength"), record.get("vlanId"), record.get("packetDeltaCount"))
        for record in sink.records
    )


ONE, TWO = (INNER,), (INNER, OUTER)


@pytest.mark.parametrize(("tags", "flow"), [(ONE, (18, 100, 20)), (TWO, (22, 200, 20))], ids=["one", "two"])
@pytest.mark.parametrize(("hook", "txvlan"), [("tc", "on"), ("tc", "off"), ("xdp", "off"), ("xdp-generic", "off")])
def test_same_flow_as_in_the_frame(
    wire: tuple[Namespace, Namespace],
    tmp_path: Path,
    hook: str,
    txvlan: str,
    tags: tuple[tuple[int, int], ...],
    flow: tuple[int, int, int],
) -> None:
    """10 frames that bring their tags and 10 that get them on the way are one flow.

    With txvlan on, a veth hands the outermost tag over beside the frame.
    """
    left, right = wire
    right.run("ethtool", "-K", "b", "txvlan", txvlan, "tx-vlan-stag-hw-insert", txvlan)
    with Sink(left) as sink:
        config = CONFIG.format(name="a", hook=hook, target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(right, "b", [tagged(udp_frame(), *tags)] * 10)
            with pushing(right, "b", *tags):
                send(right, "b", [udp_frame()] * 10)
            wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] == 20)
        wait_until(lambda: sink.total() == 20)
        assert lengths(sink) == [flow]
        assert sink.total("layer2OctetDeltaCount") == 20 * (len(udp_frame()) + 4 * len(tags))
        assert sink.total("octetDeltaCount") == 20 * (len(udp_frame()) - 14)


@pytest.mark.parametrize("tags", [ONE, TWO], ids=["one", "two"])
def test_super_packets(left: Namespace, right: Namespace, tmp_path: Path, tags: tuple[tuple[int, int], ...]) -> None:
    """Each packet of a tagged super-packet has its tags on the wire, beside the frame or in it."""
    transfer.join(left, right)
    sends, datagrams, size = 50, 20, 1000
    with Sink(left) as sink:
        config = CONFIG.format(name="a", hook="tc", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon, pushing(right, "b", *tags):
            transfer.udp(right, "192.0.2.1", datagrams * size, size, sends)
            wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] >= sends * datagrams)
            assert daemon.show("stats")["samples"]["selected"] < sends * datagrams / 2, "no super-packets: void"
        wait_until(lambda: sink.total() >= sends * datagrams)
        assert sink.total() == sends * datagrams
        assert sink.total("octetDeltaCount") == sends * datagrams * (28 + size)
        assert sink.total("layer2OctetDeltaCount") == sends * datagrams * (14 + 4 * len(tags) + 28 + size)


@pytest.mark.parametrize("hook", ["xdp", "xdp-generic"])
def test_xdp_sees_no_tag_beside_the_frame_and_says_so(
    wire: tuple[Namespace, Namespace], tmp_path: Path, hook: str
) -> None:
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(name="a", hook=hook, target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon, pushing(right, "b", *ONE):
            send(right, "b", [udp_frame()] * 10)
            wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] == 10)
            daemon.wait_log("a: a veth's peer hands VLAN tags over beside the frame, where XDP does not see them")
            daemon.wait_log("`ethtool -K PEER txvlan off`")
        wait_until(lambda: sink.total() == 10)
        assert lengths(sink) == [(14, None, 10)]


def test_at_egress(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Tagged frames that are forwarded leave with the tag beside them; those that a socket sends have it inside."""
    left, right = wire
    veth(left, "c", None, right, "d", None)
    redirect = program("tc", TC_UNSPEC, redirect_to=left.ifindex("c"))
    with attached(left, "a", "ingress", redirect), Sink(left) as sink:
        config = CONFIG.format(name="c", hook="tc", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(left, "c", [tagged(udp_frame(), *TWO)] * 10)
            with pushing(right, "b", *TWO):
                send(right, "b", [udp_frame()] * 10)
            wait_until(lambda: daemon.show("interfaces")[0]["packets_out"] == 20)
        wait_until(lambda: sink.total() == 20)
        assert lengths(sink) == [(22, 200, 20)]
        assert {record.get("flowDirection") for record in sink.records} == {1}
