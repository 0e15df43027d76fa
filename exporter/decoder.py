"""IPFIX messages (RFC 7011) to records: the collecting side, without I/O.

Reads any exporter's messages; what a sender can make it remember is bounded (DecoderLimits).
"""

import struct
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from exporter.elements import VARIABLE_LENGTH, Element, by_id
from exporter.errors import DecodeError
from exporter.message import HEADER, SET_HEADER, VERSION
from exporter.template import ENTERPRISE_BIT, FIRST_TEMPLATE_ID, OPTIONS_TEMPLATE_SET, TEMPLATE_SET
from exporter.values import Value, reader

_SEQUENCE_MODULUS = 2**32
# A number this far "ahead" is one behind: the message came late (RFC 1982 serial number arithmetic).
_SEQUENCE_HALF = 2**31


@dataclass(frozen=True)
class TemplateField:
    """One field specifier of a template, and how its octets become a value."""

    element: Element
    length: int
    read: Callable[[bytes], Value]


@dataclass(frozen=True)
class Template:
    """A template or options template (scope_count > 0) as received, with the shortest record that it can describe."""

    id: int
    fields: tuple[TemplateField, ...]
    scope_count: int
    min_length: int


class Field(NamedTuple):
    """One field of a record."""

    element: Element
    value: Value


@dataclass(frozen=True)
class Record:
    """One data record.

    Attributes:
        domain: observation domain id of the message.
        template_id: the template that describes it.
        export_time: of the message header, seconds since 1970 UTC.
        sequence: of the message header.
        fields: in the template's order; an element can occur more than once.
        scope_count: how many of the fields are scope; 0 for flow records.

    """

    domain: int
    template_id: int
    export_time: int
    sequence: int
    fields: tuple[Field, ...]
    scope_count: int = 0

    def get(self, name: str) -> Value | None:
        """Return the first value of the element with this name, or None."""
        return self._first.get(name)

    @cached_property
    def _first(self) -> dict[str, Value]:
        """The first value of each element: who shows a record asks for two dozen."""
        return {element.name: value for element, value in reversed(self.fields)}

    def all(self, name: str) -> list[Value]:
        """Return every value of the element with this name, in order."""
        return [value for element, value in self.fields if element.name == name]

    def _moment(self, absolute: str, offset: str) -> datetime | None:
        value = self.get(absolute)
        if isinstance(value, datetime):
            return value
        microseconds = self.get(offset)
        if isinstance(microseconds, int):
            return datetime.fromtimestamp(self.export_time, UTC) - timedelta(microseconds=microseconds)
        for unit in ("Seconds", "Microseconds", "Nanoseconds"):
            value = self.get(absolute.replace("Milliseconds", unit))
            if isinstance(value, datetime):
                return value
        return None

    @property
    def start(self) -> datetime | None:
        """Time of the flow's first packet, by whichever element the exporter sent."""
        return self._moment("flowStartMilliseconds", "flowStartDeltaMicroseconds")

    @property
    def end(self) -> datetime | None:
        """Time of the flow's last packet, by whichever element the exporter sent."""
        return self._moment("flowEndMilliseconds", "flowEndDeltaMicroseconds")


@dataclass
class DecoderStats:
    """What a decoder met, since it was made."""

    messages: int = 0
    malformed: int = 0
    records: int = 0
    options_records: int = 0
    templates: int = 0
    withdrawals: int = 0
    unknown_sets: int = 0
    evicted_templates: int = 0
    evicted_domains: int = 0
    sequence_gaps: int = 0
    lost_records: int = 0
    late_messages: int = 0


@dataclass
class _Domain:
    """State of one observation domain of one source: its templates in order of use, and the sequence number due."""

    templates: OrderedDict[int, Template] = field(default_factory=OrderedDict)
    expected: int | None = None


def _unknown_element(number: int, pen: int) -> Element:
    name = f"enterprise{pen}.{number}" if pen else f"element{number}"
    return Element(number, pen, name, "octetArray", "", "", VARIABLE_LENGTH)


