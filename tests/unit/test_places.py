"""Where a link's packets are seen: by the hook, the XDP program that is there, and how often that changes."""

from dataclasses import replace

import pytest

from sampler.daemon.linktable import Link
from sampler.daemon.places import EGRESS, INGRESS, RESTLESS_CHANGES, RESTLESS_SECONDS, Places
from sampler.kernel.attach import TC, Place
from sampler.kernel.xdpprograms import XdpProgram

OURS, FIRST, SECOND = (XdpProgram(number, "native") for number in (1, 12, 13))
BARE = Link(7, "eth0")
WITH = replace(BARE, xdp=FIRST)


class Clock:
    """Gives the time that it is told."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def places(hook: str) -> tuple[Places, Clock]:
    clock = Clock()
    found = Places(OURS.id, clock)
    found.hook = hook
    return found, clock


@pytest.mark.parametrize("hook", ["auto", "observe"])
def test_a_foreign_program_is_observed_and_ours_is_not(hook: str) -> None:
    here, _ = places(hook)
    assert here.of(BARE, INGRESS) == TC
    assert here.of(WITH, INGRESS) == Place("observe", FIRST)
    assert here.of(WITH, EGRESS) == TC
    assert here.of(replace(BARE, xdp=OURS), INGRESS) == TC
    assert here.of(BARE, INGRESS) == TC


@pytest.mark.parametrize("hook", ["tc", "xdp", "xdp-generic"])
def test_other_hooks_look_at_no_program(hook: str) -> None:
    here, _ = places(hook)
    assert [here.of(link, INGRESS) for link in (BARE, WITH)] == [Place(hook)] * 2
    assert here.of(WITH, EGRESS) == TC


def test_a_native_program_on_a_bond_runs_on_its_members() -> None:
    """Their frames have the members' numbers. A generic one runs where it is attached."""
    here, _ = places("auto")
    here.masters = frozenset({BARE.ifindex})
    assert here.of(WITH, INGRESS) == Place("observe", XdpProgram(FIRST.id, "members"))
    generic = XdpProgram(FIRST.id, "generic")
    assert here.of(replace(BARE, xdp=generic), INGRESS) == Place("observe", generic)
    here.masters = frozenset()
    assert here.of(WITH, INGRESS) == Place("observe", FIRST)


def changes(here: Places, clock: Clock, count: int, apart: float) -> list[Place]:
    """Where the packets are seen while one program takes the place of the other, again and again."""
    found = []
    for number in range(count):
        clock.time += apart
        found.append(here.of(replace(BARE, xdp=(SECOND, FIRST)[number % 2]), INGRESS))
    return found


def test_a_program_that_changes_all_the_time_is_not_followed_until_it_stays() -> None:
    here, clock = places("auto")
    here.of(WITH, INGRESS)
    seen = changes(here, clock, 40, 0.5)
    followed = [Place("observe", (SECOND, FIRST)[number % 2]) for number in range(RESTLESS_CHANGES - 1)]
    assert seen[: RESTLESS_CHANGES - 1] == followed
    assert seen[RESTLESS_CHANGES - 1 :] == [TC] * (40 - RESTLESS_CHANGES + 1)
    assert here.restless(BARE.ifindex)
    clock.time += RESTLESS_SECONDS - 0.1
    assert (here.of(WITH, INGRESS), here.calmed()) == (TC, False)
    clock.time += 0.1
    assert here.calmed(), "it is to be asked for again, although nothing changed"
    assert here.of(WITH, INGRESS) == Place("observe", FIRST)
    assert not here.restless(BARE.ifindex)
    assert not here.calmed()


def test_a_program_that_changes_now_and_then_is_followed() -> None:
    here, clock = places("auto")
    apart = 1.01 * RESTLESS_SECONDS / (RESTLESS_CHANGES - 1)
    assert TC not in changes(here, clock, 40, apart)


def test_another_link_of_the_same_number_begins_anew() -> None:
    here, clock = places("auto")
    changes(here, clock, RESTLESS_CHANGES + 1, 0.5)
    assert here.restless(BARE.ifindex)
    here.forget(BARE.ifindex)
    assert here.of(WITH, INGRESS) == Place("observe", FIRST)


def test_how_old_what_is_known_may_be() -> None:
    here, clock = places("auto")
    here.looked = here.now()
    clock.time += 0.75
    assert here.age == 0.75
