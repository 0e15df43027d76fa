"""libxdp's dispatcher with one and two programs: xdp-filter, which drops by port, and another of xdp-tools."""

from lib.traffic import send, udp_frame
from lib.witness import DROPPED, IN, PASSED, UNTOLD, Witness
from lib.xdpfilter import XdpFilter

DNS, OTHER = 53, 54
DROPS, PASSES = 200, 100
FRAMES = [udp_frame(dport=DNS)] * DROPS + [udp_frame(dport=OTHER)] * PASSES


def test_a_filter_that_drops_by_port(witness: Witness) -> None:
    with witness.wires(1) as (index,):
        expected = {(index, IN, DROPPED): DROPS, (index, IN, PASSED): PASSES}
        with XdpFilter(witness.host, "a0", DNS) as foreign:
            assert foreign.members() == ["xdpfilt_alw_udp"]
            # The only member stands in for the dispatcher's main function.
            witness.wait_observed("a0", program="xdpfilt_alw_udp")
            before = witness.seen(until=0)
            send(witness.peer, "b0", FRAMES)
            assert witness.seen(until=before.total() + len(FRAMES)) - before == expected
            assert witness.dropped(index) == DROPS
            assert foreign.counts() == (DROPS, PASSES)
            # Another dispatcher takes the place of the first: it is followed.
            foreign.add_second()
            assert foreign.members() == ["xdpfilt_alw_tcp", "xdpfilt_alw_udp"]
            witness.wait_observed("a0", program="xdp_dispatcher")
            before = witness.seen(until=0)
            send(witness.peer, "b0", FRAMES)
            assert witness.seen(until=before.total() + len(FRAMES)) - before == expected
            assert witness.dropped(index) == 2 * DROPS
            assert foreign.counts() == (2 * DROPS, 2 * PASSES)
        witness.wait_unobserved("a0")
        before = witness.seen(until=0)
        send(witness.peer, "b0", FRAMES)
        assert witness.seen(until=before.total() + len(FRAMES)) - before == {(index, IN, UNTOLD): len(FRAMES)}
