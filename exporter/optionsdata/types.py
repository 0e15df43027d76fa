"""Type information of enterprise elements (RFC 5610), so that a collector can show what it has no list of."""

from collections.abc import Iterator

from exporter.elements import Element
from exporter.optionsdata import templates
from exporter.optionsdata.encoding import record
from exporter.optionsdata.figures import Figures

# informationElementDataType (339) and informationElementSemantics (344), IANA's sub-registries.
DATA_TYPES = (
    *("octetArray", "unsigned8", "unsigned16", "unsigned32", "unsigned64"),
    *("signed8", "signed16", "signed32", "signed64", "float32", "float64", "boolean", "macAddress", "string"),
    *("dateTimeSeconds", "dateTimeMilliseconds", "dateTimeMicroseconds", "dateTimeNanoseconds"),
    *("ipv4Address", "ipv6Address"),
)
# informationElementUnits (345), by the names of the registry.
UNITS = ("", "bits", "octets", "packets", "flows", "seconds", "milliseconds", "microseconds", "nanoseconds")
SEMANTICS = ("default", "quantity", "totalCounter", "deltaCounter", "identifier", "flags")


def semantics(element: Element) -> str:
    """Semantics that RFC 5610 section 3.10 allows for its type: of what is no number only "default"."""
    return element.semantics or "quantity" if element.type.startswith("unsigned") else "default"


def types(figures: Figures, domain: int) -> Iterator[bytes]:
    """One record an enterprise element of the templates that the collector has in this domain."""
    used = (item.element for template in figures.templates.get(domain, ()) for item in template.fields)
    for element in dict.fromkeys(element for element in used if element.pen):
        codes = DATA_TYPES.index(element.type), SEMANTICS.index(semantics(element)), UNITS.index(element.units)
        # A range of 0 to 0 is none.
        end = 2 ** (8 * element.length) - 1 if element.type.startswith("unsigned") else 0
        yield record(templates.ELEMENT_TYPE, element.pen, element.id, *codes, 0, end, element.name, "")
