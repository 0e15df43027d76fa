"""Attaching to real links, in namespaces: what is counted where, beside whom, and what is left behind."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from lib.netns import Namespace, send_frames
from lib.programs import TC_OK, TC_SHOT, TC_UNSPEC, XDP_PASS, Counter, program
from lib.tc import ETH_P_IP, HAS_TCX, WAYS, add_filter, link_tcx
from lib.wait import wait_until
from sampler._native import lib
from sampler.errors import StartError
from sampler.kernel import clsact, offloads
from sampler.kernel.attach import TC, Attacher, Hook, InterfaceGoneError, Place

IN, OUT, XDP = "sample_tc_ingress", "sample_tc_egress", "sample_xdp"


BOTH = ("ingress", "egress")


@contextlib.contextmanager
def attached(namespace, programs, hook="tc", name="xf0", ways=BOTH, tcx=True):
    """Attached in these directions; gives the attachments."""
    attacher, attachments = Attacher(programs, tcx=tcx), []
    try:
        with namespace.enter():
            for way in ways:
                attachments.append(attacher.attach(namespace.ifindex(name), name, way, Place(hook), "veth"))
        yield attachments
    finally:
        with namespace.enter():
            for attachment in attachments:
                attachment.close()


def counted(programs, here, there, sent=3, answered=5):
    """Send frames both ways; give how many each program counted."""
    before = programs.counts()
    send_frames(there, "xf1", sent)
    send_frames(here, "xf0", answered)
    return {name: value - before[name] for name, value in programs.counts().items()}


@pytest.mark.parametrize(
    ("hook", "tcx", "hooks", "expected"),
    [
        ("tc", True, [("ingress", "tcx"), ("egress", "tcx")], {IN: 3, OUT: 5, XDP: 0}),
        ("tc", False, [("ingress", "clsact"), ("egress", "clsact")], {IN: 3, OUT: 5, XDP: 0}),
        ("xdp", True, [("ingress", "xdp"), ("egress", "tcx")], {IN: 0, OUT: 5, XDP: 3}),
        ("xdp", False, [("ingress", "xdp"), ("egress", "clsact")], {IN: 0, OUT: 5, XDP: 3}),
        ("xdp-generic", True, [("ingress", "xdp-generic"), ("egress", "tcx")], {IN: 0, OUT: 5, XDP: 3}),
    ],
)
def test_every_frame_once_in_its_direction(pair, programs, hook, tcx, hooks, expected):
    here, there = pair
    with attached(here, programs, hook, tcx=tcx) as attachments:
        if not HAS_TCX:
            hooks = [(direction, kind.replace("tcx", "clsact")) for direction, kind in hooks]
        assert [attachment.hook for attachment in attachments] == [Hook(*entry) for entry in hooks]
        assert counted(programs, here, there) == expected
    assert counted(programs, here, there) == {IN: 0, OUT: 0, XDP: 0}
    assert "clsact" not in here.run("tc", "qdisc", "show", "dev", "xf0").stdout
    with here.enter():
        attachments[0].close()  # once more: nothing happens


@pytest.mark.parametrize("tcx", WAYS)
def test_from_within_a_running_event_loop(pair, programs, tcx):
    """As the service does: the asyncio thread attaches, and clsact's netlink calls run a loop of their own."""
    here, there = pair

    async def attach_and_count():
        with attached(here, programs, tcx=tcx):
            return counted(programs, here, there)

    assert asyncio.run(attach_and_count()) == {IN: 3, OUT: 5, XDP: 0}


def test_environment_forces_clsact(pair, programs, monkeypatch):
    monkeypatch.setenv("XDPFIX_NO_TCX", "1")
    with attached(pair[0], programs) as attachments:
        assert {attachment.hook.kind for attachment in attachments} == {"clsact"}


@pytest.mark.parametrize("tcx", WAYS)
def test_only_the_enabled_directions(pair, programs, tcx):
    here, there = pair
    with attached(here, programs, tcx=tcx, ways=["ingress"]):
        assert counted(programs, here, there) == {IN: 3, OUT: 0, XDP: 0}
    with attached(here, programs, tcx=tcx, ways=["egress"]):
        assert counted(programs, here, there) == {IN: 0, OUT: 5, XDP: 0}


