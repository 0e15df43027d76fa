"""The tables that the kernel matches flow rules by: from each octet's value, and each port, to a set of rules. Pure.

A set of rules is a number, in which bit i stands for rule i of the selection (sampler.kernel.selection).
"""

from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise

from sampler._native import ffi
from sampler.rules.match import Match
from sampler.rules.terms import Ranges

PORT_COUNT = 1 << 16
OCTET_VALUES = 256
ANY_OCTET = (1 << OCTET_VALUES) - 1
# Known in the kernel only behind the rules, or by them: fields of struct sample_meta.
LATE_FIELDS = ("time", "rules", "verdict", "egress_ifindex", "generation", "main")


def octet_tables(matches: Sequence[Match | None]) -> list[tuple[int, "array[int]"]]:
    """Offset and table of each octet that a rule looks at, those first that fewest values and rules pass.

    Raises:
        ValueError: an octet that the kernel does not know where it looks at rules.

    """
    masks: dict[int, dict[int, int]] = {}
    for bit, match in enumerate(matches):
        for offset, mask in match.octets.items() if match is not None else ():
            if mask & ANY_OCTET != ANY_OCTET:
                _check_offset(offset)
                of_offset = masks.setdefault(offset, {})
                of_offset[mask] = of_offset.get(mask, 0) | 1 << bit
    tables = [(offset, _octet_table(of_offset, len(matches))) for offset, of_offset in masks.items()]
    return sorted(tables, key=lambda table: (sum(rules.bit_count() for rules in table[1]), table[0]))


def _check_offset(offset: int) -> None:
    if not 0 <= offset < ffi.sizeof("struct sample"):
        raise ValueError(f"A flow rule looks at octet {offset}: a sample has {ffi.sizeof('struct sample')}")
    fields = dict(ffi.typeof("struct sample_meta").fields)
    for name in LATE_FIELDS:
        if fields[name].offset <= offset < fields[name].offset + ffi.sizeof(fields[name].type):
            raise ValueError(f"A flow rule looks at octet {offset} of a sample ({name}), which is not known there")


def _octet_table(masks: Mapping[int, int], count: int) -> "array[int]":
    """By value the rules that accept it, from the rules by their masks; the others accept all."""
    careless = (1 << count) - 1
    for rules in masks.values():
        careless &= ~rules
    table = array("Q", [careless]) * OCTET_VALUES
    for mask, rules in masks.items():
        for value in range(OCTET_VALUES):
            if mask >> value & 1:
                table[value] |= rules
    return table


def port_table(ranges: Sequence[Ranges | None]) -> "array[int] | None":
    """By port the rules that accept it, in host order; None where all accept all.

    Raises:
        ValueError: a range that ends before it begins, or beyond the ports.

    """
    if all(accepted is None for accepted in ranges):
        return None
    # Between the ends of ranges the rules are the same.
    changes: dict[int, int] = {0: 0, PORT_COUNT: 0}
    rules = 0
    for bit, accepted in enumerate(ranges):
        if accepted is None:
            rules |= 1 << bit
            continue
        for first, last in _merged(accepted):
            changes[first] = changes.get(first, 0) ^ 1 << bit
            changes[last + 1] = changes.get(last + 1, 0) ^ 1 << bit
    table = array("Q")
    ends = sorted(changes)
    for begin, end in pairwise(ends):
        rules ^= changes[begin]
        table.extend(array("Q", [rules]) * (end - begin))
    return table


def _merged(ranges: Ranges) -> list[tuple[int, int]]:
    """The ranges without overlaps, in their order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if not 0 <= first <= last < PORT_COUNT:
            raise ValueError(f"A flow rule has the ports {first} to {last}: they may be 0 to {PORT_COUNT - 1}")
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged
