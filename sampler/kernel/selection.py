"""A selection: the main exporter's rate and the flow rules, and what the kernel is told of them. Pure.

Gates take packets at the highest probability of all selectors; each selector then thins what it is offered to its
own. sampler.kernel.gates puts a selection in force.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sampler._native import ffi, lib
from sampler.kernel.ruletables import octet_tables, port_table
from sampler.rules.match import Match

DIRECTIONS = frozenset({int(lib.DIRECTION_INGRESS), int(lib.DIRECTION_EGRESS)})
FIXED_POINT = 2**32  # struct sampling_config.scale
THRESHOLD = 1 << 64  # of struct sampling_config and rule_tables: out of so many


def scale(probability: Fraction) -> int:
    """1 / log2(1 / (1 - p)) in 32.32 fixed point, what a geometric draw is scaled by; 0 for p = 1.

    Raises:
        ValueError: p is not within 2**-32 .. 1.

    """
    _check_probability(probability)
    if probability == 1:
        return 0
    return round(FIXED_POINT * -math.log(2) / math.log1p(-float(probability)))


@dataclass(frozen=True)
class KernelRule:
    """One selector: which packets it is offered, and which part of them it takes.

    Attributes:
        match: what it asks of a packet; None: nothing.
        probability: of each wire packet it is offered, 2**-32 .. 1.
        directions: the enum direction values of the gates that offer.
        ifindexes: the interfaces whose gates offer; None: all that are sampled.

    """

    match: Match | None
    probability: Fraction
    directions: frozenset[int] = DIRECTIONS
    ifindexes: frozenset[int] | None = None

    def is_offered(self, ifindex: int, direction: int) -> bool:
        """Whether it looks at what the gate of this interface and direction takes."""
        return direction in self.directions and (self.ifindexes is None or ifindex in self.ifindexes)


class Selection:
    """What is sampled, by whom.

    Args:
        main: the main exporter's selector, whose match is None; None: it takes nothing.
        rules: the flow rules; bit i of meta.rules is rule i.
        budget: samples a CPU and second; 0: no limit.
        tunnels: describe packets by what tunnels carry, else by what is on the wire.
        routes: ask the kernel's routing where packets that come in leave this host.

    Attributes:
        gate: the probability of the gates: the highest of all; 0 where nobody takes anything.
        main_thinning: of what the gates take, the main exporter takes this part, exactly; None without it.
        thinnings: the same for each rule, of what it accepts.
        port_rules: the struct port_rules that are in use, by 0 for the source and 1 for the destination.

    Raises:
        ValueError: more rules than there is room for, a probability out of range, or a match on what the kernel does
            not know where it looks at rules.

    """

    def __init__(
        self,
        main: KernelRule | None,
        rules: Sequence[KernelRule] = (),
        budget: int = 0,
        tunnels: bool = True,
        routes: bool = False,
    ) -> None:
        if len(rules) > lib.RULES_MAX:
            raise ValueError(f"{len(rules)} flow rules: there may be {lib.RULES_MAX}")
        if main is not None and main.match is not None:
            raise ValueError("The main exporter takes packets of any kind: its selector has no match")
        self.main = main
        self.rules = tuple(rules)
        self.budget, self.tunnels, self.routes = budget, tunnels, routes
        selectors = [*self.rules, *([main] if main is not None else [])]
        for selector in selectors:
            _check_probability(selector.probability)
        self.gate = max((selector.probability for selector in selectors), default=Fraction(0))
        self.main_thinning = None if main is None else self._thinning(main)
        self.thinnings = tuple(self._thinning(rule) for rule in self.rules)
        matches = [rule.match for rule in self.rules]
        self._octets = octet_tables(matches)
        tables = (
            port_table([None if match is None else match.src_port for match in matches]),
            port_table([None if match is None else match.dst_port for match in matches]),
        )
        self.port_rules = {which: table.tobytes() for which, table in enumerate(tables) if table is not None}

    def _thinning(self, rule: KernelRule) -> Fraction:
        return Fraction(_threshold(rule.probability / self.gate) or THRESHOLD, THRESHOLD)

    def config(self, generation: int) -> "ffi.CData":
        """The struct sampling_config, whose samples carry the generation."""
        config = ffi.new("struct sampling_config *")
        config.generation, config.budget = generation, self.budget
        config.tunnels, config.routes = self.tunnels, self.routes
        config.nothing = not self.gate
        if self.gate:
            config.scale = scale(self.gate)
        if self.main is not None:
            config.main_threshold = _threshold(self.main.probability / self.gate)
        return config

    def gate_rules(self, ifindex: int, direction: int) -> "ffi.CData":
        """The struct gate_rules of a gate."""
        rules = sum(1 << bit for bit, rule in enumerate(self.rules) if rule.is_offered(ifindex, direction))
        main = self.main is not None and self.main.is_offered(ifindex, direction)
        return ffi.new("struct gate_rules *", (rules, main))

    def rule_tables(self) -> "ffi.CData":
        """The struct rule_tables."""
        tables = ffi.new("struct rule_tables *")
        for bit, rule in enumerate(self.rules):
            tables.threshold[bit] = _threshold(rule.probability / self.gate)
            if tables.threshold[bit]:
                tables.thinned |= 1 << bit
        for which, flag in enumerate((lib.RULE_SRC_PORT, lib.RULE_DST_PORT)):
            if which in self.port_rules:
                tables.ports |= flag
        ffi.memmove(tables.offset, bytes([lib.RULE_OCTETS_END]) * lib.RULE_OCTETS, lib.RULE_OCTETS)
        for place, (offset, table) in enumerate(self._octets):
            tables.offset[place] = offset
            ffi.memmove(tables.accepting[place], table, len(table) * table.itemsize)
        return tables


def _check_probability(probability: Fraction) -> None:
    if not Fraction(1, 2**32) <= probability <= 1:
        raise ValueError(f"Sampling probability {probability}: it may be 2**-32 to 1")


def _threshold(thinning: Fraction) -> int:
    """Out of THRESHOLD, what comes nearest to the thinning; 0 where that is all."""
    return max(1, round(thinning * THRESHOLD)) % THRESHOLD
