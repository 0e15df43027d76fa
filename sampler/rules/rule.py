"""Flow rules and flow exporters as the configuration has them: checked, frozen, comparable."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from exporter.options import ExporterOptions

RULES_MAX = 64  # bits of meta.rules
PROBABILITY_ALL = 65535  # of a rule that takes every packet

# What `direction` may be, as enum direction.
DIRECTIONS: Mapping[str, tuple[int, ...]] = {"ingress": (0,), "egress": (1,), "both": (0, 1)}


@dataclass(frozen=True)
class FlowRule:
    """Open vSwitch's action sample(…) with the match of the flow that has it.

    Attributes:
        match: which packets, in ovs-ofctl's syntax.
        probability: of 65535, 1 to 65535: how many of them.
        obs_domain_id: observationDomainId of its records' messages.
        obs_point_id: observationPointId (138) of its records.
        direction: "ingress", "egress" or "both".
        interfaces: globs of interface names; empty: those of the sampler.

    """

    match: str = ""
    probability: int = PROBABILITY_ALL
    obs_domain_id: int = 0
    obs_point_id: int = 0
    direction: str = "both"
    interfaces: tuple[str, ...] = ()

    @property
    def rate(self) -> Fraction:
        """The probability as a number, exact."""
        return Fraction(self.probability, PROBABILITY_ALL)

    @property
    def directions(self) -> tuple[int, ...]:
        """enum direction values that it samples."""
        return DIRECTIONS[self.direction]


@dataclass(frozen=True)
class FlowExporter:
    """Open vSwitch's Flow_Sample_Collector_Set: an exporter of its own for what its rules take.

    Attributes:
        collector_set_id: 0 to 2**32-1, its name.
        options: its targets, cache and templates; what a rule has of its own does not count in them.
        rules: at most 64 over all flow exporters.

    """

    collector_set_id: int
    options: ExporterOptions
    rules: tuple[FlowRule, ...] = ()

    @property
    def name(self) -> str:
        """How `xdpfix show` and the log call it."""
        return f"collector-set-{self.collector_set_id}"
