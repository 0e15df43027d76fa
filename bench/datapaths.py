"""What xdpfix adds to the work of datapaths, in instructions a frame: a virtual machine whose clocks count them.

    make bench-vm PARTS=datapaths

Frames come from the kernel (BPF_F_TEST_XDP_LIVE_FRAMES), never more at once than the datapath's rings hold: it receives
all of them, which is checked. Counted is what the sending thread executes: sender, veth, XDP program, the copy into the
socket. xdpfix runs all the time, and by turns leaves the link alone,
observes it at 1:1000 and at 1:1. No time is in it: the ratios say how much work is added.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.inmachine import in_machine
from bench.results import Results

FRAMES, SENDINGS = 256, 8
# What xdpfix samples, and at which rate.
TURNS = {"left alone": ("none*", 1), "observed at 1:1000": ("a", 1000), "observed at 1:1": ("a", 1)}
CONFIG = """
[sampler]
interfaces = ["{interface}"]
[exporter]
targets = ["{target}"]
sampling = {sampling}
"""


ABOUT = (
    "What the thread that sends a 64-byte frame executes in an emulated machine: sender, veth, the datapath's XDP "
    "program, the copy into its socket. xdpfix runs all the time, and by turns leaves the link alone, observes it at "
    "1:1000 and at 1:1."
)


def measure(results: Results) -> None:
    """Inside: a figure for each datapath and rate."""
    from lib.afxdp import AfXdp
    from lib.daemon import Daemon
    from lib.netns import Namespace, veth
    from lib.programs import XDP_PASS, program, run_live
    from lib.sink import Sink
    from lib.testpmd import Testpmd
    from lib.traffic import udp_frame
    from lib.wait import wait_until
    from lib.xdpfilter import XdpFilter

    frame = udp_frame(payload=18)

    def instructions(peer: Namespace, fd: int, received: Callable[[], int]) -> float:
        spent = 0
        for _ in range(SENDINGS):
            due = received() + FRAMES
            spent += peer.call(lambda: timed(fd))
            wait_until(lambda due=due: received() >= due, what="all frames are received")
        return spent / FRAMES / SENDINGS

    def timed(fd: int) -> int:
        start = time.thread_time_ns()
        run_live(fd, frame, FRAMES)
        return time.thread_time_ns() - start

    def rates(name: str, host: Namespace, peer: Namespace, received: Callable[[], int]) -> None:
        fd = program("xdp", XDP_PASS, redirect_to=peer.ifindex("b"))

        def config(turn: str) -> str:
            return CONFIG.format(target=sink.target, interface=TURNS[turn][0], sampling=TURNS[turn][1])

        with (
            Sink(host) as sink,
            TemporaryDirectory() as folder,
            Daemon(host, Path(folder), config("left alone")).wait_ready() as daemon,
        ):
            for turn in TURNS:
                daemon.reload(config(turn))
                observes = TURNS[turn][0] == "a"
                wait_until(lambda o=observes: ("observe" in str(daemon.show("interfaces"))) == o, what=turn)
                instructions(peer, fd, received)
                results.figure(f"{turn}, {name}", "instructions a frame", [instructions(peer, fd, received)])

    with TemporaryDirectory() as folder, Namespace() as host, Namespace() as peer:
        veth(host, "a", None, peer, "b", None)
        with XdpFilter(host, "a", 53) as foreign:
            rates("xdp-filter that drops", host, peer, lambda: foreign.counts()[0])
        with AfXdp(host, "a") as application:
            rates("AF_XDP application", host, peer, lambda: application.counts()[0][0])
        with Testpmd(host, Path(folder), ["net_af_xdp0,iface=a"]) as testpmd:
            testpmd.command("start")
            rates("DPDK testpmd with net_af_xdp", host, peer, lambda: testpmd.counts()[0][0])


if __name__ == "__main__":
    in_machine("datapaths", ABOUT, measure, "modprobe -a veth sch_ingress cls_bpf")
