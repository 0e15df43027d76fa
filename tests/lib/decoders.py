"""What two decoders that share no code read in the same messages: the oracle of the tests, and xdpfix collect's."""

from collections.abc import Iterable
from datetime import datetime

from exporter.decoder import Decoder, Record
from lib.ipfix_oracle import Oracle, OracleRecord

Values = list[tuple[str, object]]  # element's name, value as the oracle has it; in the template's order


def _plain(kind: str, value: object) -> object:
    if isinstance(value, datetime):
        seconds = value.timestamp()
        return round(seconds * 1000) if kind == "dateTimeMilliseconds" else round(seconds)
    return str(value) if kind.startswith("ipv") else value


def _decoded(record: Record) -> Values:
    return [(element.name, _plain(element.type, value)) for element, value in record.fields]


def _heard(record: OracleRecord) -> Values:
    repeated = {name: iter(record[name]) for name in record.order if record.order.count(name) > 1}
    return [(name, next(repeated[name]) if name in repeated else record[name]) for name in record.order]


def read_twice(messages: Iterable[bytes], reliable: bool = False) -> list[Values]:
    """Data records of one session, options records among them; AssertionError where the two do not agree."""
    oracle, decoder = Oracle(reliable=reliable), Decoder()
    records: list[Values] = []
    for octets in messages:
        heard = [_heard(record) for record in oracle.feed(octets).records]
        decoded = [_decoded(record) for record in decoder.decode(octets, "a session")]
        assert heard == decoded
        records += heard
    assert decoder.stats.lost_records == decoder.stats.unknown_sets == 0
    return records
