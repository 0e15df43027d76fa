"""Templates: the layout of records, as sent to collectors (RFC 7011 section 3.4). How C fills them is plan.py's."""

from dataclasses import dataclass
from functools import cache

from exporter import elements
from exporter.elements import VARIABLE_LENGTH, Element

TEMPLATE_SET = 2  # RFC 7011 section 3.3.2
OPTIONS_TEMPLATE_SET = 3
FIRST_TEMPLATE_ID = 256
ENTERPRISE_BIT = 0x8000  # RFC 7011 section 3.2

# Types whose values may be sent in fewer octets (RFC 7011 section 6.2); signed types are not exported.
REDUCIBLE = frozenset({"unsigned16", "unsigned32", "unsigned64"})
WITHDRAWAL = 0  # the field count that withdraws a template (RFC 7011 section 8.1)

# Octets that the definition of an element says where its type would let them vary.
DEFINED_LENGTHS = {"mplsTopLabelStackSection": 3}


@dataclass(frozen=True)
class Field:
    """One field of a template: an element and the octets its value takes, VARIABLE_LENGTH where each says its own."""

    element: Element
    length: int

    def __post_init__(self) -> None:
        full = DEFINED_LENGTHS.get(self.element.name, self.element.length)
        reduced = self.element.type in REDUCIBLE and 1 <= self.length < full
        # Strings and octets of one length only are said to have it (RFC 7011 section 7).
        reduced |= full == VARIABLE_LENGTH and 1 <= self.length < VARIABLE_LENGTH
        if self.length != full and not reduced:
            raise ValueError(
                f"{self.element.name} takes {full} octets, not {self.length} (RFC 7011 section 6.2): correct the layout"
            )

    def encode(self) -> bytes:
        """Field specifier: 4 octets, 8 with an enterprise number (RFC 7011 section 3.2)."""
        element = self.element
        if element.pen:
            return b"".join(
                number.to_bytes(size, "big")
                for number, size in ((element.id | ENTERPRISE_BIT, 2), (self.length, 2), (element.pen, 4))
            )
        return element.id.to_bytes(2, "big") + self.length.to_bytes(2, "big")


@dataclass(frozen=True)
class Template:
    """A Template Record, or an Options Template Record where the first `scope` fields are its scope."""

    id: int
    fields: tuple[Field, ...]
    scope: int = 0

    def __post_init__(self) -> None:
        if not FIRST_TEMPLATE_ID <= self.id <= 65535:
            raise ValueError(f"template id {self.id} is out of range: take one of 256..65535 (RFC 7011 section 3.4.1)")
        if not self.fields:
            raise ValueError(f"template {self.id} has no field and would be its own withdrawal: give it one")
        if not 0 <= self.scope <= len(self.fields):
            raise ValueError(
                f"template {self.id} has {len(self.fields)} fields, of which {self.scope} cannot be its scope: "
                "correct the layout (RFC 7011 section 3.4.2.2)"
            )

    @property
    def set_id(self) -> int:
        """The Set that describes this template."""
        return OPTIONS_TEMPLATE_SET if self.scope else TEMPLATE_SET

    def encode(self) -> bytes:
        """Encode the record, header included (RFC 7011 sections 3.4.1 and 3.4.2.2)."""
        header = self.id.to_bytes(2, "big") + len(self.fields).to_bytes(2, "big")
        if self.scope:
            header += self.scope.to_bytes(2, "big")
        return header + b"".join(field.encode() for field in self.fields)

    def withdrawal(self) -> bytes:
        """Encode the record that withdraws it (RFC 7011 section 8.1): its id, and a field count of 0."""
        return self.id.to_bytes(2, "big") + WITHDRAWAL.to_bytes(2, "big")

    @property
    def fixed_length(self) -> int:
        """Octets of a record without its values of variable length."""
        return sum(field.length for field in self.fields if field.length != VARIABLE_LENGTH)


@cache  # layouts have the same few over and over
def field(name: str, length: int | None = None) -> Field:
    """Field of the element with this name, in its full size unless `length` says less."""
    element = elements.by_name(name)
    return Field(element, element.length if length is None else length)
