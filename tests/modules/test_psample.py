"""Samples of the kernel's psample: tc's action at ingress and egress, a tunnel's, Open vSwitch's, and those lost."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from statistics import NormalDist

from lib import ovs_flows
from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.traffic import send, udp_frame
from lib.wait import wait_until

MODULES = ("act_sample", "sch_ingress", "cls_matchall", "vxlan", "openvswitch")
CONFIG = """
[sampler]
[[flow_exporter]]
collector_set_id = 1
targets = ["{target}"]
profile = "full"
"""
SOURCE = """
[[psample]]
group = {group}
exporter = 1
obs_domain_id = {group}
obs_point_id = {point}
receive_buffer = {buffer}
"""
FALSE_ALARM = 1e-6
HERE, THERE = "192.0.2.1", "192.0.2.2"
# Groups.
INGRESS, EGRESS, TENTH, TUNNEL, LOST, SWITCH, HALF = 10, 11, 12, 13, 14, 20, 21
SMALL = {LOST: 1 << 15}


RULE = """
[[flow_exporter.sample]]
match = "udp"
probability = 65535
interfaces = ["a"]
"""


def config(sink: Sink, rule: str = "") -> str:
    groups = (INGRESS, EGRESS, TENTH, TUNNEL, LOST, SWITCH, HALF)
    sources = (SOURCE.format(group=group, point=100 + group, buffer=SMALL.get(group, 1 << 24)) for group in groups)
    return CONFIG.format(target=sink.target) + rule + "".join(sources)


def tc_sample(namespace: Namespace, name: str, direction: str, rate: int, group: int, *more: str) -> None:
    """Have tc's action sample every packet of the link, in place of what it had."""
    namespace.run("tc", "qdisc", "replace", "dev", name, "clsact")
    namespace.run("tc", "filter", "delete", "dev", name, direction)
    words = ("action", "sample", "rate", str(rate), "group", str(group), *more)
    namespace.run("tc", "filter", "add", "dev", name, direction, "matchall", *words)


@contextmanager
def datapath(namespace: Namespace, name: str) -> Iterator[int]:
    """Open vSwitch's kernel datapath with one port, number 1, without its daemon; its ifindex."""
    namespace.run("ovs-dpctl", "add-dp", "dp0", name)
    try:
        yield namespace.ifindex("dp0")
    finally:
        namespace.run("ovs-dpctl", "del-dp", "dp0")


def unload() -> None:
    """Take psample out of the kernel, as soon as what other tests had made is gone."""

    def gone() -> bool:
        command = ["modprobe", "--remove", "--quiet", "act_sample", "openvswitch", "psample"]
        subprocess.run(command, capture_output=True, check=False)
        return not Path("/sys/module/psample").exists()

    wait_until(gone, what="psample unloaded")


def messages(daemon: Daemon, group: int) -> dict[str, int]:
    counts: dict[str, int] = daemon.show("stats")["psample"][str(group)]
    return counts


def wait_samples(daemon: Daemon, group: int, count: int) -> None:
    wait_until(lambda: messages(daemon, group)["samples"] >= count, what=f"{count} samples of group {group}")


def test_psample(tmp_path: Path) -> None:
    """One start for all, since that is what takes time in a machine."""
    unload()
    with Namespace() as here, Namespace() as there, Sink(here) as sink:
        here.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        there.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        veth(here, "a", f"{HERE}/24", there, "b", f"{THERE}/24")
        with Daemon(here, tmp_path, config(sink)).wait_ready() as daemon:
            daemon.wait_log("psample: this kernel has not loaded its module")
            subprocess.run(["modprobe", "act_sample"], check=True)
            daemon.wait_log(f"psample: samples of group {INGRESS}")
            expected = check_tc(daemon, here, there)
            expected |= check_lost(daemon, here, there)
            expected |= check_tunnel(daemon, here, there)
            if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 11):
                expected |= check_switch(daemon, here, there)
            expected[INGRESS, 100 + INGRESS, 0] += check_module(daemon, here, there)
            rows = {row["match"]: row for row in daemon.show("rules")}
            assert rows[f"psample group {INGRESS}"]["probability"] == "1/1"
            assert rows[f"psample group {TENTH}"]["probability"] == "1/10"
            stats = daemon.show("stats")
            assert stats["errors"] == []
            # One rule more: sources go on, and what psample and our own program both sample is told.
            assert len(daemon.reload(config(sink, RULE))) == 1
            daemon.wait_log(f"a (ingress) is sampled by psample group {INGRESS} and by xdpfix itself")
            assert daemon.show("stats")["psample"] == stats["psample"]
            expected[INGRESS, 100 + INGRESS, 0] += check_exporters(daemon, there, sink)
            daemon.stop()
        for (domain, point, direction), packets in expected.items():
            mine = {"observationPointId": point, "flowDirection": direction}
            wait_until(lambda m=mine, p=packets: sink.total(**m) >= p)
            assert sink.total(**mine) == packets, (domain, point)


