"""The registry of information elements: IANA's, RFC 5103's reverse ones and the vendors' that this project meets.

The data is elements.tsv beside this file, extracted from IANA's "IPFIX Information Elements" registry; templates
name their fields by it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

VARIABLE_LENGTH = 65535  # RFC 7011 section 7

# Values of VMware's tunnelType (891), by Open vSwitch's names of the ports.
TUNNEL_TYPES = {1: "vxlan", 2: "gre", 3: "lisp", 4: "stt", 5: "ipsec_gre", 7: "geneve"}


# The top two of the eight bits of IANA's forwardingStatus (89), RFC 7270 section 4.12; the others are the reason.
FORWARDING = {0: "unknown", 1: "forwarded", 2: "dropped", 3: "consumed"}


@dataclass(frozen=True)
class Element:
    """One information element.

    Attributes:
        id: its number, 1..32767.
        pen: private enterprise number, 0 for IANA's own.
        name: as registered.
        type: abstract data type (RFC 7012 section 3.1).
        semantics: data type semantics (RFC 7012 section 3.2), "" where none is registered.
        units: as registered, "" where there are none.
        length: octets of the full-size encoding; VARIABLE_LENGTH where the value's own length varies.

    """

    id: int
    pen: int
    name: str
    type: str
    semantics: str
    units: str
    length: int


@cache
def registry() -> dict[tuple[int, int], Element]:
    """All known elements by (pen, id)."""
    elements: dict[tuple[int, int], Element] = {}
    lines = Path(__file__).with_name("elements.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        number, pen, name, kind, semantics, units, length = line.split("\t")
        elements[int(pen), int(number)] = Element(int(number), int(pen), name, kind, semantics, units, int(length))
    return elements


@cache
def _names() -> dict[str, Element]:
    return {element.name: element for element in registry().values()}


def by_name(name: str) -> Element:
    """Return the element with this registered name; KeyError where there is none."""
    return _names()[name]


def by_id(number: int, pen: int = 0) -> Element | None:
    """Return the element with this number, or None where the registry does not know it."""
    return registry().get((pen, number))
