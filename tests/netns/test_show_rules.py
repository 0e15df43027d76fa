"""`xdpfix show rules` and the flow exporters of `show exporters --ovs`, with traffic and reloads."""

from pathlib import Path
from typing import Any

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import send, tcp_frame, udp_frame
from lib.wait import wait_until
from sampler.control.client import tell

CONFIG = """
[sampler]
interfaces = ["a"]
[exporter]
targets = ["{target}"]
sampling = 1
[[flow_exporter]]
collector_set_id = 7
targets = ["{target}"]
"""
DNS = """
[[flow_exporter.sample]]
match = "udp,tp_dst=53"
probability = 65535
obs_domain_id = 1
obs_point_id = 2
direction = "ingress"
"""
TCP = """
[[flow_exporter.sample]]
match = "tcp"
probability = 65535
"""


def shown(daemon: Daemon) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in ("exporter", "match", "samples", "packets")) for row in daemon.show("rules")]


def test_rules(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config + DNS + TCP).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 12 + [udp_frame(dport=54)] * 3)
            send(left, "a", [tcp_frame()] * 5 + [udp_frame()] * 2)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 22)
            first = [
                ("main", "", 22, 22),
                ("collector-set-7", "udp,tp_dst=53", 12, 12),
                ("collector-set-7", "tcp", 5, 5),
            ]
            assert shown(daemon) == first
            row = daemon.show("rules")[1]
            assert (row["probability"], row["direction"], row["interfaces"]) == ("65535/65535", "ingress", ["a"])
            assert (row["obs_domain_id"], row["obs_point_id"]) == (1, 2)
            ovs = daemon.show_text("exporters", "--ovs").splitlines()
            assert ovs[3] == "NXST_IPFIX_FLOW reply (xid=0x2): 1 ids"
            assert ovs[4].startswith(
                "  id   7: flows=2, current flows=2, sampled pkts=17, ipv4 ok=17, ipv6 ok=0, tx pkts="
            )

            # The other rule takes the first one's place: each keeps what it took.
            daemon.configure(config + TCP)
            tell(daemon.socket, {"reload": True})
            send(left, "a", [tcp_frame()] * 4)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 26)
            assert shown(daemon) == [("main", "", 26, 26), ("collector-set-7", "tcp", 9, 9)]
            lines = daemon.show_text("rules").splitlines()
            assert lines[1].split()[:4] == ["main", "every", "packet", "1/1"]
            assert lines[2].split()[:3] == ["collector-set-7", "tcp", "65535/65535"]

            # A flow exporter that goes and comes again has its rule's counts, while a generation knows it.
            daemon.configure(config.partition("[[")[0])
            tell(daemon.socket, {"reload": True})
            assert shown(daemon) == [("main", "", 26, 26)]
            daemon.configure(config + TCP)
            tell(daemon.socket, {"reload": True})
            send(left, "a", [tcp_frame()])
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 27)
            assert shown(daemon)[1] == ("collector-set-7", "tcp", 10, 10)
            assert daemon.show("stats")["errors"] == []
