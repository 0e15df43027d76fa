"""DPDK's AF_XDP driver: testpmd on veths, by a member of a libxdp dispatcher that redirects to its sockets."""

from pathlib import Path

from lib.netns import send_frames
from lib.testpmd import Testpmd
from lib.wait import wait_until
from lib.witness import IN, SENT_ON, Witness

COUNT = 200
# libxdp's program for sockets, the only member of its dispatcher.
MEMBER = "xsk_def_prog"


def test_receive_only(witness: Witness, tmp_path: Path) -> None:
    with witness.wires(1) as (index,), Testpmd(witness.host, tmp_path, ["net_af_xdp0,iface=a0"]) as testpmd:
        witness.wait_observed("a0", program=MEMBER)
        before = witness.seen(until=0)
        # Its core polls from here on, and takes half of an emulated machine.
        testpmd.command("start")
        send_frames(witness.peer, "b0", COUNT)
        wait_until(lambda: testpmd.counts() == [(COUNT, 0)])
        testpmd.command("stop")
        assert witness.seen(until=before.total() + COUNT) - before == {(index, IN, SENT_ON): COUNT}


def test_forwarding(witness: Witness, tmp_path: Path) -> None:
    devices = ["net_af_xdp0,iface=a0", "net_af_xdp1,iface=a1"]
    with witness.wires(2) as (first, second), Testpmd(witness.host, tmp_path, devices, "io") as testpmd:
        witness.wait_observed("a0", "a1", program=MEMBER)
        before = witness.seen(until=0)
        testpmd.command("start")
        send_frames(witness.peer, "b0", COUNT)
        send_frames(witness.peer, "b1", COUNT // 2)
        wait_until(lambda: testpmd.counts() == [(COUNT, COUNT // 2), (COUNT // 2, COUNT)])
        testpmd.command("stop")
        expected = {(first, IN, SENT_ON): COUNT, (second, IN, SENT_ON): COUNT // 2}
        assert witness.seen(until=before.total() + COUNT + COUNT // 2) - before == expected
