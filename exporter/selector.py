"""Selectors: what an exporter takes of the samples of a generation, with which chance, and whose flows they make."""

from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Self

from exporter.options import ExporterOptions

RULES = 64  # bits of struct sample_meta.rules

# The share is told to the kernel as a threshold of 64 bits.
LEAST_THINNING = Fraction(1, 2**64)

MAIN_SELECTOR = 1  # Selector.id where there is one selector for all the process's life


@dataclass(frozen=True)
class Selector:
    """A Selector (RFC 5476 section 2) of one exporter in one generation.

    Attributes:
        id: selectorId (302), 1..2**64-1: what it is known by in other generations, where its bit may be another. No
            other selector of any exporter has it, as long as the process lives.
        rule: its bit in struct sample_meta.rules, 0..63; None: the main selector, by struct sample_meta.main.
        thinning: the share of the gate's samples that it takes, by chance, 1/2**64..1: its own probability over the
            gate's, as the kernel really applies it.
        obs_domain_id: observationDomainId of its flows.
        obs_point_id: observationPointId (138) of its flows.

    """

    id: int
    rule: int | None
    thinning: Fraction
    obs_domain_id: int
    obs_point_id: int

    def __post_init__(self) -> None:
        if self.rule is not None and not 0 <= self.rule < RULES:
            raise ValueError(f"rule {self.rule} is out of range: a generation has the rules 0..{RULES - 1}")
        if not LEAST_THINNING <= self.thinning <= 1:
            raise ValueError(f"thinning {self.thinning} is out of range: take one of 1/{2**64}..1")


@dataclass(frozen=True)
class Selected:
    """What a selector counted: samples, and the wire packets that they stand for (where counts are raw, less).

    And the estimates of all packets and octets of IP that it selected from, with their variances.
    """

    samples: int = 0
    packets: int = 0
    packets_estimate: float = field(default=0.0, compare=False)
    packets_variance: float = field(default=0.0, compare=False)
    octets_estimate: float = field(default=0.0, compare=False)
    octets_variance: float = field(default=0.0, compare=False)

    def __add__(self, other: Self) -> Self:
        """Both together: samples are taken independently, so that variances add up."""
        values = ((getattr(self, item.name), getattr(other, item.name)) for item in fields(self))
        return type(self)(*(one + another for one, another in values))


def main_selector(options: ExporterOptions, thinning: Fraction = Fraction(1)) -> Selector:
    """Return the selector of an exporter without rules: what the sampler takes for it, it takes whole."""
    return Selector(MAIN_SELECTOR, None, thinning, options.obs_domain_id, options.obs_point_id)
