"""The ledger under overload: sent = received + lost, to the packet, and every loss has a name."""

import signal
from pathlib import Path
from typing import Any

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import link_counters, send, udp_frame
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
{sampler}
[exporter]
targets = ["{target}"]
sampling = 1
"""
SENT = 60_000


def whole(stats: dict[str, Any]) -> dict[str, Any]:
    assert stats["errors"] == []
    return stats


def test_stalled_consumer(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """A ring of four pages, a stopped reader: most batches are lost, and each sample is accounted for."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(sampler="ring_pages = 4", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            daemon.process.send_signal(signal.SIGSTOP)
            frame = udp_frame()
            send(right, "b", (frame for _ in range(SENT)))
            arrived = link_counters(left, "a")["rx_packets"]
            daemon.process.send_signal(signal.SIGCONT)
            send(right, "b", [frame] * 100)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == arrived + 100)
            wait_until(lambda: daemon.show("stats")["ring"]["pending"] == 0)
            stats = whole(daemon.show("stats"))
            ring, main = stats["ring"], stats["exporters"]["main"]
            assert stats["samples"]["selected"] == arrived + 100
            assert ring["lost"] > arrived / 2
            assert ring["received"] + ring["lost"] == arrived + 100
            assert main["received"] == ring["received"]
            assert main["represented"] == main["cached"] + main["exported"] == ring["received"]
            assert daemon.stop() == 0
        wait_until(lambda: sink.total() == ring["received"])


def test_sample_budget(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Over the budget samples are dropped before the ring, under a name of their own."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(sampler="sample_budget = 50", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            frame = udp_frame()
            send(right, "b", (frame for _ in range(5000)))
            arrived = link_counters(left, "a")["rx_packets"]
            wait_until(lambda: daemon.show("stats")["ring"]["pending"] == 0)
            stats = whole(daemon.show("stats"))
            assert stats["samples"]["selected"] == arrived
            assert stats["samples"]["lost_budget"] > 0
            assert stats["samples"]["lost_budget"] + stats["ring"]["received"] == arrived
            daemon.wait_log("samples lost (lost_budget)")
        wait_until(lambda: sink.total() == stats["ring"]["received"])
