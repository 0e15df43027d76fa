"""A strict IPFIX reader for tests, written from RFC 7011 alone: no code of the exporter, nothing forgiven.

Every rule it holds messages to is an assertion that names its section.
"""

import ipaddress
import struct
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

REGISTRY = Path(__file__).parents[2] / "exporter" / "elements.tsv"


def registry() -> dict[tuple[int, int], tuple[str, str, int]]:
    """(pen, id) → name, type, octets."""
    rows = [line.split("\t") for line in REGISTRY.read_text().splitlines()[1:]]
    return {(int(pen), int(number)): (name, kind, int(length)) for number, pen, name, kind, _, _, length in rows}


ELEMENTS = registry()


@dataclass(frozen=True)
class OracleTemplate:
    id: int
    fields: tuple[tuple[int, int, int], ...]  # (pen, id, length)
    scope: int = 0

    def shortest(self) -> int:
        return sum(1 if length == 65535 else length for _, _, length in self.fields)


@dataclass
class OracleRecord:
    template: OracleTemplate
    octets: bytes
    values: dict[str, object]
    domain: int
    export_time: int
    order: list[str]

    def __getitem__(self, name: str):
        return self.values[name]


@dataclass
class OracleMessage:
    export_time: int
    sequence: int
    domain: int
    sets: list[int] = field(default_factory=list)
    templates: list[OracleTemplate] = field(default_factory=list)
    withdrawals: list[int] = field(default_factory=list)  # template ids
    records: list[OracleRecord] = field(default_factory=list)


def decode_value(kind: str, octets: bytes) -> object:
    if kind.startswith("unsigned") or kind == "dateTimeMilliseconds":
        return int.from_bytes(octets, "big")
    if kind == "dateTimeSeconds":
        assert len(octets) == 4, "dateTimeSeconds is unsigned32 (6.1.7)"
        return int.from_bytes(octets, "big")
    if kind == "float64":
        return struct.unpack(">d", octets)[0]
    if kind == "string":
        return octets.decode("utf-8").rstrip("\0")  # or it is no string (6.1.6)
    if kind in ("ipv4Address", "ipv6Address"):
        return str(ipaddress.ip_address(octets))
    if kind == "macAddress":
        return octets.hex(":")
    assert kind == "octetArray", f"no test value of type {kind} is expected"
    return octets


@cache  # the same ones come at each start of a session
def read_templates(body: bytes, set_id: int) -> tuple[OracleTemplate, ...]:
    """Read the records of a template set, or of an options template set; one without fields is a withdrawal."""
    at = 0
    templates = []
    while at < len(body):
        template_id, count = (int.from_bytes(body[i : i + 2], "big") for i in (at, at + 2))
        at += 4
        if not count:  # a withdrawal (8.1)
            templates.append(OracleTemplate(template_id, ()))
            continue
        assert 256 <= template_id <= 65535, "template ids (3.4.1)"
        scope = 0
        if set_id == 3:
            scope = int.from_bytes(body[at : at + 2], "big")
            assert 0 < scope <= count, "scope field count (3.4.2.2)"
            at += 2
        fields = []
        for _ in range(count):
            number, length = (int.from_bytes(body[i : i + 2], "big") for i in (at, at + 2))
            at += 4
            pen = 0
            if number & 0x8000:
                pen = int.from_bytes(body[at : at + 4], "big")
                assert pen, "an enterprise number follows the E bit (3.2)"
                at += 4
            fields.append((pen, number & 0x7FFF, length))
            check_length(pen, number & 0x7FFF, length)
        templates.append(OracleTemplate(template_id, tuple(fields), scope))
    assert at == len(body), "a template set ends with its last record: no padding"
    return tuple(templates)


def check_length(pen: int, number: int, length: int) -> None:
    name, kind, full = ELEMENTS[pen, number]
    if kind == "octetArray" or full == 65535:
        assert length > 0, f"{name} has no octets"  # any: the template says which (7)
    elif length != full:
        assert kind in ("unsigned16", "unsigned32", "unsigned64"), f"{name} has no reduced size (6.2)"
        assert 0 < length < full, f"{name} is longer than its type (6.2)"


