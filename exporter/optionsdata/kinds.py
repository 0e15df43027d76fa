"""The kinds of options data in the order in which they go out, and when each does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from exporter.optionsdata import flowkeys, interfaces, processes, sampling, templates, types
from exporter.optionsdata.figures import Figures
from exporter.template import Template


@dataclass(frozen=True)
class Kind:
    """One options template and what makes its records for an observation domain.

    Attributes:
        template: their layout.
        records: gives them.
        statistic: they move by themselves and go out every stats_interval; what others say holds until it changes,
            and is repeated with the templates.
        layouts: they follow from the templates that the collector has.
        first: it goes out ahead of the data and the templates that it is about, whatever the pace.

    """

    template: Template
    records: Callable[[Figures, int], Iterable[bytes]]
    statistic: bool = False
    layouts: bool = False
    first: bool = False


ANNOUNCEMENT = Kind(templates.SAMPLING_INTERVAL, sampling.interval, first=True)
KINDS = (
    ANNOUNCEMENT,
    # libfixbuf looks a template's elements up when it gets the template.
    Kind(templates.ELEMENT_TYPE, types.types, layouts=True, first=True),
    Kind(templates.INTERFACE, interfaces.names),
    Kind(templates.FLOW_KEYS, flowkeys.keys, layouts=True),
    Kind(templates.SELECTOR, sampling.selectors),
    Kind(templates.SELECTION_SEQUENCE, sampling.sequences),
    Kind(templates.SEQUENCE_STATISTICS, sampling.statistics, statistic=True),
    Kind(templates.METERING_STATISTICS, processes.metering_statistics, statistic=True),
    Kind(templates.METERING_RELIABILITY, processes.metering_reliability, statistic=True),
    Kind(templates.EXPORTING_RELIABILITY, processes.exporting_reliability, statistic=True),
    Kind(templates.ACCURACY, sampling.accuracy, statistic=True),
)
