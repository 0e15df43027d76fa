"""Real VLAN links, of the module 8021q: what is seen of a tag on the link below and on the VLAN link itself."""

from pathlib import Path

import pytest

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import LEFT_MAC, send, udp_frame
from lib.wait import wait_until

MODULES = ("8021q",)

CONFIG = """
[sampler]
interfaces = [{interfaces}]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = 1
"""
IN, OUT = 0, 1
# (Ethernet header's length, VLAN id)
PLAIN, TAGGED, STACKED = (14, None), (18, 100), (22, 200)


def add_vlan(namespace: Namespace, lower: str, name: str, number: int, protocol: str = "802.1Q") -> None:
    """A VLAN link over another, which takes frames for our MAC address."""
    namespace.run(
        "ip", "link", "add", "link", lower, "name", name, "type", "vlan", "protocol", protocol, "id", f"{number}"
    )
    # Not in one call with "up", which would come first: no router solicitations, no DAD.
    namespace.run("ip", "link", "set", "dev", name, "address", LEFT_MAC, "addrgenmode", "none")
    namespace.up(name)


def flows(sink: Sink) -> list[tuple[object, ...]]:
    """Observing interface, direction, Ethernet header's length, VLAN id and packets of each flow."""
    rows = []
    for record in sink.records:
        direction = record.get("flowDirection")
        interface = record.get("ingressInterface" if direction == IN else "egressInterface")
        shape = (record.get("ethernetHeaderLength"), record.get("vlanId"))
        rows.append((interface, direction, shape, record.get("packetDeltaCount")))
    return sorted(rows, key=str)


@pytest.mark.parametrize(("hook", "offload"), [("tc", "on"), ("tc", "off"), ("xdp", "off"), ("xdp-generic", "off")])
def test_seen_from_below_and_from_above(
    wire: tuple[Namespace, Namespace], tmp_path: Path, hook: str, offload: str
) -> None:
    """One tag: on the link below the frame has it, beside it or inside; on the VLAN link it has not."""
    left, right = wire
    for namespace, name in ((left, "a"), (right, "b")):
        namespace.run("ethtool", "-K", name, "txvlan", offload, "rxvlan", offload)
        add_vlan(namespace, name, f"{name}.100", 100)
    with Sink(left) as sink:
        config = CONFIG.format(interfaces='"a"' if "xdp" in hook else '"a", "a.100"', hook=hook, target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            if hook == "tc":
                daemon.wait_log("a.100 (vlan) carries its packets over a")
            send(right, "b.100", [udp_frame(sport=1000)] * 10)
            send(left, "a.100", [udp_frame(sport=2000)] * 5)
            total = 15 if "xdp" in hook else 30
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == total)
        wait_until(lambda: sink.total() == total)
        below, above = left.ifindex("a"), left.ifindex("a.100")
        expected = [(below, IN, TAGGED, 10), (below, OUT, TAGGED, 5)]
        if hook == "tc":
            expected += [(above, IN, PLAIN, 10), (above, OUT, PLAIN, 5)]
        assert flows(sink) == sorted(expected, key=str)
        for record in sink.records:
            shape = record.get("ethernetHeaderLength")
            assert record.get("layer2OctetDeltaCount") == (shape + 128) * record.get("packetDeltaCount")


def test_two_tags(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """802.1Q over 802.1ad: from below the outer tag's VLAN id, in the middle the inner one's, above none."""
    left, right = wire
    for namespace, name in ((left, "a"), (right, "b")):
        add_vlan(namespace, name, f"{name}s", 200, "802.1ad")
        add_vlan(namespace, f"{name}s", f"{name}c", 100)
    with Sink(left) as sink:
        config = CONFIG.format(interfaces='"a", "as", "ac"', hook="tc", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(right, "bc", [udp_frame()] * 10)
            send(left, "ac", [udp_frame()] * 5)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 45)
        wait_until(lambda: sink.total() == 45)
        shapes = {"a": STACKED, "as": TAGGED, "ac": PLAIN}
        expected = [
            (left.ifindex(name), direction, shape, count)
            for name, shape in shapes.items()
            for direction, count in ((IN, 10), (OUT, 5))
        ]
        assert flows(sink) == sorted(expected, key=str)


def test_vlan_links_are_followed(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """A VLAN link that comes and goes under a running xdpfix is sampled while it is there."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(interfaces='"a.*"', hook="auto", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:

            def sampled() -> set[str]:
                return {row["name"] for row in daemon.show("interfaces") if row["state"] == "sampled"}

            add_vlan(right, "b", "b.7", 7)
            add_vlan(left, "a", "a.7", 7)
            wait_until(lambda: sampled() == {"a.7"})
            send(right, "b.7", [udp_frame()] * 8)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 8)
            left.run("ip", "link", "delete", "a.7")
            wait_until(lambda: sampled() == set())
            assert "ERROR" not in daemon.text()
        wait_until(lambda: sink.total() == 8)
