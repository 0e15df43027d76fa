"""Beside a foreign XDP program that cannot be observed: tc goes on, and says what it does not see.

The programs here come without type information, so no kernel lets them be traced; a locked down one lets none at all.
Those that can be are for the virtual machines: tests/modules/test_observe.py.
"""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lib.daemon import PROGRAM, Daemon
from lib.netns import Namespace
from lib.programs import XDP_DROP, XDP_PASS, Counter, program
from lib.sink import Sink
from lib.tc import here
from lib.traffic import send, udp_frame
from lib.wait import wait_until
from lib.xdp import NOTHING, XdpLink, set_xdp
from sampler.daemon import programwatch
from sampler.daemon.linktable import Change, Link, LinkTable, Seen
from sampler.daemon.places import Places
from sampler.daemon.programwatch import ProgramWatch
from sampler.kernel.capabilities import keep_needed
from sampler.kernel.tracerrefusal import NO_CAPABILITY, lockdown, refusal
from sampler.kernel.xdpprograms import NewLinks, XdpProgram, XdpPrograms, program_id, program_name

CONFIG = """
[sampler]
interfaces = ["a"]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = 1
"""
REASON = "type information" if refusal() is None else "lockdown=confidentiality"  # where a kernel tells of that


class Inside:
    """The namespace of a thread that may not enter another one."""

    enter = contextlib.nullcontext
    ifindex = socket.if_nametoindex


class EnoughError(Exception):
    """Ends what goes on for ever."""


@dataclass
class Others:
    """Somebody's programs: one that drops and one that passes, their ids, and what both counted."""

    counter: Counter
    drop: int
    passing: int
    ids: tuple[int, int]


@pytest.fixture
def others() -> Iterator[Others]:
    counter = Counter()
    drop, passing = program("xdp", XDP_DROP, counter, "dropper"), program("xdp", XDP_PASS, counter, "passer")
    yield Others(counter, drop, passing, (program_id(drop), program_id(passing)))
    for fd in (drop, passing):
        os.close(fd)
    counter.close()


def test_programs_of_interfaces_are_read(wire: tuple[Namespace, Namespace], others: Others) -> None:
    """However they are attached, wherever they run; nothing of an interface that is not there."""
    left, _ = wire
    index, lo = left.ifindex("a"), left.ifindex("lo")
    drop, passing = others.ids
    with left.enter(), XdpPrograms() as programs:
        numbers = [9999, index, lo, *range(1000, 1100)]
        assert programs.read(numbers) == {}
        assert programs.read([]) == {}
        with XdpLink(left, "a", others.drop) as link, XdpLink(left, "lo", others.passing, generic=True):
            assert programs.read(numbers) == {index: XdpProgram(drop, "native"), lo: XdpProgram(passing, "generic")}
            link.update(others.passing)
            assert programs.read(numbers)[index] == XdpProgram(passing, "native")
        assert programs.read(numbers) == {}
        set_xdp(left, "a", others.drop)
        assert programs.read(numbers) == {index: XdpProgram(drop, "native")}
        set_xdp(left, "a", NOTHING)
        assert programs.read(numbers) == {}
    assert program_name(drop) == "dropper"
    assert program_name(2**31 - 1) == ""


@pytest.mark.parametrize("privileged", [True, False])
def test_the_next_look_sees_what_netlink_does_not_tell(
    wire: tuple[Namespace, Namespace], others: Others, monkeypatch: pytest.MonkeyPatch, privileged: bool
) -> None:
    """A link attaches, replaces and detaches: each is known one look later, and there are two looks a second.

    Without CAP_SYS_ADMIN it is not known whether there are new links.
    """
    left, _ = wire
    table = LinkTable()
    table.apply(Seen(Link(left.ifindex("a"), "a")))
    assert programwatch.INTERVAL == 0.5
    monkeypatch.setattr(programwatch, "INTERVAL", 0.001)
    found: list[list[int]] = []
    links: list[XdpLink] = []

    def look(changes: list[Change]) -> None:
        """After each look the link does another thing."""
        found.append([change.link.xdp.id if change.link.xdp is not None else 0 for change in changes])
        if len(found) == 1:
            links.append(XdpLink(Inside, "a", others.drop))  # type: ignore[arg-type]
        elif len(found) == 2:
            links[0].update(others.passing)
        elif len(found) == 3:
            links[0].close()
        else:
            raise EnoughError

    def watch() -> None:
        """On a thread of its own, for capabilities belong to threads."""
        programs = ProgramWatch(table, Places(), lambda: [link.ifindex for link in table.links])
        if not privileged:
            keep_needed()
        assert (NewLinks().any() is not None) == privileged
        with contextlib.suppress(EnoughError):
            asyncio.run(programs.follow(look))
        programs.close()

    left.call(watch)
    drop, passing = others.ids
    assert found == [[], [drop], [passing], [0]]


def test_a_new_link_is_known(wire: tuple[Namespace, Namespace], others: Others) -> None:
    """Of a link it is told once. Others of this host may come at any moment, so that there is none is seen in time."""
    left, _ = wire
    links = NewLinks()
    wait_until(lambda: links.any() is False)
    with XdpLink(left, "a", others.drop):
        assert links.any() is True
        wait_until(lambda: links.any() is False)


