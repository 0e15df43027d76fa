"""Interfaces whose numbers share a gate's place: each is counted on its own, one too many is refused in a sentence."""

from pathlib import Path

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import send, udp_frame
from lib.wait import wait_until
from sampler._native import lib

CONFIG = """
[sampler]
interfaces = ["t*"]
[exporter]
targets = ["{target}"]
sampling = 1
"""
APART = lib.GATE_SLOTS // 2
FIRST = 100


def add(left: Namespace, right: Namespace, number: int) -> int:
    """Make the pair tN in `left`, pN in `right`; tN's ifindex falls together with t0's."""
    name, peer, ifindex = f"t{number}", f"p{number}", FIRST + number * APART
    end = ["netns", f"/proc/self/fd/{right.fd}"]
    left.run(
        *("ip", "link", "add", "name", name, "index", str(ifindex), "type", "veth", "peer", "name", peer, *end),
        pass_fds=[right.fd],
    )
    for namespace, end_name in ((left, name), (right, peer)):
        namespace.run("ip", "link", "set", "dev", end_name, "addrgenmode", "none")
        namespace.up(end_name)
    return ifindex


def test_five_that_fall_together(left: Namespace, right: Namespace, tmp_path: Path) -> None:
    """Four find a gate and count their own packets; the fifth takes the place of one that goes."""
    indexes = [add(left, right, number) for number in range(lib.GATE_PROBES)]
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            fifth = add(left, right, lib.GATE_PROBES)
            daemon.wait_log(f"not sampled: Interface number {fifth} finds no free gate")
            for number in range(lib.GATE_PROBES):
                send(right, f"p{number}", [udp_frame(sport=1000 + number)] * (number + 1))
                send(left, f"t{number}", [udp_frame(sport=2000 + number)] * (10 + number))

            def rows() -> dict[int, tuple[int, int]]:
                shown = daemon.show("interfaces")
                return {row["ifindex"]: (row["packets_in"], row["packets_out"]) for row in shown if row["hooks"]}

            expected = {ifindex: (number + 1, 10 + number) for number, ifindex in enumerate(indexes)}
            wait_until(lambda: rows() == expected, what=str(expected))
            left.run("ip", "link", "del", "t0")
            wait_until(lambda: fifth in rows())
            send(right, "p4", [udp_frame(sport=1004)] * 7)
            wait_until(lambda: rows()[fifth] == (7, 0))
            send(right, "p3", [udp_frame(sport=1003)] * 4)
            wait_until(lambda: rows()[indexes[3]] == (8, 13))
        wait_until(lambda: sink.total(ingressInterface=fifth) == 7)
        for number, ifindex in enumerate(indexes):
            packets = number + 1 + (4 if number == 3 else 0)
            assert sink.total(sourceTransportPort=1000 + number, ingressInterface=ifindex) == packets
            assert sink.total(sourceTransportPort=2000 + number, egressInterface=ifindex) == 10 + number
