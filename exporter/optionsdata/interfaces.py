"""Names of the interfaces that flow records have by number."""

from collections.abc import Iterator

from exporter.optionsdata import templates
from exporter.optionsdata.encoding import record
from exporter.optionsdata.figures import Figures


def names(figures: Figures, domain: int) -> Iterator[bytes]:
    """One record an interface, in the main domain: collectors keep them by exporter.

    nfdump shows the description as the name, so one without a description has its name there too.
    """
    if domain == figures.domain:
        for interface in figures.interfaces:
            description = interface.description or interface.name
            yield record(templates.INTERFACE, figures.exporting_process, interface.ifindex, interface.name, description)
