"""Rates that collectors can be told: what `counts = "raw"` asks of probabilities. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from sampler.errors import ConfigError
from sampler.rules.rule import PROBABILITY_ALL as ALL


@dataclass(frozen=True)
class Rate:
    """How one rule samples.

    Attributes:
        path: of its key, for errors.
        probability: of ALL.
        obs_domain_id: observation domain of its flows.

    """

    path: str
    probability: int
    obs_domain_id: int


def check_raw(rates: Iterable[Rate]) -> None:
    """ConfigError where collectors of one exporter could not multiply its raw counters right.

    They multiply by samplingInterval (34), which is a whole number, and one for all flows of an observation domain.
    """
    first: dict[int, Rate] = {}
    for rate in rates:
        if ALL % rate.probability:
            raise ConfigError(
                f'{rate.path} = {rate.probability}: with counts = "raw" collectors multiply by {ALL} / probability, '
                f'which must be whole: take {_nearest(rate.probability)}, or use counts = "scaled"'
            )
        other = first.setdefault(rate.obs_domain_id, rate)
        if other.probability != rate.probability:
            raise ConfigError(
                f'{rate.path} = {rate.probability}: {other.path} is {other.probability}, and with counts = "raw" '
                f"collectors multiply all of observation domain {rate.obs_domain_id} by one number: give one of them "
                'another obs_domain_id, or use counts = "scaled"'
            )


def _nearest(probability: int) -> str:
    """The probabilities around this one that are one packet in a whole number."""
    whole = [number for number in range(1, ALL + 1) if ALL % number == 0]
    below = max(number for number in whole if number < probability)
    above = min(number for number in whole if number > probability)
    return f"{below} (one in {ALL // below}) or {above} (one in {ALL // above})"
