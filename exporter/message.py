"""Messages that C does not make: headers, sets and the templates and options that go before data. Sans-IO."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct

from exporter.elements import VARIABLE_LENGTH
from exporter.errors import MessageTooLongError
from exporter.template import FIRST_TEMPLATE_ID, TEMPLATE_SET, Template

VERSION = 10  # RFC 7011 section 3.1
HEADER = Struct("!HHIII")  # version, length, Export Time, sequence number, observation domain
SET_HEADER = Struct("!HH")  # set id, length


@dataclass(frozen=True)
class Message:
    """The sets of a message, without the header, and the data records among them."""

    body: bytes
    records: int

    def encode(self, export_time: int, sequence: int, domain: int) -> bytes:
        """Put the header in front (RFC 7011 section 3.1)."""
        length = HEADER.size + len(self.body)
        return HEADER.pack(VERSION, length, export_time % 2**32, sequence % 2**32, domain) + self.body


# What goes into a Set: the Set's id, and a record of it.
Item = tuple[int, bytes]


def encode_set(set_id: int, records: Iterable[bytes]) -> bytes:
    """One Set of these records, without padding (RFC 7011 section 3.3)."""
    body = b"".join(records)
    return SET_HEADER.pack(set_id, SET_HEADER.size + len(body)) + body


def fit(items: Iterable[Item], limit: int, shared: Container[int] = (TEMPLATE_SET,)) -> tuple[Message, int]:
    """One message of at most `limit` octets, header included, of the first of these items; and how many went in.

    Records of Sets with an id in `shared` share a Set: Template Records do. An Options Template Record and a record of
    one have a Set of their own, because some collectors read no second one. MessageTooLongError where the first item
    alone is longer than `limit`.
    """
    sets: list[tuple[int, list[bytes]]] = []
    room = limit - HEADER.size
    taken = records = 0
    for set_id, record in items:
        joins = bool(sets) and sets[-1][0] == set_id and set_id in shared
        needed = len(record) + (0 if joins else SET_HEADER.size)
        if needed > room:
            if not taken:
                raise MessageTooLongError(
                    f"a record of set {set_id} takes {needed} octets but a message has room for {room}: "
                    "raise message_size or the path MTU"
                )
            break
        if joins:
            sets[-1][1].append(record)
        else:
            sets.append((set_id, [record]))
        room -= needed
        taken += 1
        records += set_id >= FIRST_TEMPLATE_ID
    return Message(b"".join(encode_set(*item) for item in sets), records), taken


def pack(items: Sequence[Item], limit: int, shared: Container[int] = (TEMPLATE_SET,)) -> list[Message]:
    """Messages of at most `limit` octets that carry all of these items in this order: see fit()."""
    messages = []
    while items:
        message, taken = fit(items, limit, shared)
        messages.append(message)
        items = items[taken:]
    return messages


def template_messages(templates: Iterable[Template], limit: int) -> list[Message]:
    """Messages that carry these templates in this order: see fit()."""
    return pack([(template.set_id, template.encode()) for template in templates], limit)


def set_ids_of(octets: bytes) -> list[int]:
    """Set ids of a message, in order."""
    ids, at = [], HEADER.size
    while at < len(octets):
        set_id, length = SET_HEADER.unpack_from(octets, at)
        ids.append(set_id)
        at += length
    return ids


def _records(body: bytes, template: Template) -> Iterator[bytes]:
    """Cut the records of one Set of ours; its values of variable length are shorter than 255 octets."""
    at = 0
    while at < len(body):
        start = at
        for item in template.fields:
            at += 1 + body[at] if item.length == VARIABLE_LENGTH else item.length
        yield body[start:at]


def split(octets: bytes, templates: Mapping[int, Template], limit: int) -> list[tuple[bytes, int]]:
    """Make of one of our messages of data several of at most `limit` octets, each with its number of records.

    For a path that turned out narrower than the message: the sequence numbers go on from record to record. An empty
    list where a record alone is too long or the message carries templates. Each options record keeps its own Set.
    """
    _, _, export_time, sequence, domain = HEADER.unpack_from(octets)
    items: list[Item] = []
    at = HEADER.size
    while at < len(octets):
        set_id, length = SET_HEADER.unpack_from(octets, at)
        if set_id < FIRST_TEMPLATE_ID:
            return []
        items += [
            (set_id, record) for record in _records(octets[at + SET_HEADER.size : at + length], templates[set_id])
        ]
        at += length
    try:
        messages = pack(items, limit, {number for number, template in templates.items() if not template.scope})
    except MessageTooLongError:
        return []
    pieces = []
    for message in messages:
        pieces.append((message.encode(export_time, sequence, domain), message.records))
        sequence += message.records
    return pieces
