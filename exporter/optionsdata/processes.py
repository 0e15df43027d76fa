"""What the Metering and the Exporting Process did and lost: RFC 7011 sections 4.1, 4.2 and 4.3."""

from collections.abc import Iterator

from exporter.optionsdata import templates
from exporter.optionsdata.encoding import record
from exporter.optionsdata.figures import Figures, Loss, Sent

# Of the Exporting Process, which belongs to no domain (RFC 7011 section 3.1: "the Observation Domain ID SHOULD be 0").
NO_DOMAIN = 0


def _first_and_last(figures: Figures, lost: Loss) -> tuple[int, int]:
    """Return when something was lost; as long as nothing was, twice when the counting began."""
    return (lost.first, lost.last) if lost.last else (figures.began, figures.began)


def metering_statistics(figures: Figures, domain: int) -> Iterator[bytes]:
    """Messages, Flow Records and octets that this collector was sent in a domain, without this message."""
    if figures.has_flows(domain):
        sent = figures.sent.get(domain, Sent())
        process = figures.metering_process
        yield record(templates.METERING_STATISTICS, domain, process, sent.messages, sent.flows, sent.octets)


def metering_reliability(figures: Figures, domain: int) -> Iterator[bytes]:
    """Packets that were lost on their way to a flow. One Metering Process for all domains: told in the main one."""
    if domain == figures.domain:
        lost, process = figures.ignored, figures.metering_process
        times = _first_and_last(figures, lost)
        yield record(templates.METERING_RELIABILITY, domain, process, lost.packets, lost.octets, *times)


def exporting_reliability(figures: Figures, domain: int) -> Iterator[bytes]:
    """Flow Records that were made and did not go to this collector, and the packets and octets in them."""
    if domain == NO_DOMAIN:
        lost, process = figures.lost, figures.exporting_process
        times = _first_and_last(figures, lost)
        yield record(templates.EXPORTING_RELIABILITY, process, lost.flows, lost.packets, lost.octets, *times)
