"""Other people's readers on the options data of the stream: each record as the oracle read it, names shown as names."""

import subprocess
from datetime import datetime
from io import BytesIO
from typing import Any

import ipfix.ie
import ipfix.reader

from lib.ipfix_oracle import OracleRecord
from lib.peers import ENVIRONMENT, VENDORS, Nfcapd, Row, ipfix_dump, tshark_records
from lib.stream import INTERFACES, NAMES, OBSERVED

from .conftest import DOMAIN, Stream

REPEATED = "observationTimeSeconds"  # when first and when last: readers that make dicts show one of them


def shown(name: str) -> str:
    """What nfdump shows as the name of an interface: its description."""
    return next(description or own for _, own, description in NAMES if own == name)


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.replace(tzinfo=value.tzinfo or datetime.now().astimezone().tzinfo).timestamp())
    if isinstance(value, str):
        return value.rstrip("\0")
    return value


def sent(stream: Stream) -> list[Row]:
    return [{name: value for name, value in record.values.items() if name != REPEATED} for record in stream.options]


def by_template(records: list[OracleRecord], number: int) -> list[OracleRecord]:
    return [record for record in records if record.template.id == number]


def test_the_stream_has_every_kind(stream: Stream):
    assert {record.template.id for record in stream.options} == set(range(512, 523))


def test_ipfix_of_pypi_reads_every_record(stream: Stream):
    ipfix.ie.use_iana_default()
    for name, enterprise, number, kind, length in VENDORS:
        ipfix.ie.for_spec(f"{name}({enterprise}/{number})<{kind}>[{length}]")
    reader = ipfix.reader.from_stream(BytesIO(b"".join(stream.datagrams)))
    rows = [{name: plain(value) for name, value in row.items()} for row in reader.namedict_iterator()]
    options = [row for row in rows if "flowEndReason" not in row]
    for row in options:
        row.pop(REPEATED, None)
    assert options == sent(stream)


def test_xdpfix_collect_reads_every_record(stream: Stream):
    head = {"exporter", "port", "domain", "template", "sequence", "exportTime", "options", "scope", REPEATED}
    rows = [row for row in stream.collect.records() if row.get("options")]
    assert [{name: value for name, value in row.items() if name not in head} for row in rows] == sent(stream)
    assert [len(row["scope"]) for row in rows] == [record.template.scope for record in stream.options]


def test_libfixbuf_reads_every_record(stream: Stream):
    rows, warnings = ipfix_dump(stream.file)
    assert warnings == ""
    options = [row for row in rows if "flowEndReason" not in row]
    assert len(options) == len(stream.options)
    for row, record in zip(options, stream.options, strict=True):
        assert list(row) == list(dict.fromkeys(record.order))
        for name, value in record.values.items():
            if isinstance(value, int):
                assert row[name] == str(value), name
            elif isinstance(value, str):
                assert row[name].partition(") ")[2] == value, name


def test_libfixbuf_names_enterprise_elements_by_their_types(stream: Stream):
    """RFC 5610, RFC 5471 3.3.1: without a list of ours; no element of a flow record is unknown to it."""
    command = ["ipfixDump", "--in", str(stream.file), "--data", "--rfc5610"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=True)
    assert "alienInformationElement" not in done.stdout
    assert done.stdout.count(" tunnelType : ") == sum(bool(flow.tunnel(stream.profile)) for flow in stream.flows)


def test_tshark_dissects_every_record(stream: Stream):
    rows = [row for row in tshark_records(stream.capture) if row["set"] < 1024 and "srcmac" not in row]
    assert [row["set"] for row in rows] == [record.template.id for record in stream.options]
    selectors = [row for row in rows if row["set"] == 517]
    assert [(row["selector_algorithm"], float(row["sampling_probability"])) for row in selectors] == [
        ("4", 1 / stream.sampling)
    ]
    names = [(int(row["inputint"]), row["if_name"].rstrip("\0")) for row in rows if row["set"] == 520]
    assert names == [(number, name) for number, name, _ in NAMES]
    statistics = [
        (row["selector_id_total_pkts_observed"], row["selector_id_total_pkts_selected"])
        for row in rows
        if row["set"] == 519
    ]
    assert set(statistics) == {(str(OBSERVED.observed), str(OBSERVED.selected))}


def test_nfdump_shows_interfaces_by_name(stream: Stream):
    """It reads the description, in a template of this form only: the interface behind a scope of four octets."""
    rows = interface_names(stream.nfcapd)
    assert len(rows) == len(stream.flows)
    names = {number: shown(name) for number, name in zip(INTERFACES, ("eth0", "veth1"), strict=True)}
    assert {(number, name) for number, name in rows if number} <= set(names.items())
    # Taken in by the one interface or sent out by the other; the templates of profile "ovs" have none.
    assert {number for number, _ in rows} == ({0, INTERFACES[0]} if stream.profile == "full" else {0})


def interface_names(nfcapd: Nfcapd) -> list[tuple[int, str]]:
    lines = nfcapd.nfdump("-q", "-o", "fmt:%in|%inam", "-r").splitlines()
    rows = [line.split("|") for line in lines]
    return [(int(number), name.strip()) for number, name in rows]


def test_no_one_takes_an_options_record_for_a_flow(stream: Stream):
    assert len(stream.nfcapd.records()) == len(stream.flows)
    assert len(stream.nfacctd.records()) == sum(flow.has_ip(stream.profile) for flow in stream.flows)


def test_nfacctd_and_nfcapd_take_only_one_rate(stream: Stream):
    """Of all that says how packets were sampled both go by samplingInterval (34) alone."""
    assert {row["sampling_rate"] for row in stream.nfacctd.records()} == {1}
    assert stream.nfcapd.samplers() == [1]
    announced = by_template(stream.options, 512)
    assert [(record["observationDomainId"], record["samplingInterval"]) for record in announced] == [(DOMAIN, 1)]
