"""Each selector takes its own part of what the gate takes, independently of the others.

By chance: each test's false alarm is 1e-6 for all its comparisons together, by exact binomial tails.
"""

import math
from collections import Counter
from fractions import Fraction

import pytest

from lib.frames import FRAMES
from lib.rules import exactly, key_offset, rule
from sampler._native import ffi, lib
from sampler.kernel.ring import SAMPLE_SIZE, Ring
from sampler.kernel.selection import KernelRule, Selection

FRAME = FRAMES["ipv4 tcp"]
FALSE_ALARM = 1e-6
UNIT = Fraction(1, 65535)
ROUND = 4000  # packets between two reads of the ring
RULES = ffi.offsetof("struct sample_meta", "rules") // 8
MAIN = ffi.offsetof("struct sample_meta", "main")


def tail(count: int, trials: int, p: float) -> float:
    """The probability of as many successes, or of more unlikely numbers on that side of the mean."""
    if p in (0, 1):
        return float(count == trials * p)
    log_p, log_q = math.log(p), math.log1p(-p)

    def mass(k: int) -> float:
        ways = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        return math.exp(ways + k * log_p + (trials - k) * log_q)

    step = 1 if count > trials * p else -1
    total, k = 0.0, count
    while 0 <= k <= trials and (add := mass(k)) > total * 1e-12:
        total, k = total + add, k + step
    return total


def assert_binomial(found: dict[object, int], trials: int, expected: dict[object, Fraction | float]) -> None:
    """Each count is binomial with its probability; together they alarm falsely once in a million."""
    assert found.keys() <= expected.keys()
    for what, p in expected.items():
        assert tail(found.get(what, 0), trials, float(p)) > FALSE_ALARM / 2 / len(expected), (what, found, trials)


