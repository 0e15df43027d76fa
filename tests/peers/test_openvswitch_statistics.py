"""`xdpfix show exporters --ovs` beside `ovs-ofctl dump-ipfix-bridge`: the same frames, the same figures and lines."""

import re
from pathlib import Path

from lib.daemon import Daemon
from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.frames import FRAMES
from lib.netns import Namespace, veth
from lib.ovs import BRIDGE, OpenVSwitch
from lib.sink import Sink
from lib.traffic import send, udp_frame
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
[exporter]
targets = ["{target}"]
sampling = 1
profile = "ovs"
cache_active_timeout = 4200
cache_idle_timeout = 4200
enable_output_sampling = false
"""
BFD = udp_frame(dport=3784)
# Seen otherwise by each (lib.ovs_differences): ports behind more headers than we follow, and the protocol of what
# follows a first IPv6 fragment, which is another one (44) to Open vSwitch and so among its errors.
DIFFERENT = ("ipv6 long chain", "ipv6 later fragment", "ipv6 middle fragment")
SAME = [frame for name, frame in FRAMES.items() if name not in DIFFERENT]
# Both see two of each: the second finds its flow in the cache.
TRAFFIC = [*SAME, *SAME, BFD]
# Open vSwitch has sent templates, and a message a record; xdpfix many records a message.
SENT = re.compile(r"tx pkts=\d+")


def test_figures_and_lines_are_open_vswitchs(tmp_path: Path) -> None:
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None)
        with Sink(left) as sink, OpenVSwitch(left, tmp_path, "a") as switch:
            switch.sample_to(sink.target)
            switch.replay(right, "b", TRAFFIC)
            wait_until(lambda: switch.sampled() == len(TRAFFIC) - 1, 30, "all but BFD sampled")
            theirs = switch._ofctl("dump-ipfix-bridge", BRIDGE)
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None)
        with Sink(left) as sink, Daemon(left, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:
            send(right, "b", TRAFFIC)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == len(TRAFFIC))
            ours = daemon.show_text("exporters", "--ovs")
    assert SENT.sub("", ours) == SENT.sub("", theirs)
    assert len(SENT.findall(ours)) == 1