def check_tc(daemon: Daemon, here: Namespace, there: Namespace) -> dict[tuple[int, int, int], int]:
    """All packets, at 1 in 1 with the frame cut, both ways; then 1 in 10."""
    frame = udp_frame(payload=500)
    tc_sample(here, "a", "ingress", 1, INGRESS, "trunc", "64")
    tc_sample(here, "a", "egress", 1, EGRESS)
    send(there, "b", [frame] * 40)
    send(here, "a", [frame] * 30)
    wait_samples(daemon, INGRESS, 40)
    wait_samples(daemon, EGRESS, 30)
    assert messages(daemon, INGRESS)["cut"] == 40
    flows = {flow["direction"]: flow for flow in daemon.show("flows")}
    assert (flows["in"]["packets"], flows["in"]["octets"]) == (40, 40 * (len(frame) - 14))
    assert (flows["out"]["packets"], flows["out"]["interface"]) == (30, "a")
    tc_sample(here, "a", "ingress", 10, TENTH)
    sent = 4000
    send(there, "b", [udp_frame(dport=1000 + i) for i in range(8)] * (sent // 8))
    # Each packet is drawn by itself: the count is binomial.
    mean, deviation = sent / 10, sqrt(sent * 0.1 * 0.9)
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / 2) * deviation
    wait_samples(daemon, TENTH, int(mean - bound))
    here.run("tc", "qdisc", "del", "dev", "a", "clsact")
    count = messages(daemon, TENTH)["samples"]
    assert abs(count - mean) <= bound
    return {(INGRESS, 100 + INGRESS, 0): 40, (EGRESS, 100 + EGRESS, 1): 30, (TENTH, 100 + TENTH, 0): 10 * count}


def check_lost(daemon: Daemon, here: Namespace, there: Namespace) -> dict[tuple[int, int, int], int]:
    """A reader that stands still loses, and says how much: to the packet."""
    sent = 600
    tc_sample(here, "a", "ingress", 1, LOST)
    daemon.process.send_signal(signal.SIGSTOP)
    send(there, "b", [udp_frame()] * sent)
    daemon.process.send_signal(signal.SIGCONT)
    wait_until(lambda: sum(messages(daemon, LOST)[name] for name in ("samples", "lost_socket")) >= sent)
    here.run("tc", "qdisc", "del", "dev", "a", "clsact")
    counts = messages(daemon, LOST)
    assert counts["lost_socket"] > 0
    assert counts["samples"] + counts["lost_socket"] == sent
    daemon.wait_log("samples of psample lost (lost_socket)")
    return {(LOST, 100 + LOST, 0): counts["samples"]}


def check_tunnel(daemon: Daemon, here: Namespace, there: Namespace) -> dict[tuple[int, int, int], int]:
    """A vxlan device in collect-metadata mode: each packet brings its tunnel, and psample tells it."""
    here.run("ip", "link", "add", "vx0", "type", "vxlan", "external", "dstport", "4789")
    there.run("ip", "link", "add", "vx0", "type", "vxlan", "id", "77", "dstport", "4789", "remote", HERE)
    for namespace in (here, there):
        namespace.run("ip", "link", "set", "dev", "vx0", "addrgenmode", "none", "up")
    # The link must be known before its first packet.
    wait_until(lambda: any(row["name"] == "vx0" for row in daemon.show("tunnels")["netdevs"]))
    tc_sample(here, "vx0", "ingress", 1, TUNNEL)
    send(there, "vx0", [udp_frame(dport=2000)] * 5)
    wait_samples(daemon, TUNNEL, 5)
    (flow,) = [flow for flow in daemon.show("flows") if flow.get("destination_port") == 2000]
    assert (flow["interface"], flow["packets"], flow["tunnel"], flow["tunnel_key"]) == ("vx0", 5, "vxlan", 77)
    assert (flow["tunnel_source"], flow["tunnel_destination"]) == (THERE, HERE)
    return {(TUNNEL, 100 + TUNNEL, 0): 5}


def check_switch(daemon: Daemon, here: Namespace, there: Namespace) -> dict[tuple[int, int, int], int]:
    """Open vSwitch's action, as its release 3.4 and later write it: domain and point are in the cookie."""
    veth(here, "p", None, there, "q", None)
    cookies = {group: (500).to_bytes(4, "big") + (200 + group).to_bytes(4, "big") for group in (SWITCH, HALF)}
    actions = ovs_flows.psample(SWITCH, cookies[SWITCH])
    actions += ovs_flows.sample(32768 * 65537, ovs_flows.psample(HALF, cookies[HALF]))
    sent = 400
    with datapath(here, "p") as number:
        here.call(lambda: ovs_flows.add_flow(number, 1, actions))
        send(there, "q", [udp_frame(dport=3000)] * sent)
        wait_samples(daemon, SWITCH, sent)
    bound = NormalDist().inv_cdf(1 - FALSE_ALARM / 2) * sqrt(sent) / 2
    count = messages(daemon, HALF)["samples"]
    assert abs(count - sent / 2) <= bound
    assert messages(daemon, SWITCH)["without_cookie"] == messages(daemon, SWITCH)["other_cookie"] == 0
    rows = {row["match"]: row for row in daemon.show("rules")}
    half = rows[f"psample group {HALF}"]
    assert (half["obs_domain_id"], half["obs_point_id"]) == (500, 200 + HALF)
    assert half["probability"] == "2147516417/4294967296"
    (port,) = {flow["interface"] for flow in daemon.show("flows") if flow.get("destination_port") == 3000}
    assert port == "p"
    # The fraction that is left of the sum stays in the flow.
    return {(500, 200 + SWITCH, 0): sent, (500, 200 + HALF, 0): int(count * 2**32 / 2147516417)}


def check_exporters(daemon: Daemon, there: Namespace, sink: Sink) -> int:
    """Another exporter takes the groups over, and the first comes back: each counts what it was given."""
    other = config(sink).replace("collector_set_id = 1", "collector_set_id = 2").replace("exporter = 1", "exporter = 2")
    for number, text in enumerate((other, config(sink)), 1):
        before = messages(daemon, INGRESS)["samples"]
        daemon.reload(text)
        send(there, "b", [udp_frame()] * number)
        wait_samples(daemon, INGRESS, before + number)
        assert daemon.show("stats")["errors"] == []
        (row,) = [row for row in daemon.show("rules") if row["match"].startswith("psample")]
        assert (row["exporter"], row["samples"]) == (("collector-set-2", 1), ("collector-set-1", 2))[number - 1]
    return 3


def check_module(daemon: Daemon, here: Namespace, there: Namespace) -> int:
    """The module goes and comes, with other numbers for its family: packets sampled after that."""
    here.run("tc", "qdisc", "del", "dev", "vx0", "clsact")
    unload()
    wait_until(lambda: daemon.text().count("has not loaded its module") == 2)
    wait_until(lambda: not daemon.show("exporters")["collector-set-1"]["psample"][0]["receiving"])
    before = messages(daemon, INGRESS)["samples"]
    subprocess.run(["modprobe", "act_sample"], check=True)
    wait_until(lambda: daemon.show("exporters")["collector-set-1"]["psample"][0]["receiving"])
    tc_sample(here, "a", "ingress", 1, INGRESS)
    send(there, "b", [udp_frame()] * 7)
    wait_samples(daemon, INGRESS, before + 7)
    return 7
