"""Packets that do not lie in one piece: headers in an skb's fragments, XDP frames of several buffers."""

import socket
from pathlib import Path

import pytest

from lib.daemon import Daemon
from lib.frames import FRAMES
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import udp_frame
from lib.tun import IFF_NAPI, IFF_NAPI_FRAGS, IFF_TAP, Tun, pieces, vnet_header
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["{name}"]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = 1
"""
JUMBO = 9000
ETHERNET = 14
PACKET_VNET_HDR = 15  # <linux/if_packet.h>
SOL_PACKET = 263


@pytest.mark.parametrize("hook", ["tc", "xdp-generic"])
@pytest.mark.parametrize(("first", "rest"), [(14, 20), (15, 7), (34, 1000)])
def test_headers_in_fragments(namespace: Namespace, tmp_path: Path, hook: str, first: int, rest: int) -> None:
    """Every kind of frame arrives in one piece and in fragments: each flow counts both, whatever the cuts."""
    frames = [frame for frame in FRAMES.values() if len(pieces(frame, first, rest)) <= 17]
    with Tun(namespace, "tap0", IFF_TAP | IFF_NAPI | IFF_NAPI_FRAGS) as tap, Sink(namespace) as sink:
        namespace.run("ethtool", "-K", "tap0", "gro", "off")
        config = CONFIG.format(name="tap0", hook=hook, target=sink.target)
        with Daemon(namespace, tmp_path, config).wait_ready() as daemon:
            for frame in frames:
                tap.write(frame)
                tap.write(*pieces(frame, first, rest))
            wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] == 2 * len(frames))
            assert daemon.show("stats")["samples"]["lost_unreadable"] == 0
        wait_until(lambda: sink.total() == 2 * len(frames))
        assert len(sink.records) > len(frames) / 2
        odd = [record for record in sink.records if int(record.get("packetDeltaCount")) % 2]
        assert not odd, "the fragmented one is in another flow"


def jumbo_frames(namespace: Namespace, name: str, frame: bytes, count: int, linear: int) -> None:
    """Send frames of which the kernel lays only `linear` octets into the skb's linear part."""
    with namespace.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.bind((name, 0))
        for _ in range(count):
            sock.send(vnet_header(header_octets=linear) + frame)


@pytest.mark.parametrize("linear", [ETHERNET, 0], ids=["headers in fragments", "linear"])
@pytest.mark.parametrize("hook", ["tc", "xdp", "xdp-generic"])
def test_jumbo_frames(wire: tuple[Namespace, Namespace], tmp_path: Path, hook: str, linear: int) -> None:
    """MTU 9000 in both directions: native XDP gets them in several buffers."""
    left, right = wire
    left.run("ip", "link", "set", "dev", "a", "mtu", str(JUMBO))
    right.run("ip", "link", "set", "dev", "b", "mtu", str(JUMBO))
    incoming = udp_frame(payload=JUMBO - 28)
    outgoing = udp_frame("2001:db8::1", "2001:db8::2", payload=JUMBO - 48)
    with Sink(left) as sink:
        config = CONFIG.format(name="a", hook=hook, target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            jumbo_frames(right, "b", incoming, 30, linear)
            jumbo_frames(left, "a", outgoing, 20, linear)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 50)
            assert daemon.show("stats")["samples"]["lost_unreadable"] == 0
        wait_until(lambda: sink.total() == 50)
        for direction, source, count in ((0, "198.51.100.2", 30), (1, "2001:db8::1", 20)):
            key = {"flowDirection": direction, "sourceTransportPort": 1024, "destinationTransportPort": 53}
            address = "sourceIPv6Address" if ":" in source else "sourceIPv4Address"
            assert sink.total(**key | {address: source}) == count
            assert sink.total("octetDeltaCount", **key) == count * JUMBO
            assert sink.total("layer2OctetDeltaCount", **key) == count * (JUMBO + ETHERNET)
