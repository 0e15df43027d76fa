"""Which links are looked at for XDP programs: all when something may have changed, few when nothing has."""

import random

from sampler.daemon.programwatch import LOOKS, PART, ROUND, Turns

LINKS = list(range(1, 257))


def test_all_are_looked_at_for_a_new_link() -> None:
    """More than once: it is attached a moment after it is there."""
    turns = Turns()
    for new in (True, *[False] * (LOOKS - 1)):
        assert turns.take(LINKS, [], new) == LINKS
    assert turns.take(LINKS, [], False) == []
    assert turns.take(LINKS, [3, 300, 2], False) == [2, 3], "those that have a program, of those that are sampled"


def test_all_are_looked_at_where_others_are_sampled() -> None:
    """Their programs may have come while nobody looked."""
    turns = Turns()
    for _ in range(LOOKS + 1):
        turns.take(LINKS, [], False)
    assert turns.take(LINKS, [], False) == []
    assert turns.take(LINKS[1:], [], False) == LINKS[1:]


def test_now_and_then_all_are_looked_at() -> None:
    turns = Turns()
    for _ in range(LOOKS):
        turns.take(LINKS, [], False)
    looks = [turns.take(LINKS, [], False) for _ in range(5 * ROUND)]
    assert looks.count(LINKS) == 5
    assert looks.count([]) == 4 * ROUND + ROUND - 5


def test_a_look_that_failed_is_none() -> None:
    """The next ones are at all: the failed one may have been the last that was."""
    turns = Turns()
    for _ in range(LOOKS):
        turns.take(LINKS, [], False)
    turns.forget()
    assert [turns.take(LINKS, [], False) for _ in range(LOOKS + 1)] == [LINKS] * LOOKS + [[]]
    part = turns.take(LINKS, [], None)
    turns.forget()
    assert turns.take(LINKS, [], None) == part


def test_few_links_are_looked_at_each_time_where_new_ones_are_not_known() -> None:
    turns = Turns()
    few = LINKS[:PART]
    assert [turns.take(few, [], None) for _ in range(3)] == [few] * 3


def test_many_links_take_turns_where_new_ones_are_not_known() -> None:
    """Each comes at least once in a round, also where links come and go; those with a program each time."""
    turns, chance = Turns(), random.Random(1)
    for _ in range(20):
        links = chance.sample(range(1, 1000), chance.randrange(PART + 1, 500))
        needed = -(-len(links) // PART)
        looks = [turns.take(links, [links[5], 2000], None) for _ in range(needed)]
        assert set().union(*looks) == set(links)
        assert all(links[5] in look and len(set(look)) == len(look) <= PART + 1 for look in looks)
