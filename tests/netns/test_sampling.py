"""Sampling on live links: estimates within 4.892 standard deviations of the truth, a false alarm in 10^6 runs."""

import math
from pathlib import Path

import pytest

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import link_counters, send, tcp_frame, udp_frame
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
hook = "{hook}"
ring_pages = 4096  # on a loaded machine the data thread comes late
[exporter]
targets = ["{target}"]
sampling = {sampling}
"""
Z = 4.892  # two-sided normal quantile of 1e-6
IN, OUT = 60_000, 40_000


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("sampling", [1, 2, 10, 100])
def test_estimates(wire: tuple[Namespace, Namespace], tmp_path: Path, hook: str, sampling: int) -> None:
    """Packets and octets, in and out; at 1:1 exact. The observed packets are exact at every rate."""
    left, right = wire
    with Sink(left) as sink:
        with Daemon(left, tmp_path, CONFIG.format(hook=hook, target=sink.target, sampling=sampling)).wait_ready() as d:
            incoming, outgoing = udp_frame(), tcp_frame(payload=500)
            send(right, "b", (incoming for _ in range(IN)))
            send(left, "a", (outgoing for _ in range(OUT)))
            counters = link_counters(left, "a")
            truth = {0: counters["rx_packets"], 1: counters["tx_packets"]}
            observed = d.show("stats")["packets_observed"]
            assert list(observed.values()) == [truth[0], truth[1]]
            assert d.stop() == 0
        # A flow a direction, which left at the end: the sink reads its socket by a thread.
        wait_until(lambda: all(sink.total(flowDirection=direction) for direction in truth), what="both flows arrive")
        p = 1 / sampling
        for direction, octets in ((0, 128), (1, 540)):
            bound = Z * math.sqrt(truth[direction] * (1 - p) / p)
            estimate = sink.total(flowDirection=direction)
            assert abs(estimate - truth[direction]) <= bound
            assert sink.total("octetDeltaCount", flowDirection=direction) == estimate * octets
