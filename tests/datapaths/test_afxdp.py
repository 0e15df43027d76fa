"""AF_XDP sockets: an application takes the frames of a link, and xdpfix sees each of them at its XDP program."""

from lib.afxdp import AfXdp
from lib.netns import send_frames
from lib.wait import wait_until
from lib.witness import IN, OUT, SENT_ON, UNTOLD, Witness

COUNT = 200


def test_an_application_that_keeps_its_frames(witness: Witness) -> None:
    with witness.wires(1) as (index,):
        with AfXdp(witness.host, "a0") as application:
            witness.wait_observed("a0", program="to_socket")
            before = witness.seen(until=0)
            send_frames(witness.peer, "b0", COUNT)
            wait_until(lambda: application.counts() == [(COUNT, 0)])
            assert witness.seen(until=before.total() + COUNT) - before == {(index, IN, SENT_ON): COUNT}
        # It ended, and its program with it: what comes now is the stack's, and seen at tc.
        witness.wait_unobserved("a0")
        before = witness.seen(until=0)
        send_frames(witness.peer, "b0", COUNT)
        assert witness.seen(until=before.total() + COUNT) - before == {(index, IN, UNTOLD): COUNT}
        assert witness.dropped(index) == 0


def test_an_application_that_forwards(witness: Witness) -> None:
    """Both ways at once. What a socket sends goes past tc: it is counted where it came in, and not where it leaves."""
    with witness.wires(2) as (first, second), AfXdp(witness.host, "a0", "a1") as application:
        witness.wait_observed("a0", "a1", program="to_socket")
        before = witness.seen(until=0)
        send_frames(witness.peer, "b0", COUNT)
        send_frames(witness.peer, "b1", COUNT // 2)
        wait_until(lambda: application.counts() == [(COUNT, COUNT // 2), (COUNT // 2, COUNT)])
        seen = witness.seen(until=before.total() + COUNT + COUNT // 2) - before
        assert seen == {(first, IN, SENT_ON): COUNT, (second, IN, SENT_ON): COUNT // 2}
        assert not any(direction == OUT for _, direction, _ in seen)
