"""Selections as user space makes them: rates, thinnings, tables, and what is refused with its reason."""

import random
from fractions import Fraction

import pytest

from lib.rules import LATE, OFFSETS, SAMPLE_SIZE, exactly, rule
from sampler.kernel.ruletables import octet_tables, port_table
from sampler.kernel.selection import DIRECTIONS, KernelRule, Selection

MAIN = KernelRule(None, Fraction(1, 400))


def test_gate_is_the_highest_rate():
    selection = Selection(MAIN, [rule({}, Fraction(1, 100)), rule({}, Fraction(1, 1000))])
    assert selection.gate == Fraction(1, 100)
    assert selection.main_thinning == Fraction(1, 4)
    assert selection.thinnings[0] == 1
    assert abs(selection.thinnings[1] - Fraction(1, 10)) < Fraction(1, 2**64)
    assert selection.thinnings[1].denominator <= 2**64


def test_without_the_main_exporter():
    assert Selection(None, [rule({}, Fraction(1, 7))]).main_thinning is None
    assert Selection(None).gate == 0
    assert Selection(None).config(1).nothing == 1


def test_who_looks_at_a_gate():
    ingress = frozenset({0})
    rules = [rule(), rule(ifindexes=frozenset({3})), rule(directions=ingress), rule(ifindexes=frozenset())]
    selection = Selection(KernelRule(None, Fraction(1), ingress, frozenset({3, 4})), rules)
    found = {at: selection.gate_rules(*at) for at in ((3, 0), (3, 1), (4, 0), (5, 0))}
    assert {at: (gate.rules, gate.main) for at, gate in found.items()} == {
        (3, 0): (0b111, 1),
        (3, 1): (0b011, 0),
        (4, 0): (0b101, 1),
        (5, 0): (0b101, 0),
    }
    assert frozenset({0, 1}) == DIRECTIONS


def test_tables_that_fewest_pass_come_first():
    wide, narrow = {100: (1 << 256) - 2}, exactly(90, b"\x05")
    tables = octet_tables([rule(wide | narrow).match, rule(wide).match, rule({101: (1 << 256) - 1}).match])
    assert [offset for offset, _ in tables] == [90, 100], "one that all pass is none"
    assert (tables[0][1][5], tables[0][1][6]) == (0b111, 0b110)
    assert (tables[1][1][5], tables[1][1][0]) == (0b111, 0b100)


def test_port_tables_against_each_port():
    chance = random.Random(1)
    for _ in range(20):
        ranges = [
            None
            if chance.random() < 0.2
            else tuple(
                (first, chance.randrange(first, 65536))
                for first in (chance.randrange(65536) for _ in range(chance.randrange(4)))
            )
            for _ in range(chance.randrange(1, 65))
        ]
        table = port_table(ranges)
        if table is None:
            assert not any(accepted is not None for accepted in ranges)
            continue
        ends = {end + by for accepted in ranges for pair in accepted or () for end in pair for by in (-1, 0, 1)}
        for port in {0, 65535, *(end for end in ends if 0 <= end < 65536)}:
            expected = sum(
                1 << bit
                for bit, accepted in enumerate(ranges)
                if accepted is None or any(first <= port <= last for first, last in accepted)
            )
            assert table[port] == expected
        assert len(table) == 65536


@pytest.mark.parametrize("probability", [Fraction(0), Fraction(3, 2), Fraction(1, 2**33)])
def test_probability_out_of_range(probability):
    with pytest.raises(ValueError, match=r"probability .*: it may be 2\*\*-32 to 1"):
        Selection(MAIN, [rule({}, probability)])
    with pytest.raises(ValueError, match="probability"):
        Selection(KernelRule(None, probability))


@pytest.mark.parametrize("ports", [((5, 4),), ((0, 65536),), ((-1, 4),)])
def test_ports_out_of_range(ports):
    with pytest.raises(ValueError, match="they may be 0 to 65535"):
        Selection(None, [rule(src_port=ports)])
    with pytest.raises(ValueError, match="they may be 0 to 65535"):
        Selection(None, [rule(dst_port=ports)])


def test_octets_that_are_not_known_there():
    for offset in LATE:
        with pytest.raises(ValueError, match=f"octet {offset} of a sample"):
            Selection(None, [rule({offset: 1})])
    for offset in (-1, SAMPLE_SIZE):
        with pytest.raises(ValueError, match=f"octet {offset}: a sample has {SAMPLE_SIZE}"):
            Selection(None, [rule({offset: 1})])
    Selection(None, [rule(dict.fromkeys(OFFSETS, 1))])


def test_the_main_exporter_has_no_match():
    with pytest.raises(ValueError, match="its selector has no match"):
        Selection(rule())
