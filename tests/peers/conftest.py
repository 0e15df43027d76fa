"""One stream of every template, sent once for each profile and sampling to all peers at the same time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.ipfix_oracle import OracleMessage, OracleRecord
from lib.peers import Collect, Nfacctd, Nfcapd, Row, write_capture
from lib.receiver import Receiver
from lib.stream import Flow, send_stream

DOMAIN = 77


@dataclass(frozen=True)
class Stream:
    """What was sent, and what peers made of it."""

    profile: str
    sampling: int
    flows: list[Flow]
    datagrams: list[bytes]
    options: list[OracleRecord]
    messages: list[OracleMessage]
    capture: Path  # pcap
    file: Path  # RFC 5655, written by `xdpfix collect`
    nfcapd: Nfcapd
    nfacctd: Nfacctd
    collect: Collect

    def without_one(self) -> list[bytes]:
        """Return the datagrams without one that carries flows and has more of them behind it."""
        carries = [any(not record.template.scope for record in message.records) for message in self.messages]
        lost = carries.index(True)
        return [octets for place, octets in enumerate(self.datagrams) if place != lost]

    def flow_rows(self, rows: list[Row]) -> list[Row]:
        """Return those of the rows that are flows, as a reader names their elements."""
        return [row for row in rows if "flowEndReason" in row]

    def matched(self, rows: list[Row], name: str) -> list[tuple[Flow, Row]]:
        """Pair each flow with the one row that has its source address in `name`; there are no other rows."""
        by_mac = {row[name].lower(): row for row in rows}
        assert len(by_mac) == len(rows), "a flow is shown once"
        assert by_mac.keys() == {flow.mac for flow in self.flows}
        return [(flow, by_mac[flow.mac]) for flow in self.flows]


@pytest.fixture(
    scope="session",
    params=[("full", 1), ("full", 100), ("ovs", 1), ("ovs", 100)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    profile, sampling = request.param
    folder = tmp_path_factory.mktemp(f"{profile}-{sampling}")
    with (
        Nfcapd(folder / "nfcapd") as nfcapd,
        Nfacctd(folder / "nfacctd") as nfacctd,
        Collect(folder / "collect") as collect,
        Receiver() as receiver,
    ):
        targets = [peer.target for peer in (nfcapd, nfacctd, collect, receiver)]
        flows = send_stream(targets, profile, sampling, DOMAIN)
        receiver.read()
        capture = folder / "stream.pcap"
        write_capture(capture, zip(receiver.datagrams, (port for _, port in receiver.senders), strict=True))
        nfacctd.wait_records(sum(flow.has_ip(profile) for flow in flows))
        for peer in (nfcapd, nfacctd, collect):
            peer.stop()
        options, messages = receiver.oracle.options, receiver.oracle.messages
        heard = (receiver.datagrams, options, messages, capture, collect.file)
        yield Stream(profile, sampling, flows, *heard, nfcapd, nfacctd, collect)
