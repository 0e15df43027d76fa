"""Open vSwitch's userspace datapath: its ports are AF_XDP sockets, or AF_PACKET sockets, for which tc sees all."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lib.netns import send_frames
from lib.ovs_forwarding import AF_PACKET, AFXDP, ForwardingSwitch
from lib.wait import wait_until
from lib.witness import IN, OUT, SENT_ON, UNTOLD, Witness

COUNT = 200
# libxdp's program for sockets, the only member of its dispatcher.
MEMBER = "xsk_def_prog"


@pytest.mark.parametrize("kind", [AFXDP, AF_PACKET])
def test_forwarding(witness: Witness, kind: str) -> None:
    with (
        TemporaryDirectory() as folder,
        witness.wires(2) as (first, second),
        ForwardingSwitch(witness.host, Path(folder), ("a0", "a1"), kind) as switch,
    ):
        if kind == AFXDP:
            witness.wait_observed("a0", "a1", program=MEMBER)
        before = witness.seen(until=0)
        send_frames(witness.peer, "b0", COUNT)
        send_frames(witness.peer, "b1", COUNT // 2)
        wait_until(lambda: switch.counts() == [(COUNT, COUNT // 2), (COUNT // 2, COUNT)])
        status = SENT_ON if kind == AFXDP else UNTOLD
        expected = {(first, IN, status): COUNT, (second, IN, status): COUNT // 2}
        if kind == AF_PACKET:
            expected |= {(second, OUT, UNTOLD): COUNT, (first, OUT, UNTOLD): COUNT // 2}
        assert witness.seen(until=before.total() + sum(expected.values())) - before == expected