@pytest.mark.parametrize("fate", ["drop", "end of chain", "redirect"])
@pytest.mark.parametrize("direction", ["ingress", "egress"])
@pytest.mark.parametrize("tcx", WAYS)
def test_first_beside_a_program_that_ends_the_chain(pair, programs, tcx, direction, fate):
    here, there = pair
    others = Counter()
    target = here.add("xf5", "bridge") if fate == "redirect" else None
    other = program("tc", TC_OK if fate == "end of chain" else TC_SHOT, others, redirect_to=target)
    if tcx:
        link = link_tcx(here, "xf0", direction, other)
    else:
        here.run("tc", "qdisc", "add", "dev", "xf0", "clsact")
        add_filter(here, "xf0", direction, other)
    with attached(here, programs, tcx=tcx):
        assert counted(programs, here, there) == {IN: 3, OUT: 5, XDP: 0}
    assert others.value() == (3 if direction == "ingress" else 5), "the other program runs behind ours"
    if tcx:
        os.close(link)
    else:
        shown = here.run("tc", "filter", "show", "dev", "xf0", direction).stdout
        assert "other" in shown, "filters and qdiscs of others stay"
        assert "xdpfix" not in shown
    os.close(other)
    others.close()


def test_behind_a_filter_of_another_protocol_at_the_first_preference(pair, programs, caplog):
    """A preference has one protocol: ours cannot be at the first one, is at the second, and says so."""
    here, there = pair
    here.run("tc", "qdisc", "add", "dev", "xf0", "clsact")
    other = program("tc", TC_UNSPEC)
    add_filter(here, "xf0", "ingress", other, protocol=ETH_P_IP)
    with attached(here, programs, tcx=False):
        assert counted(programs, here, there) == {IN: 3, OUT: 5, XDP: 0}
    assert "in front of ours at tc ingress" in caplog.text
    assert "xdpfix" not in here.run("tc", "filter", "show", "dev", "xf0", "ingress").stdout
    os.close(other)


def test_an_ingress_qdisc_would_run_the_egress_program_at_ingress(pair, programs):
    here, _ = pair
    here.run("tc", "qdisc", "add", "dev", "xf0", "ingress")
    with pytest.raises(StartError, match="tc qdisc del dev xf0 ingress"), attached(here, programs, tcx=False):
        pass
    with attached(here, programs, tcx=False, ways=["ingress"]):
        pass
    assert "ingress" in here.run("tc", "qdisc", "show", "dev", "xf0").stdout


def test_another_xdp_program_is_left_alone(pair, programs):
    here, _ = pair
    other = program("xdp", XDP_PASS)
    index = here.ifindex("xf0")
    with here.enter():
        link = lib.link_create(other, index, lib.LINK_XDP_NATIVE)
    assert link >= 0
    for hook in ("xdp", "xdp-generic"):
        message = r"xf0: .*another XDP program is attached.*ip link set dev xf0 xdp off"
        with pytest.raises(StartError, match=message), attached(here, programs, hook):
            pass
    os.close(link)
    os.close(other)


def test_a_driver_without_xdp(namespace, programs):
    namespace.run("ip", "link", "add", "br0", "type", "bridge")
    namespace.up("br0")
    message = r'br0: .*native XDP: its driver has none.*"xdp-generic"'
    with pytest.raises(StartError, match=message), attached(namespace, programs, "xdp", "br0"):
        pass
    with attached(namespace, programs, "xdp-generic", "br0") as attachments:
        assert attachments[0].hook.kind == "xdp-generic"


def test_a_link_that_is_gone(namespace, programs):
    for tcx in (True, False):
        with namespace.enter(), pytest.raises(InterfaceGoneError, match="xf9: no such interface"):
            Attacher(programs, tcx=tcx).attach(9999, "xf9", "ingress", TC)


@pytest.mark.parametrize("tcx", WAYS)
def test_the_link_goes_while_attached(pair, programs, tcx, caplog):
    here, _ = pair
    with attached(here, programs, tcx=tcx):
        here.run("ip", "link", "del", "xf0")
    assert not caplog.records


