"""Readers that name elements: PyPI's ipfix, libfixbuf's ipfixDump, and `xdpfix collect` with the file that it writes.

Each must show every element of every flow, and no other. What one cannot show is said at its test.
"""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import ipfix.ie
import ipfix.reader
import pytest

from lib.peers import VENDORS, ipfix_dump
from lib.stream import Flow

from .conftest import DOMAIN, Stream

DELTAS = ("flowStartDeltaMicroseconds", "flowEndDeltaMicroseconds")


@pytest.fixture(scope="module", autouse=True)
def registry():
    """Load the elements that PyPI's ipfix does not load by itself."""
    ipfix.ie.use_iana_default()
    for name, enterprise, number, kind, length in VENDORS:
        ipfix.ie.for_spec(f"{name}({enterprise}/{number})<{kind}>[{length}]")


def check_deltas(flow: Flow, record: dict[str, Any], export_time: int) -> None:
    """Take 158 and 159 out of a record: they count back from the message's Export Time (RFC 7011 5.1)."""
    start, end = (export_time * 10**6 - int(record.pop(name)) for name in DELTAS)
    assert (start, end) == (flow.start // 1000, flow.end // 1000)


def milliseconds(moment: datetime) -> int:
    return round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def plain(value: Any) -> Any:
    """Return a value as lib.stream writes it."""
    if isinstance(value, datetime):
        return milliseconds(value)
    if isinstance(value, bytes):
        return value.hex(":") if len(value) == 6 else value.hex()
    return value if isinstance(value, int) else str(value)


def test_ipfix_of_pypi(stream: Stream):
    rows = []
    reader = ipfix.reader.from_stream(BytesIO(b"".join(stream.datagrams)))
    for values in reader.namedict_iterator():
        row = {name: plain(value) for name, value in values.items()}
        rows.append(row | {"export_time": int(reader.msg.get_export_time().replace(tzinfo=UTC).timestamp())})
    options = [row for row in rows if "samplingInterval" in row]
    assert [(row["observationDomainId"], row["samplingInterval"]) for row in options] == [(DOMAIN, 1)]
    for flow, row in stream.matched(stream.flow_rows(rows), "sourceMacAddress"):
        check_deltas(flow, row, row.pop("export_time"))
        assert row == flow.elements(stream.profile)


def test_xdpfix_collect(stream: Stream):
    rows = stream.collect.records()
    options = [row for row in rows if row.get("options")]
    announced = [row for row in options if "samplingInterval" in row]
    assert [(row["scope"], row["samplingInterval"]) for row in announced] == [(["observationDomainId"], 1)]
    head = {"exporter", "port", "domain", "template", "sequence"}
    for flow, row in stream.matched(stream.flow_rows(rows), "sourceMacAddress"):
        assert (row["domain"], row["exporter"]) == (DOMAIN, "127.0.0.1")
        assert row["template"] == flow.template(stream.profile)
        values = {name: value for name, value in row.items() if name not in head}
        check_deltas(flow, values, values.pop("exportTime"))
        for name in ("flowStartMilliseconds", "flowEndMilliseconds"):
            if name in values:
                values[name] = milliseconds(datetime.fromisoformat(values[name]))
        assert values == flow.elements(stream.profile)
    log = stream.collect.log.read_text()
    messages, options = len(stream.datagrams), len(stream.options)
    assert f"messages {messages}, malformed 0, records {len(stream.flows)}, options records {options}" in log
    assert "unknown sets 0" in log and "sequence gaps 0" in log


def test_the_file_that_collect_writes_is_the_stream(stream: Stream):
    """Every message, in order: an RFC 5655 file is messages one behind the other. Sequence numbers start at 0."""
    written = stream.file.read_bytes()
    sizes = [len(octets) for octets in stream.datagrams]
    assert len(written) == sum(sizes)
    start = 0
    for octets in stream.datagrams:
        assert written[start : start + len(octets)] == octets
        start += len(octets)


def test_ipfixdump_would_notice_a_lost_message(stream: Stream, tmp_path: Path):
    lost = tmp_path / "lost.ipfix"
    lost.write_bytes(b"".join(stream.without_one()))
    assert "out of sequence" in ipfix_dump(lost)[1]


def test_ipfixdump_of_libfixbuf(stream: Stream):
    """It reads the file of `xdpfix collect`. It shows Export Time apart from the records: 158 and 159 are not checked.

    It warns of what is out of sequence.
    """
    rows, warnings = ipfix_dump(stream.file)
    assert warnings == ""
    options = [row for row in rows if "samplingInterval" in row]
    assert [(row["observationDomainId"], row["samplingInterval"]) for row in options] == [(str(DOMAIN), "1")]
    for flow, row in stream.matched(stream.flow_rows(rows), "sourceMacAddress"):
        for name in DELTAS:
            del row[name]
        like = {name: str(value) for name, value in flow.elements(stream.profile).items()}
        for name in ("flowStartMilliseconds", "flowEndMilliseconds"):
            if name in row:
                row[name] = str(milliseconds(datetime.fromisoformat(row[name])))
        assert row == like
