"""What a session has told in one observation domain, and counted there (RFC 7011 section 3.1)."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from exporter.message import Item, Message
from exporter.optionsdata import flowkeys
from exporter.optionsdata.figures import Sent
from exporter.optionsdata.kinds import KINDS
from exporter.optionsdata.templates import FLOW_KEYS
from exporter.template import Template

# Options templates whose records go out ahead of the templates and data that they are about.
FIRST = frozenset(kind.template.id for kind in KINDS if kind.first)


@dataclass
class Domain:
    """What was told in one observation domain.

    Attributes:
        id: observationDomainId (149).
        sequence: data records so far, modulo 2**32.
        told: the templates that the collector has, by id, in the order in which they went out.
        due_ns: when templates go out again, and what holds until it changes with them.
        records: of options data that holds until it changes: what was said last, by template id.
        sent: flow records, their messages and octets.

    """

    id: int
    due_ns: int
    sequence: int = 0
    told: dict[int, Template] = field(default_factory=dict)
    records: dict[int, list[bytes]] = field(default_factory=dict)
    sent: Sent = field(default_factory=Sent)

    def advance(self, records: int, messages: int, octets: int) -> int:
        """Count flow records about to be sent, and the messages and octets that hold them; return the number before."""
        before = self.sequence
        self.sequence = (before + records) % 2**32
        self.sent = Sent(self.sent.messages + messages, self.sent.flows + records, self.sent.octets + octets)
        return before

    def not_sent(self, flows: int, octets: int) -> None:
        """Take back from what was counted as sent one message that did not go out."""
        self.sent = Sent(self.sent.messages - 1, self.sent.flows - flows, self.sent.octets - octets)

    def stamp(self, message: Message, export_time: int) -> tuple[bytes, int]:
        """Count a message of templates or options about to be sent; return it with its header, and its data records."""
        octets = message.encode(export_time, self.sequence, self.id)
        self.sequence = (self.sequence + message.records) % 2**32
        self.sent = Sent(self.sent.messages + 1, self.sent.flows, self.sent.octets + len(octets))
        return octets, message.records

    def untold(self, templates: Iterable[Template]) -> list[Template]:
        """Give those of the templates that the collector does not have."""
        # Asked for every batch, and mostly the same object: its fields are compared only where it is not.
        others = [template for template in templates if self.told.get(template.id) is not template]
        return [template for template in others if self.told.get(template.id) != template]

    def forget(self, ids: AbstractSet[int]) -> None:
        """Take back that these templates were told, and with them their records and Flow Keys (section 4.4)."""
        for number in ids:
            del self.told[number]
            self.records.pop(number, None)
        if (keys := self.records.get(FLOW_KEYS.id)) is not None:
            self.records[FLOW_KEYS.id] = [record for record in keys if flowkeys.described(record) not in ids]

    def repetition(self) -> Iterator[Item]:
        """Give everything again, in the order in which a collector that knows nothing can use it."""
        for chosen in (True, False):
            ids = [number for number in self.told if (number in FIRST) == chosen]
            yield from ((self.told[number].set_id, self.told[number].encode()) for number in ids)
            yield from ((number, record) for number in ids for record in self.records.get(number, ()))
