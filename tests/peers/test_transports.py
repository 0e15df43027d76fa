"""What other people's readers make of a TCP stream and of files. Neither nfcapd 1.7 nor nfacctd 1.7 listens to TCP."""

from pathlib import Path

import pytest

from exporter.options import Target
from exporter.transports.file import closed_files
from lib.peers import ipfix_dump, tshark, tshark_records, write_stream_capture
from lib.receiver import StreamReceiver
from lib.stream import send_stream, template_ids
from lib.wait import wait_until

SEGMENT = 700  # octets: no message ends with one


@pytest.mark.parametrize("profile", ["full", "ovs"])
def test_e074_tshark_cuts_a_tcp_stream_into_the_same_messages(profile: str, tmp_path: Path):
    """By their Length field, whatever the segments are; ipfixDump reads the file of the same flows."""
    path = tmp_path / "flows.ipfix"
    with StreamReceiver() as receiver:
        flows = send_stream([receiver.target, Target("", 0, "file", str(path))], profile)
        wait_until(lambda: len(receiver.records()) == len(flows))
        (session,) = receiver.sessions
    capture = tmp_path / "stream.pcap"
    write_stream_capture(capture, b"".join(session.messages), SEGMENT)
    rows = [row for row in tshark_records(capture) if "srcmac" in row]
    assert {row["srcmac"] for row in rows} == {flow.mac for flow in flows}
    assert len(rows) == len(flows)
    assert {row["set"] for row in rows} <= template_ids(profile)
    assert tshark(capture, "-Y", "_ws.malformed || _ws.expert.severity == error") == ""
    wait_until(lambda: not path.exists())
    (closed,) = closed_files(path)
    rows, warnings = ipfix_dump(closed)
    assert warnings == ""
    shown = [row["sourceMacAddress"] for row in rows if "sourceMacAddress" in row]  # options data has none
    assert sorted(shown) == sorted(flow.mac for flow in flows)
