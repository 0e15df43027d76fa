"""How packets were sampled: samplingInterval for collectors of flows, and PSAMP's reports (RFC 5476 section 6.5)."""

from collections.abc import Iterator
from statistics import NormalDist

from exporter import elements
from exporter.optionsdata import templates
from exporter.optionsdata.encoding import record
from exporter.optionsdata.figures import Estimate, Figures, Selector

UNIFORM_PROBABILISTIC = 4  # selectorAlgorithm (304), IANA's psamp-parameters
CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # 1.96 standard deviations


def interval(figures: Figures, domain: int) -> Iterator[bytes]:
    """By what a collector is to multiply the counters of this domain."""
    if figures.has_flows(domain):
        yield record(templates.SAMPLING_INTERVAL, domain, figures.interval.get(domain, 1))


def _selectors(figures: Figures, domain: int) -> Iterator[Selector]:
    """Give those that may be told: none where a collector would multiply by the probability of one."""
    return (item for item in figures.selectors if item.domain == domain and figures.announce_selector)


def selectors(figures: Figures, domain: int) -> Iterator[bytes]:
    """Selector Report Interpretation: the probability of each. With 1 / probability a collector must not multiply."""
    for selector in _selectors(figures, domain):
        yield record(templates.SELECTOR, selector.id, UNIFORM_PROBABILISTIC, float(selector.probability))


def sequences(figures: Figures, domain: int) -> Iterator[bytes]:
    """Selection Sequence Report Interpretation: Observation Point, then the one Selector."""
    for selector in _selectors(figures, domain):
        yield record(templates.SELECTION_SEQUENCE, selector.id, selector.point, selector.id)


def statistics(figures: Figures, domain: int) -> Iterator[bytes]:
    """Selection Sequence Statistics: packets that came to each Selector, and those that it took."""
    for selector in _selectors(figures, domain):
        if selector.observed is not None and selector.selected is not None:
            yield record(templates.SEQUENCE_STATISTICS, selector.id, selector.observed, selector.selected)


def limits(estimate: Estimate) -> tuple[float, float]:
    """Confidence interval of an estimate: between which values the true total lies, in CONFIDENCE of all cases."""
    half = _Z * max(estimate.variance, 0.0) ** 0.5
    return max(estimate.total - half, 0.0), estimate.total + half


def accuracy(figures: Figures, domain: int) -> Iterator[bytes]:
    """Accuracy Report of the totals that each Selector's samples estimate, since the exporter began."""
    for selector in _selectors(figures, domain):
        totals = (("packetTotalCount", selector.packets), ("octetTotalCount", selector.octets))
        for name, estimate in totals:
            if estimate is not None:
                number = elements.by_name(name).id
                yield record(templates.ACCURACY, domain, selector.id, number, *limits(estimate), CONFIDENCE)