def taken(kernel, program: str, packets: int) -> Counter[tuple[int, int]]:
    """How many samples of so many packets have each (rules, main)."""
    counts: Counter[tuple[int, int]] = Counter()
    with Ring(kernel.maps, 512) as ring:
        batch = bytearray(8192 * SAMPLE_SIZE)
        while ring.read(batch) or ring.peek(batch):
            pass  # of an earlier selection
        before = ring.stats()["lost"]
        for _ in range(0, packets, ROUND):
            kernel.run(program, FRAME, repeat=ROUND)
            while count := ring.read(batch) or ring.peek(batch):
                rules = memoryview(batch).cast("Q")[RULES : count * SAMPLE_SIZE // 8 : SAMPLE_SIZE // 8]
                counts.update(zip(rules, batch[MAIN : count * SAMPLE_SIZE : SAMPLE_SIZE], strict=True))
        assert ring.stats()["lost"] == before
    return counts


def of_rule(counts: Counter[tuple[int, int]], bit: int) -> int:
    return sum(count for (rules, _), count in counts.items() if rules >> bit & 1)


def of_main(counts: Counter[tuple[int, int]]) -> int:
    return sum(count for (_, main), count in counts.items() if main)


def test_thinnings_told_are_the_thresholds():
    """What user space weights by is exactly what the kernel compares with; a part that rounds to all is all."""
    probabilities = [65535 * UNIT, 40000 * UNIT, UNIT, UNIT / 3, Fraction(1, 2**32), 1 - Fraction(1, 2**70)]
    selection = Selection(KernelRule(None, Fraction(1, 3)), [rule({}, p) for p in probabilities])
    tables = selection.rule_tables()
    for bit, (p, thinning) in enumerate(zip(probabilities, selection.thinnings, strict=True)):
        assert abs(thinning - p) <= Fraction(1, 2**65)
        assert (tables.thinned >> bit & 1) == (thinning < 1)
        assert tables.threshold[bit] == thinning * 2**64 % 2**64
    assert selection.gate == 1
    assert selection.config(1).main_threshold == selection.main_thinning * 2**64 == round(Fraction(2**64, 3))
    assert Selection(KernelRule(None, Fraction(1, 9))).main_thinning == 1
    assert Selection(None, [rule({}, Fraction(1, 9))]).thinnings == (1,)


@pytest.mark.parametrize("program", ["sample_xdp", "sample_tc_ingress", "sample_tc_egress"])
def test_parts_of_a_gate_that_takes_all(kernel, program):
    """Of OVS's 65535: all, 40000 and 1; and a half, twice, which fall together as often as chance has it."""
    probabilities = [65535 * UNIT, 40000 * UNIT, UNIT, Fraction(1, 2), Fraction(1, 2)]
    kernel.gates.set_selection(1, Selection(None, [rule({}, p) for p in probabilities]))
    packets = 200_000
    counts = taken(kernel, program, packets)
    found = {bit: of_rule(counts, bit) for bit in range(len(probabilities))}
    found["both halves"] = sum(count for (rules, _), count in counts.items() if rules >> 3 & 3 == 3)
    found["either half and 40000"] = sum(
        count for (rules, _), count in counts.items() if rules >> 1 & 1 and rules >> 3 & 3
    )
    expected = dict(enumerate(probabilities)) | {
        "both halves": Fraction(1, 4),
        "either half and 40000": 40000 * UNIT * Fraction(3, 4),
    }
    assert found[0] == packets
    assert_binomial(found, packets, expected)


@pytest.mark.parametrize("program", ["sample_xdp", "sample_tc_ingress"])
@pytest.mark.parametrize(("main", "rules"), [(10, (5, 20, 10)), (2, (10, 1000)), (400, (1,)), (7, ())])
def test_rules_above_and_below_the_main_rate(kernel, program, main, rules):
    """Each is taken by its own rate of the wire, whichever is the gate's."""
    selectors = [rule({}, Fraction(1, n)) for n in rules]
    kernel.gates.set_selection(1, Selection(KernelRule(None, Fraction(1, main)), selectors))
    packets = 200_000
    before = kernel.gates.counters()[0]
    counts = taken(kernel, program, packets)
    found = {bit: of_rule(counts, bit) for bit in range(len(rules))} | {"main": of_main(counts)}
    expected = {bit: Fraction(1, n) for bit, n in enumerate(rules)} | {"main": Fraction(1, main)}
    after = kernel.gates.counters()[0]
    grown = {name: after[name] - before[name] for name in after}
    assert grown["selected"] == grown["appended"] + grown["unselected"]
    assert grown["appended"] == sum(counts.values())
    assert_binomial(found | {"gate": grown["selected"]}, packets, expected | {"gate": max(expected.values())})


def test_every_place_draws_by_its_own_threshold(kernel):
    """64 rules, each with another probability."""
    probabilities = [Fraction(bit + 1, 65) for bit in range(lib.RULES_MAX)]
    kernel.gates.set_selection(1, Selection(KernelRule(None, Fraction(1)), [rule({}, p) for p in probabilities]))
    packets = 20_000
    counts = taken(kernel, "sample_tc_ingress", packets)
    assert_binomial({bit: of_rule(counts, bit) for bit in range(64)}, packets, dict(enumerate(probabilities)))


def test_what_a_rule_refuses_it_does_not_draw(kernel):
    refusing = rule(exactly(key_offset("ip_version"), b"\x06"), Fraction(1, 2))
    kernel.gates.set_selection(1, Selection(KernelRule(None, Fraction(1)), [refusing, rule({}, Fraction(1, 2))]))
    counts = taken(kernel, "sample_tc_ingress", 20_000)
    assert set(counts) == {(0, 1), (2, 1)}


def test_the_judge_can_tell():
    assert tail(100_700, 200_000, 0.5) > 1e-4
    assert tail(101_500, 200_000, 0.5) < 1e-10
    assert tail(0, 200_000, 1e-5) == pytest.approx(math.exp(-2), rel=1e-4)