class Decoder:
    """Templates and sequence numbers of many sources; decodes one message at a time.

    Args:
        max_templates: templates kept in all; the least recently used is forgotten first.
        max_sources: observation domains kept in all, likewise.
        max_template_fields: field specifiers kept in all templates together: bounds the memory, whatever the sender's
            templates look like.

    """

    def __init__(self, max_templates: int = 4096, max_sources: int = 1024, max_template_fields: int = 262_144) -> None:
        self.stats = DecoderStats()
        self._max_templates = max_templates
        self._max_sources = max_sources
        self._max_fields = max_template_fields
        self._domains: OrderedDict[tuple[Hashable, int], _Domain] = OrderedDict()
        self._lru: OrderedDict[tuple[Hashable, int, int], int] = OrderedDict()  # → fields of that template
        self._fields = 0

    def template(self, source: Hashable, domain: int, template_id: int) -> Template | None:
        """Return a template as it is known now."""
        state = self._domains.get((source, domain))
        return state.templates.get(template_id) if state else None

    def forget(self, source: Hashable) -> None:
        """Drop what is known of a transport session that has ended."""
        for key in [key for key in self._domains if key[0] == source]:
            for template_id in self._domains.pop(key).templates:
                self._fields -= self._lru.pop((*key, template_id))

    def decode(self, octets: bytes, source: Hashable) -> list[Record]:
        """Decode one message.

        Templates are taken from it even where a later set of it is wrong; its records are returned whole or not at all.

        Args:
            octets: one message, such as a UDP payload.
            source: the transport session it came by, such as (address, port); templates are kept by it.

        Raises:
            DecodeError: it is no message of RFC 7011; says what is wrong, and at which octet.

        """
        try:
            return self._decode(octets, source)
        except DecodeError:
            self.stats.malformed += 1
            raise

    def _decode(self, octets: bytes, source: Hashable) -> list[Record]:
        if len(octets) < HEADER.size:
            raise DecodeError(f"a message of {len(octets)} octets is shorter than its header of {HEADER.size}")
        version, length, export_time, sequence, domain = HEADER.unpack_from(octets)
        if version != VERSION:
            raise DecodeError(f"the version is {version}, IPFIX has {VERSION}")
        if length != len(octets):
            raise DecodeError(f"the header says {length} octets, the message has {len(octets)}")
        sets = list(_sets(octets))
        state = self._domain(source, domain)
        records: list[Record] = []
        uncounted = False
        for set_id, start, end in sets:
            if set_id in (TEMPLATE_SET, OPTIONS_TEMPLATE_SET):
                for template_id, template in _templates(octets, start, end, set_id):
                    self._learn(source, domain, state, template_id, template, set_id)
                continue
            known = state.templates.get(set_id)
            if known is None:
                self.stats.unknown_sets += 1
                uncounted = True
                continue
            self._lru.move_to_end((source, domain, set_id))
            records.extend(
                Record(domain, set_id, export_time, sequence, values, known.scope_count)
                for values in _data(octets, start, end, known)
            )
        self._follow_sequence(state, sequence, None if uncounted else len(records))
        self.stats.messages += 1
        options = sum(record.scope_count > 0 for record in records)
        self.stats.options_records += options
        self.stats.records += len(records) - options
        return records

    def _domain(self, source: Hashable, domain: int) -> _Domain:
        state = self._domains.get((source, domain))
        if state is not None:
            self._domains.move_to_end((source, domain))
            return state
        while len(self._domains) >= self._max_sources:
            (old_source, old_domain), old = self._domains.popitem(last=False)
            self.stats.evicted_domains += 1
            for template_id in old.templates:
                self._fields -= self._lru.pop((old_source, old_domain, template_id))
        state = self._domains[source, domain] = _Domain()
        return state

    def _learn(
        self, source: Hashable, domain: int, state: _Domain, template_id: int, template: Template | None, set_id: int
    ) -> None:
        """Keep a template, or withdraw one, or all of a kind (RFC 7011 section 8.1)."""
        if template is None:
            options = set_id == OPTIONS_TEMPLATE_SET
            withdrawn = (
                [known.id for known in state.templates.values() if (known.scope_count > 0) == options]
                if template_id == set_id
                else [template_id]
            )
            for known_id in withdrawn:
                self._forget(source, domain, known_id)
            self.stats.withdrawals += 1
            return
        self._forget(source, domain, template_id)
        if len(template.fields) > self._max_fields:
            self.stats.evicted_templates += 1
            return
        while self._lru and (
            len(self._lru) >= self._max_templates or self._fields + len(template.fields) > self._max_fields
        ):
            oldest_source, oldest_domain, oldest_id = next(iter(self._lru))
            self._forget(oldest_source, oldest_domain, oldest_id)
            self.stats.evicted_templates += 1
        state.templates[template_id] = template
        self._lru[source, domain, template_id] = len(template.fields)
        self._fields += len(template.fields)
        self.stats.templates += 1

    def _forget(self, source: Hashable, domain: int, template_id: int) -> None:
        if self._domains[source, domain].templates.pop(template_id, None) is not None:
            self._fields -= self._lru.pop((source, domain, template_id))

    def _follow_sequence(self, state: _Domain, sequence: int, count: int | None) -> None:
        """Count data records that never came (RFC 7011 section 3.1); count is None where it cannot be known."""
        if state.expected is not None:
            ahead = (sequence - state.expected) % _SEQUENCE_MODULUS
            if ahead >= _SEQUENCE_HALF and sequence != 0:
                self.stats.late_messages += 1
                return
            if 0 < ahead < _SEQUENCE_HALF:
                self.stats.sequence_gaps += 1
                self.stats.lost_records += ahead
        # 0 far behind is an exporter that started anew on the same port.
        state.expected = None if count is None else (sequence + count) % _SEQUENCE_MODULUS


