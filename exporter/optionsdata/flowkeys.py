"""Flow Keys (RFC 7011 section 4.4): which fields of a template tell flows apart."""

from collections.abc import Iterator

from exporter.optionsdata import templates
from exporter.optionsdata.encoding import record
from exporter.optionsdata.figures import Figures
from exporter.template import Template

INDICATOR_BITS = 64  # flowKeyIndicator (173) has no bit for a field behind the 64th

# Not in the key of exporter/native/flow.h: counters, times, and what is collected over all packets of a flow.
# All other fields are, or follow from what is; of the two interfaces the one that flowDirection names.
MEASURED = frozenset(
    {
        "flowStartDeltaMicroseconds",
        "flowEndDeltaMicroseconds",
        "flowStartMilliseconds",
        "flowEndMilliseconds",
        "packetDeltaCount",
        "octetDeltaCount",
        "layer2OctetDeltaCount",
        "octetDeltaSumOfSquares",
        "minimumIpTotalLength",
        "maximumIpTotalLength",
        "minimumTTL",
        "maximumTTL",
        "fragmentFlags",
        "tcpControlBits",
        "tcpSynTotalCount",
        "tcpFinTotalCount",
        "tcpRstTotalCount",
        "tcpPshTotalCount",
        "tcpAckTotalCount",
        "tcpUrgTotalCount",
        "flowEndReason",
        "virtualObsID",
        "forwardingStatus",
        "droppedPacketDeltaCount",
        "droppedOctetDeltaCount",
    }
)


def indicator(template: Template) -> int:
    """Return flowKeyIndicator (173): bit n - 1 is set where the n-th field is part of the key."""
    names = [item.element.name for item in template.fields[:INDICATOR_BITS]]
    return sum(1 << place for place, name in enumerate(names) if name not in MEASURED)


def keys(figures: Figures, domain: int) -> Iterator[bytes]:
    """One record a template that the collector has in this domain."""
    for template in figures.templates.get(domain, ()):
        yield record(templates.FLOW_KEYS, template.id, indicator(template))


def described(keys: bytes) -> int:
    """Id of the template that a record of keys() is about: its scope, which is first."""
    return int.from_bytes(keys[: templates.FLOW_KEYS.fields[0].length], "big")