@pytest.mark.parametrize("tcx", WAYS)
def test_a_link_that_moved_away_is_let_go(pair, programs, tcx, caplog):
    here, there = pair
    with Namespace() as elsewhere:
        with attached(here, programs, tcx=tcx):
            here.move("xf0", elsewhere)
        elsewhere.up("xf0")
        assert counted(programs, elsewhere, there) == {IN: 0, OUT: 0, XDP: 0}
    assert not caplog.records


def test_warnings(pair, programs):
    here, _ = pair
    with attached(here, programs, "xdp") as (ingress, _):
        assert any("native XDP on a veth" in warning for warning in ingress.warnings)
    here.run("ethtool", "-K", "xf0", "gro", "on", check=False)
    with attached(here, programs, "xdp-generic") as (ingress, _):
        assert any("GRO on" in warning for warning in ingress.warnings)
    here.run("ethtool", "-K", "xf0", "gro", "off")
    with attached(here, programs, "xdp-generic") as (ingress, _):
        assert not any("GRO on" in warning for warning in ingress.warnings)
    with attached(here, programs) as attachments:
        assert [attachment.warnings for attachment in attachments] == [(), ()]


def test_warnings_beside_a_program_that_is_not_ours(pair):
    """Only what it hides: we change nothing on the link."""
    here, _ = pair
    with here.enter():
        native, generic = (offloads.warnings("xf0", "veth", generic, ours=False) for generic in (False, True))
    assert [warning for warning in native if "TSO" in warning] == []
    assert len(native) == 1
    assert "VLAN tags" in native[0]
    assert any("super-packets" in warning for warning in generic)


def killed_while_attached(namespace, programs, tcx):
    """Attach in a child process and end it by SIGKILL."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with namespace.enter():
                attacher = Attacher(programs, tcx=tcx)
                there = [attacher.attach(namespace.ifindex("xf0"), "xf0", way, TC) for way in BOTH]
            assert there
            os.write(write, b"attached")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    try:
        assert os.read(read, 16) == b"attached"
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if HAS_TCX:

    def test_links_die_with_a_killed_process(pair, programs):
        here, there = pair
        killed_while_attached(here, programs, tcx=True)
        # The kernel lets go of a dead process's descriptors a moment after waitpid() tells of its end.
        wait_until(lambda: counted(programs, here, there) == {IN: 0, OUT: 0, XDP: 0}, what="links gone")


@pytest.mark.parametrize("shared", [False, True], ids=["our qdisc", "another's qdisc"])
def test_clsact_of_a_killed_process_is_cleaned_up(pair, programs, shared):
    here, there = pair
    if shared:
        here.run("tc", "qdisc", "add", "dev", "xf0", "clsact")
    killed_while_attached(here, programs, tcx=False)
    assert counted(programs, here, there) == {IN: 3, OUT: 5, XDP: 0}, "nothing to clean up: the test is void"
    with here.enter():
        assert clsact.clean_up([here.ifindex("xf0")]) == 2
        assert clsact.clean_up([here.ifindex("xf0")]) == 0
    assert counted(programs, here, there) == {IN: 0, OUT: 0, XDP: 0}
    assert ("clsact" in here.run("tc", "qdisc", "show", "dev", "xf0").stdout) is shared


def test_clsact_of_another_that_lives_stays(pair, programs):
    """Beside a running xdpfix another one starts and ends, on the same interface."""
    here, there = pair
    with attached(here, programs, tcx=False):
        with here.enter():
            assert clsact.clean_up([here.ifindex("xf0")]) == 0
        with attached(here, programs, tcx=False):
            assert counted(programs, here, there) == {IN: 6, OUT: 10, XDP: 0}
        assert counted(programs, here, there) == {IN: 3, OUT: 5, XDP: 0}
    assert "clsact" not in here.run("tc", "qdisc", "show", "dev", "xf0").stdout


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_hundred_times_leaves_no_descriptor(pair, programs):
    here, _ = pair

    def once(number):
        with attached(here, programs, "xdp-generic" if number % 3 == 0 else "tc", tcx=number % 10 != 0):
            pass

    once(0)
    before = descriptors()
    for number in range(100):
        once(number)
    assert descriptors() == before