class Oracle:
    """One transport session, read message by message. `reliable`: over a transport that allows withdrawals."""

    def __init__(self, strict_sequence: bool = True, reliable: bool = False) -> None:
        self.reliable = reliable
        self.templates: dict[tuple[int, int], OracleTemplate] = {}
        self.sequences: dict[int, int] = {}
        self.strict_sequence = strict_sequence
        self.messages: list[OracleMessage] = []

    @property
    def records(self) -> list[OracleRecord]:
        """Data records of flows, without those of options templates."""
        return [record for message in self.messages for record in message.records if not record.template.scope]

    @property
    def options(self) -> list[OracleRecord]:
        return [record for message in self.messages for record in message.records if record.template.scope]

    def feed(self, octets: bytes) -> OracleMessage:
        assert int.from_bytes(octets[0:2], "big") == 10, "version (3.1)"
        assert int.from_bytes(octets[2:4], "big") == len(octets), "length (3.1)"
        export_time, sequence, domain = (int.from_bytes(octets[at : at + 4], "big") for at in (4, 8, 12))
        message = OracleMessage(export_time, sequence, domain)
        if self.strict_sequence:
            assert sequence == self.sequences.get(domain, 0), "sequence counts the data records before (3.1)"
        at = 16
        while at < len(octets):
            set_id, length = (int.from_bytes(octets[i : i + 2], "big") for i in (at, at + 2))
            assert length > 4, "a set holds one or more records (3.3)"
            assert at + length <= len(octets), "a set ends inside its message (3.3.2)"
            body = octets[at + 4 : at + length]
            message.sets.append(set_id)
            if set_id in (2, 3):
                self._templates(message, body, set_id)
            else:
                assert set_id >= 256, "0 and 1 are not used, 4 to 255 are reserved (3.3.2)"
                self._data(message, body, set_id)
            at += length
        self.sequences[domain] = (sequence + len(message.records)) % 2**32
        self.messages.append(message)
        return message

    def _templates(self, message: OracleMessage, body: bytes, set_id: int) -> None:
        for template in read_templates(body, set_id):
            if not template.fields:
                self._withdraw(message, template.id, set_id)
                continue
            known = self.templates.get((message.domain, template.id))
            assert known in (None, template), "an id is not used for two layouts (8.1, 8.4)"
            assert not known or not self.reliable, "a template is sent once where nothing is lost (8.1)"
            self.templates[message.domain, template.id] = template
            message.templates.append(template)

    def _withdraw(self, message: OracleMessage, template_id: int, set_id: int) -> None:
        assert self.reliable, "no withdrawals over UDP (8.4)"
        known = [number for domain, number in self.templates if domain == message.domain]
        of_kind = [n for n in known if bool(self.templates[message.domain, n].scope) == (set_id == 3)]
        gone = of_kind if template_id == set_id else [n for n in of_kind if n == template_id]
        assert gone, "only what was sent is withdrawn (8.1)"
        for number in gone:
            del self.templates[message.domain, number]
        message.withdrawals.append(template_id)

    def _data(self, message: OracleMessage, body: bytes, set_id: int) -> None:
        template = self.templates.get((message.domain, set_id))
        assert template, f"data of template {set_id} before its template (8)"
        at = 0
        while at < len(body):
            start = at
            values: dict[str, object] = {}
            repeated: dict[str, list[object]] = {}
            order = []
            for pen, number, length in template.fields:
                name, kind, _ = ELEMENTS[pen, number]
                if length == 65535:
                    length = body[at]
                    at += 1
                    if length == 255:
                        length = int.from_bytes(body[at : at + 2], "big")
                        at += 2
                assert at + length <= len(body), "a record ends inside its set: no padding"
                value = decode_value(kind, body[at : at + length])
                # An element that occurs again has all its values in order.
                values[name] = [*seen, value] if (seen := repeated.get(name)) else value
                repeated.setdefault(name, []).append(value)
                order.append(name)
                at += length
            record = OracleRecord(template, body[start:at], values, message.domain, message.export_time, order)
            self._flow_keys(record)
            message.records.append(record)

    def _flow_keys(self, record: OracleRecord) -> None:
        """Flow Keys are those of a template that was sent, among its fields (4.4)."""
        if record.template.scope and "flowKeyIndicator" in record.values:
            described = self.templates.get((record.domain, record["templateId"]))
            assert described, "Flow Keys of a template that was never sent (4.4)"
            assert record["flowKeyIndicator"] < 1 << len(described.fields), "a key behind the last field (4.4)"
