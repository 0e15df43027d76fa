"""Observation points beside foreign XDP programs: in which order things are attached and let go, and what is said."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sampler.daemon import beside
from sampler.daemon.linktable import Link
from sampler.daemon.places import RESTLESS_CHANGES, Places
from sampler.daemon.points import ObservationPoints
from sampler.errors import StartError
from sampler.kernel.attach import Attachment, Hook, Place
from sampler.kernel.tracer import ProgramGoneError
from sampler.kernel.tracerrefusal import TracerRefusedError
from sampler.kernel.xdpprograms import XdpProgram

BARE = Link(7, "eth0")
BOTH = {0, 1}


def having(number: int) -> Link:
    return replace(BARE, xdp=XdpProgram(number, "native"))


class Kernel:
    """Attaches all that it is asked to, unless told otherwise; `done` has what happened."""

    def __init__(self, refuse: Callable[[int], StartError | None] = lambda _: None) -> None:
        self.done: list[str] = []
        self.time = 100.0
        self.places = Places(clock=lambda: self.time)
        self.refuse_xdp = False
        self._refuse = refuse
        gates = SimpleNamespace(
            open=lambda _, way, observed, **__: self.done.append(f"open {way}{' observed' if observed else ''}"),
            close=lambda _, way: self.done.append(f"close {way}") or 1,
            observed=dict,
        )
        self.points = ObservationPoints(self.attach, gates, self.places)  # type: ignore[arg-type]

    def attach(self, _: Link, way: int, place: Place) -> Attachment:
        what = f"{place.kind}{way}"
        if place.kind == "xdp" and self.refuse_xdp:
            raise StartError("no room")
        hook = Hook(("ingress", "egress")[way], place.kind.replace("tc", "tcx"))
        if place.program is not None:
            if error := self._refuse(place.program.id):
                raise error
            what += f" {place.program.id}"
            hook = replace(hook, beside=f"filter, id {place.program.id}")
        self.done.append(f"+{what}")
        return Attachment("eth0", hook, lambda: self.done.append(f"-{what}"))

    def steps(self, link: Link | None, directions: set[int] = BOTH) -> list[str]:
        """What one update does."""
        self.done.clear()
        self.points.update({link: directions} if link is not None else {})
        return self.done

    @property
    def hooks(self) -> list[Any]:
        return [row["hooks"] for row in self.points.rows()]


def test_a_program_comes_is_replaced_and_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    here = Kernel()
    assert here.steps(BARE) == ["+tc0", "+tc1", "open 0", "open 1"]
    # While its tracer is made tc counts on. Then never both: tc is gone before the gate is the tracer's.
    assert here.steps(having(12)) == ["+observe0 12", "-tc0", "close 0", "open 0 observed"]
    assert here.hooks == [["ingress observe (filter, id 12)", "egress tcx"]]
    assert here.steps(having(12)) == []
    # One that has left its interface is let go before anything else is done.
    here.places.looked = here.time - 0.6
    assert here.steps(having(13)) == ["-observe0 12", "close 0", "+observe0 13", "open 0 observed"]
    assert here.steps(BARE) == ["-observe0 13", "close 0", "+tc0", "open 0"]
    assert here.hooks == [["ingress tcx", "egress tcx"]]
    assert caplog.messages == [
        "sampling eth0 (ingress tcx, egress tcx)",
        "sampling eth0 (ingress observe (filter, id 12), egress tcx)",
        "eth0: what the XDP program (filter, id 12) dropped, sent back or redirected until now was not seen, nor any "
        "packet in the moment of the change",
        "sampling eth0 (ingress observe (filter, id 13), egress tcx)",
        "eth0: the XDP program (filter, id 12) was replaced by another (filter, id 13): what came in between, "
        "in 0.6 s at most, was not observed",
        "sampling eth0 (ingress tcx, egress tcx)",
        "eth0: the XDP program (filter, id 13) is gone or replaced: what came in between, in 0.6 s at most, "
        "was not observed",
    ]
    assert [row["packets_in"] for row in here.points.rows()] == [3], "one for each gate that was closed"
    assert here.points.observed_before == here.points.observed_gone + 3 == 3


def test_what_is_there_at_the_start_is_observed_from_the_start() -> None:
    here = Kernel()
    assert here.steps(having(12)) == ["+observe0 12", "+tc1", "open 0 observed", "open 1"]
    assert here.steps(having(12), {1}) == ["-observe0 12", "close 0"]
    assert here.steps(having(12), {0, 1})[-1] == "open 0 observed"
    assert here.steps(None) == ["-tc1", "close 1", "-observe0 12", "close 0"]


def test_where_it_is_refused_tc_counts_on_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "program_name", lambda number: {12: "filter", 13: ""}[number])
    here = Kernel(lambda number: TracerRefusedError(number, "no tracing; allow it"))
    here.steps(BARE)
    assert here.steps(having(12)) == []
    assert here.hooks == [["ingress tcx (behind XDP program filter, id 12)", "egress tcx"]]
    assert here.steps(having(13)) == []
    assert here.hooks == [["ingress tcx (behind XDP program id 13)", "egress tcx"]]
    assert here.steps(BARE) == []
    assert here.hooks == [["ingress tcx", "egress tcx"]]
    sentence = (
        'eth0: sampled at tc, where packets that XDP program "filter" (id 12) drops, sends back or redirects are not '
        "seen; it cannot be observed: no tracing; allow it"
    )
    assert caplog.messages == [sentence]
    here.points.forget(BARE.ifindex)
    assert here.steps(having(12)) == ["+tc0", "+tc1", "open 0", "open 1"]
    assert caplog.messages == [sentence] * 2, "another link of that number"


def test_a_program_that_is_replaced_by_one_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "program_name", lambda _: "bare")
    here = Kernel(lambda number: TracerRefusedError(number, "no BTF") if number == 13 else None)
    here.steps(having(12))
    assert here.steps(having(13)) == ["-observe0 12", "close 0", "+tc0", "open 0"]
    assert here.hooks == [["ingress tcx (behind XDP program bare, id 13)", "egress tcx"]]
    assert here.steps(having(12)) == ["+observe0 12", "-tc0", "close 0", "open 0 observed"]


def test_one_that_went_before_it_was_observed_leaves_tc_as_it_is() -> None:
    here = Kernel(lambda _: ProgramGoneError("gone"))
    here.steps(BARE)
    assert here.steps(having(12)) == []
    assert here.steps(BARE) == [], "what the next look sees"
    assert here.hooks == [["ingress tcx", "egress tcx"]]


def test_an_error_on_the_way_leaves_nothing_attached() -> None:
    here = Kernel(lambda _: StartError("no memory"))
    here.steps(having(12), {0})
    here.steps(having(12), {0, 1})
    here.places.hook = "xdp"
    here.refuse_xdp = True
    assert here.steps(having(12)) == ["-tc0", "close 0", "close 0", "-tc1", "close 1"]
    assert here.points.refusals == ["no room"]


def test_whatever_stands_in_the_way_of_a_tracer_tc_counts_on(caplog: pytest.LogCaptureFixture) -> None:
    here = Kernel(lambda _: StartError("no memory"))
    here.steps(BARE)
    assert here.steps(having(12)) == []
    assert "it cannot be observed: no memory" in caplog.text


def test_another_hook_is_never_beside_the_one_before(caplog: pytest.LogCaptureFixture) -> None:
    """An open gate counts at tc and at XDP, whatever is attached: both for a moment would count twice."""
    caplog.set_level("INFO")
    here = Kernel()
    here.steps(BARE)
    caplog.clear()
    here.places.hook = "xdp"
    assert here.steps(BARE) == ["-tc0", "close 0", "+xdp0", "open 0"]
    here.places.hook = "auto"
    assert here.steps(BARE) == ["-xdp0", "close 0", "+tc0", "open 0"]
    here.places.hook = "tc"
    assert here.steps(BARE) == [], "nothing to change"
    here.places.hook = "observe"
    here.steps(having(12))
    here.places.hook = "tc"
    assert here.steps(having(12)) == ["-observe0 12", "close 0", "+tc0", "open 0"]
    assert [message for message in caplog.messages if "between" in message] == [
        "eth0: packets in between, from ingress tcx to ingress xdp, were not observed",
        "eth0: packets in between, from ingress xdp to ingress tcx, were not observed",
        "eth0: packets in between, from ingress observe (filter, id 12) to ingress tcx, were not observed",
    ]


def test_a_program_that_changes_all_the_time_floods_neither_log_nor_kernel(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it hidden: what is shown is behind the program of now."""
    caplog.set_level("INFO")
    monkeypatch.setattr(beside, "program_name", lambda _: "")
    here = Kernel()
    here.steps(BARE)
    made = 0
    for number in range(1000):
        here.time += 0.01
        made += any(step.startswith("+observe") for step in here.steps(having(number) if number % 2 else BARE))
    assert made < RESTLESS_CHANGES
    assert len(caplog.messages) < 4 * RESTLESS_CHANGES
    assert here.hooks == [["ingress tcx (behind XDP program id 999)", "egress tcx"]]
    here.steps(BARE)
    assert here.hooks == [["ingress tcx", "egress tcx"]]
    assert "changed 10 times in 10 s: sampled at tc until it has been the same for as long" in caplog.text
    here.steps(having(999))
    here.time += 10
    assert here.places.calmed()
    assert here.steps(having(999))[0] == "+observe0 999"