def test_fall_back(wire: tuple[Namespace, Namespace], others: Others, tmp_path: Path) -> None:
    """Programs come, are replaced and go by netlink and by link: known each time, told of once, and tc stays."""
    left, right = wire
    drop, passing = others.ids
    seen = 0

    def pass_frames(program: int | None) -> None:
        """Past that program or none: what it drops is not seen at tc, all else is."""
        nonlocal seen
        before = others.counter.value()
        send(right, "b", [udp_frame()] * 5)
        wait_until(lambda: others.counter.value() == before + 5 * (program is not None))
        seen += 5 * (program != drop)
        wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == seen)

    def shows(beside: str) -> None:
        places = here([f"ingress tcx{beside}", "egress tcx"])
        wait_until(lambda: [row["hooks"] for row in daemon.show("interfaces")] == [places], what=beside)

    with Sink(left) as sink:
        with Daemon(left, tmp_path, CONFIG.format(hook="auto", target=sink.target)).wait_ready() as daemon:
            shows("")
            pass_frames(None)
            set_xdp(left, "a", others.drop)
            shows(f" (behind XDP program dropper, id {drop})")
            pass_frames(drop)
            set_xdp(left, "a", others.passing)
            shows(f" (behind XDP program passer, id {passing})")
            pass_frames(passing)
            set_xdp(left, "a", NOTHING)
            shows("")
            with XdpLink(left, "a", others.passing) as link:
                shows(f" (behind XDP program passer, id {passing})")
                pass_frames(passing)
                link.update(others.drop)
                shows(f" (behind XDP program dropper, id {drop})")
                pass_frames(drop)
            shows("")
            pass_frames(None)
            text = daemon.text()
        wait_until(lambda: sink.total() == seen)
    sentence = (
        f'a: sampled at tc, where packets that XDP program "dropper" (id {drop}) drops, sends back or redirects are '
        "not seen; it cannot be observed: "
    )
    assert text.count("drops, sends back or redirects") == 1
    assert re.search(re.escape(sentence) + f".*{REASON}", text), text
    assert "not observed" not in text, "nothing was detached"


def test_without_the_capability(wire: tuple[Namespace, Namespace], others: Others, tmp_path: Path) -> None:
    """As under the unit without its drop-in. Whoever asks for observing hears of it before there is a program."""
    left, _ = wire
    kept = "-all,+net_admin,+perfmon,+bpf,+ipc_lock,+sys_admin"
    before = ["setpriv", f"--bounding-set={kept}", f"--inh-caps={kept}", f"--ambient-caps={kept}"]
    reason = lockdown() or NO_CAPABILITY
    with Sink(left) as sink, XdpLink(left, "a", others.drop):
        config = CONFIG.format(hook="observe", target=sink.target)
        with Daemon(left, tmp_path, config, before=before).wait_ready() as daemon:
            daemon.wait_log(f"seen; it cannot be observed: {reason}")
            text = daemon.text()
    assert f'hook = "observe": no XDP program can be observed here: {reason}' in text


def test_reload_to_observe_and_back(wire: tuple[Namespace, Namespace], others: Others, tmp_path: Path) -> None:
    """Hooks that come to the same place touch nothing; our own program is not a foreign one."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(hook="xdp", target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            daemon.reload(config.replace("xdp", "observe"))
            assert [row["hooks"] for row in daemon.show("interfaces")] == [here(["ingress tcx", "egress tcx"])]
            daemon.reload(config.replace("xdp", "tc"))
            with XdpLink(left, "a", others.passing):
                daemon.reload(config.replace("xdp", "auto"))
                places = here([f"ingress tcx (behind XDP program id {others.ids[1]})", "egress tcx"])
                # Its name takes a capability that was given up at the start, with another hook.
                assert [row["hooks"] for row in daemon.show("interfaces")] == [places], "known at once"
                daemon.wait_log("start xdpfix as root with this hook")
                send(right, "b", [udp_frame()] * 3)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 3)
            assert daemon.text().count("were not observed") == 1, "from XDP to tc alone"


def test_a_program_that_flaps_floods_no_log(wire: tuple[Namespace, Namespace], others: Others, tmp_path: Path) -> None:
    left, _ = wire
    config = CONFIG.format(hook="auto", target="192.0.2.1:4739")
    with Daemon(left, tmp_path, config).wait_ready() as daemon:

        def changed() -> bool:
            set_xdp(left, "a", others.passing)
            set_xdp(left, "a", NOTHING)
            return "its XDP program changed" in daemon.text()

        wait_until(changed, what="restless")
        lines = len(daemon.text().splitlines())
        for _ in range(50):
            changed()
        rows: list[Any] = daemon.show("interfaces")
        assert rows[0]["state"] == "sampled"
        assert len(daemon.text().splitlines()) - lines < 3


@pytest.mark.parametrize("hook", ["auto", "tc", "xdp"])
def test_check_says_what_it_would_do(
    wire: tuple[Namespace, Namespace], others: Others, tmp_path: Path, hook: str
) -> None:
    left, _ = wire
    file = tmp_path / "xdpfix.toml"
    file.write_text(CONFIG.format(hook=hook, target="192.0.2.1:4739"))
    before = left.run(str(PROGRAM), "check", str(file)).stdout
    with XdpLink(left, "a", others.drop):
        said = left.run(str(PROGRAM), "check", str(file)).stdout
    (line,) = set(said.splitlines()) - set(before.splitlines())
    name = f"XDP program dropper, id {others.ids[0]}"
    unseen = f"a: packets that {name} drops, sends back or redirects are not seen at tc; "
    expected = {
        "auto": unseen + "it cannot be observed: ",
        "tc": unseen + "it cannot be observed: ",
        "xdp": f'a: there is {name}, and no room for another: hook = "xdp" is refused; use hook = "auto"',
    }
    assert expected[hook] in line
    assert hook == "xdp" or REASON in line
