"""Flows of every kind and all options data to one collector, over whatever transport: RFC 5471 sections 3.1 and 3.2."""

from collections.abc import Callable
from fractions import Fraction

from exporter.exporter import Exporter
from exporter.message import set_ids_of
from exporter.options import Target
from exporter.optionsdata.kinds import KINDS
from exporter.optionsdata.types import DATA_TYPES
from exporter.selector import main_selector
from exporter.status import Metering
from lib.decoders import Values, read_twice
from lib.harness import every_kind
from lib.ipfix_oracle import ELEMENTS
from lib.samples import batch
from lib.sending import NOW, clock, exporter_to, tick_until
from lib.wait import wait_until

SECOND = 10**9
TYPES = {name: kind for name, kind, _ in ELEMENTS.values()}

# Abstract data types of RFC 7012 section 3.1 that nothing here has a value for: counts, sizes and numbers are not
# negative, probabilities and limits take float64, times are whole seconds or milliseconds or offsets in microseconds.
NEVER = {
    *("signed8", "signed16", "signed32", "signed64", "float32", "boolean"),
    *("dateTimeMicroseconds", "dateTimeNanoseconds"),
}
EVERY = set(DATA_TYPES) - NEVER

# Of each type a value that went in: element → type, value.
KNOWN: dict[str, tuple[str, object]] = {
    "protocolIdentifier": ("unsigned8", 6),
    "sourceTransportPort": ("unsigned16", 1000),
    "ingressInterface": ("unsigned32", 2),
    "packetDeltaCount": ("unsigned64", 4),
    "sourceMacAddress": ("macAddress", "00:00:5e:00:53:01"),
    "sourceIPv4Address": ("ipv4Address", "192.0.2.1"),
    "sourceIPv6Address": ("ipv6Address", "2001:db8::1"),
    "tunnelKey": ("octetArray", bytes.fromhex("123456")),
    "interfaceName": ("string", "eth0"),
    "samplingProbability": ("float64", 0.25),
}


def export_every_kind(exporter: Exporter, read: Callable[[], list[bytes]]) -> list[Values]:
    """Send, and wait until all of it is there; data records as two decoders read them, alike.

    Args:
        exporter: of every_type_to(), connected.
        read: gives all messages that have arrived.

    """
    session = exporter.collectors[0].session
    assert session is not None
    exporter.set_weight(0, Fraction(1, 4), [main_selector(exporter.options)])
    exporter.set_interfaces([(2, "eth0", "uplink")])
    exporter.set_metering(Metering(1000, 250, 0))

    def all_is_there() -> bool:
        return len(read()) == exporter.targets()[0]["messages_sent"]

    for sampled in every_kind():
        exporter.ingest(batch([{"time": NOW, **sampled}]), 1)
        if not session.reliable:  # nothing holds it up, and a socket of openssl's has little room
            wait_until(all_is_there)
    options = {kind.template.id for kind in KINDS}

    def complete() -> bool:
        return all_is_there() and options <= {number for octets in read() for number in set_ids_of(octets)}

    tick_until(exporter, complete, clock(SECOND // 10))
    return read_twice(read(), session.reliable)


def every_type_to(target: Target, **options: object) -> Exporter:
    """Make an exporter for export_every_kind()."""
    settings = {"profile": "full", "options_data": True, "stats_interval": 1, **options}
    return exporter_to(target, **settings)


def check_every_type(records: list[Values]) -> None:
    """Hold what arrived to what was sent: every kind of flow, every type, known values of each."""
    flows = [dict(values) for values in records if values[0][0] == "observationPointId"]
    assert len(flows) == len(every_kind())
    found = {TYPES[name] for values in records for name, _ in values}
    assert found == EVERY
    for name, (kind, value) in KNOWN.items():
        assert TYPES[name] == kind
        assert value in [shown for values in records for other, shown in values if other == name]
    assert {kind for kind, _ in KNOWN.values()} | {"dateTimeSeconds", "dateTimeMilliseconds"} == EVERY
