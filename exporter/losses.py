"""What did not reach a collector: flow records, and the packets and octets in them (RFC 7011 section 4.3).

Read back from the octets of a message that is lost, so that messages that arrive pay nothing for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporter._native import ffi, lib
from exporter.optionsdata.figures import Loss
from exporter.session import Session
from exporter.template import Template
from exporter.transports.connection import Outgoing


@dataclass(frozen=True)
class Contents:
    """What one message holds: Export Time and observation domain, flow records, their packets and octets."""

    export_time: int
    domain: int
    flows: int
    packets: int
    octets: int


def _place(names: list[str], *wanted: str) -> int:
    return next((names.index(name) for name in wanted if name in names), len(names))


class Reader:
    """Reads messages back: knows the templates of flow records."""

    def __init__(self, templates: Iterable[Template]) -> None:
        self._known: dict[int, Template] = {}
        self._contents = ffi.new("struct contents *")
        self.learn(templates)

    def learn(self, templates: Iterable[Template]) -> None:
        """Know these too; messages by older ones may still wait to be sent."""
        self._known |= {template.id: template for template in templates}
        self._templates: ffi.CData | None = None

    def _layouts(self) -> "ffi.CData":
        """Make the templates as C wants them, when they are needed first: most exporters lose nothing."""
        if self._templates is not None:
            return self._templates
        ordered = [self._known[number] for number in sorted(self._known)]
        # Kept here, because C only points to them.
        self._lengths = [ffi.new("__u16[]", [item.length for item in template.fields]) for template in ordered]
        self._templates = ffi.new("struct contents_template[]", len(ordered))
        for entry, template, lengths in zip(self._templates, ordered, self._lengths, strict=True):
            names = [item.element.name for item in template.fields]
            entry.id, entry.field_count, entry.lengths = template.id, len(names), lengths
            entry.packets = _place(names, "packetDeltaCount")
            entry.octets = _place(names, "octetDeltaCount", "layer2OctetDeltaCount")
        return self._templates

    def read(self, octets: bytes) -> Contents:
        """Sum over a message."""
        data = ffi.from_buffer("__u8[]", octets)
        layouts = self._layouts()
        if lib.message_contents(layouts, len(layouts), data, len(octets), self._contents):
            raise ValueError(f"no message of {len(octets)} octets: it was made by templates that are not known")
        contents = self._contents
        return Contents(
            int(contents.export_time),
            int(contents.domain),
            int(contents.flows),
            int(contents.packets),
            int(contents.octets),
        )


class Losses:
    """The messages that one collector did not get."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.total = Loss()

    def count(self, message: Outgoing, session: Session | None) -> None:
        """Count a message as lost that this session was to send, and take it back from what it has sent."""
        if not message.flows:
            return
        contents = self._reader.read(message.octets)
        self.add(contents.flows, contents.packets, contents.octets, contents.export_time)
        if session is not None:
            session.not_sent(contents.domain, contents.flows, len(message.octets))

    def add(self, flows: int, packets: int, octets: int, time: int) -> None:
        """Count flow records as lost; a message of options or templates alone is no loss of any."""
        if flows:
            total = self.total
            self.total = Loss(
                total.flows + flows,
                total.packets + packets,
                total.octets + octets,
                total.first if total.flows else time,
                time,
            )


def lose_flows(collectors: Iterable[Losses | None], flows: Sequence["ffi.CData"], time: int) -> None:
    """Count flows (struct flow) that became no records, at `time` in seconds since 1970, for each collector."""
    packets = sum(flow.packets for flow in flows)
    octets = sum(flow.ip_octets if flow.key.ip_version else flow.frame_octets for flow in flows)
    for losses in filter(None, collectors):
        losses.add(len(flows), packets, octets, time)