def _sets(octets: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (set id, first octet behind the set header, end) of each set."""
    offset = HEADER.size
    while offset < len(octets):
        if len(octets) - offset < SET_HEADER.size:
            raise DecodeError(f"{len(octets) - offset} octets at {offset} are too few for a set header")
        set_id, length = SET_HEADER.unpack_from(octets, offset)
        if length < SET_HEADER.size or offset + length > len(octets):
            raise DecodeError(f"the set at octet {offset} says {length} octets, {len(octets) - offset} are left")
        if set_id not in (TEMPLATE_SET, OPTIONS_TEMPLATE_SET) and set_id < FIRST_TEMPLATE_ID:
            raise DecodeError(f"the set at octet {offset} has the reserved id {set_id}")
        yield set_id, offset + SET_HEADER.size, offset + length
        offset += length


def _templates(octets: bytes, offset: int, end: int, set_id: int) -> Iterator[tuple[int, Template | None]]:
    """Yield (template id, template) of each template record; None is a withdrawal."""
    options = set_id == OPTIONS_TEMPLATE_SET
    while end - offset >= 4:
        template_id, count = struct.unpack_from(">HH", octets, offset)
        if template_id == 0 and not any(octets[offset:end]):
            return  # padding
        if template_id < FIRST_TEMPLATE_ID and not (count == 0 and template_id == set_id):
            raise DecodeError(f"the template at octet {offset} has the reserved id {template_id}")
        if count == 0:
            yield template_id, None
            offset += 4
            continue
        scope_count = 0
        where = offset
        offset += 4
        if options:
            if end - offset < 2:
                raise DecodeError(f"the options template {template_id} at octet {where} ends within its header")
            (scope_count,) = struct.unpack_from(">H", octets, offset)
            offset += 2
            if not 0 < scope_count <= count:
                raise DecodeError(f"options template {template_id} has {scope_count} scope fields of {count} fields")
        fields: list[TemplateField] = []
        for _ in range(count):
            parsed, offset = _template_field(octets, offset, end, template_id)
            fields.append(parsed)
        min_length = sum(1 if f.length == VARIABLE_LENGTH else f.length for f in fields)
        if min_length == 0:
            raise DecodeError(f"template {template_id} describes records of 0 octets")
        yield template_id, Template(template_id, tuple(fields), scope_count, min_length)
    if any(octets[offset:end]):
        raise DecodeError(f"{end - offset} octets at {offset} are too few for a template and no padding")


def _template_field(octets: bytes, offset: int, end: int, template_id: int) -> tuple[TemplateField, int]:
    if end - offset < 4:
        raise DecodeError(f"template {template_id} runs past the end of its set at octet {end}")
    number, length = struct.unpack_from(">HH", octets, offset)
    offset += 4
    pen = 0
    if number & ENTERPRISE_BIT:
        if end - offset < 4:
            raise DecodeError(f"template {template_id} runs past the end of its set at octet {end}")
        (pen,) = struct.unpack_from(">I", octets, offset)
        offset += 4
        number &= ~ENTERPRISE_BIT
    element = by_id(number, pen) or _unknown_element(number, pen)
    read = reader(element.type, length)
    if read is None:
        raise DecodeError(f"template {template_id} gives {element.name} ({element.type}) the length {length}")
    return TemplateField(element, length, read), offset


def _data(octets: bytes, offset: int, end: int, template: Template) -> Iterator[tuple[Field, ...]]:
    """Yield the fields of each record of a data set; what is shorter than any record is padding."""
    count = 0
    while end - offset >= template.min_length:
        values: list[Field] = []
        for specifier in template.fields:
            length = specifier.length
            if length == VARIABLE_LENGTH:
                length, offset = _variable_length(octets, offset, end, template.id)
            if end - offset < length:
                raise DecodeError(f"record {count} of set {template.id} runs past the end of its set at octet {end}")
            values.append(Field(specifier.element, specifier.read(octets[offset : offset + length])))
            offset += length
        yield tuple(values)
        count += 1
    if count == 0:
        raise DecodeError(f"set {template.id} holds {end - offset} octets, a record has at least {template.min_length}")


def _variable_length(octets: bytes, offset: int, end: int, template_id: int) -> tuple[int, int]:
    """Return (length, offset behind the length octets), RFC 7011 section 7."""
    if offset < end and octets[offset] < 255:
        return octets[offset], offset + 1
    if end - offset < 3:
        raise DecodeError(f"a field of set {template_id} runs past the end of its set at octet {end}")
    return int.from_bytes(octets[offset + 1 : offset + 3], "big"), offset + 3
