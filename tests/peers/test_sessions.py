"""What collectors make of more than one session: an exporter that starts anew, and several at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.peers import Collect, Nfacctd, Nfcapd, Row, ipfix_dump, tshark, tshark_records, write_capture
from lib.receiver import Receiver
from lib.stream import Flow, send_stream, template_ids


@dataclass(frozen=True)
class Heard:
    """What the peers have after several streams. `receivers`: one for each stream."""

    flows: list[list[Flow]]
    nfcapd: Nfcapd
    nfacctd: list[Row]
    collect: Collect
    receivers: list[Receiver]
    capture: Path

    def sums(self, profile: str) -> dict[str, tuple[int, int, int]]:
        """Flows, packets and octets of IP that each peer shows."""
        nfdump = [row for row in self.nfcapd.records() if "src addr" in row]
        dissected = [row for row in tshark_records(self.capture) if "octets" in row]
        assert {row["set"] for row in dissected} <= template_ids(profile)
        collected = [row for row in self.collect.records() if "octetDeltaCount" in row]
        dumped = [row for row in ipfix_dump(self.collect.file)[0] if "octetDeltaCount" in row]
        return {
            "sent": add(
                [row for flows in self.flows for row in map(vars, flows) if row["octets"]], "packets", "octets"
            ),
            "nfdump": add(nfdump, "in packets", "in bytes"),
            "nfacctd": add(self.nfacctd, "packets", "bytes"),
            "tshark": add(dissected, "packets", "octets"),
            "xdpfix collect": add(collected, "packetDeltaCount", "octetDeltaCount"),
            "ipfixDump": add(dumped, "packetDeltaCount", "octetDeltaCount"),
        }


def add(rows: list[Row], packets: str, octets: str) -> tuple[int, int, int]:
    return len(rows), sum(int(row[packets]) for row in rows), sum(int(row[octets]) for row in rows)


def hear(folder: Path, streams: list[dict], at_once: bool) -> Heard:
    """Send the streams to peers and collect what they show. `streams`: arguments of send_stream()."""
    with ExitStack() as stack:
        nfcapd, nfacctd, collect = peers = (
            stack.enter_context(Nfcapd(folder / "nfcapd")),
            stack.enter_context(Nfacctd(folder / "nfacctd")),
            stack.enter_context(Collect(folder / "collect")),
        )
        receivers = [stack.enter_context(Receiver()) for _ in streams]

        def send(receiver: Receiver, stream: dict) -> list[Flow]:
            return send_stream([*(peer.target for peer in peers), receiver.target], **stream)

        if at_once:
            with ThreadPoolExecutor(len(streams)) as pool:
                flows = list(pool.map(send, receivers, streams))
        else:
            flows = [send(receiver, stream) for receiver, stream in zip(receivers, streams, strict=True)]
        arrived = []
        for receiver in receivers:
            receiver.read()
            datagrams = zip(receiver.datagrams, (port for _, port in receiver.senders), strict=True)
            arrived.append([*datagrams])
        if at_once:  # as a collector may get them: taking turns
            longest = max(map(len, arrived))
            packets = [part[i] for i in range(longest) for part in arrived if i < len(part)]
        else:
            packets = [packet for part in arrived for packet in part]
        capture = folder / "sessions.pcap"
        write_capture(capture, packets)
        rows = nfacctd.wait_records(sum(bool(flow.octets) for part in flows for flow in part))
        for peer in peers:
            peer.stop()
        return Heard(flows, nfcapd, rows, collect, receivers, capture)


@pytest.mark.parametrize("profile", ["full", "ovs"])
def test_an_exporter_that_starts_anew_is_understood(tmp_path: Path, profile: str):
    """Its new session has templates first and sequence numbers from 0; no peer loses a flow of it or of the first."""
    heard = hear(
        tmp_path, [{"profile": profile, "domain": 5}, {"profile": profile, "domain": 5, "sampling": 100}], False
    )
    sums = heard.sums(profile)
    assert set(sums.values()) == {sums["sent"]}, sums
    for receiver in heard.receivers:
        first, *_ = receiver.oracle.messages
        assert (first.sequence, first.records) == (0, []) and first.templates
    ports = {port for receiver in heard.receivers for _, port in receiver.senders}
    assert len(ports) == 2, "a session has a source port of its own"
    assert tshark(heard.capture, "-Y", "cflow.unexpected_sequence_number") == ""
    # nfcapd knows an exporter by address and domain alone: the numbers that start again are a failure to it.
    options = sum(len(receiver.oracle.options) for receiver in heard.receivers)
    assert heard.nfcapd.totals()["Sequence failures"] <= options + 1
    log = heard.collect.log.read_text()
    assert "malformed 0" in log and "unknown sets 0" in log and "sequence gaps 0" in log


def test_a_change_of_profile_is_understood(tmp_path: Path):
    """The same domain with other templates after a restart: their ids differ, so no peer takes one for the other."""
    assert not template_ids("full") & template_ids("ovs")
    heard = hear(tmp_path, [{"profile": "ovs", "domain": 5}, {"profile": "full", "domain": 5}], False)
    ovs, full = heard.flows
    shown = add(heard.nfcapd.records(), "in packets", "in bytes")
    assert shown == add([vars(flow) for flow in (*ovs, *full)], "packets", "octets")
    assert tshark(heard.capture, "-q", "-z", "expert").strip() == ""


def test_t29_three_exporters_at_once_are_told_apart(tmp_path: Path):
    """RFC 5471 3.5.5: domains and samplings of their own, messages that take turns: each one's totals in every peer."""
    domains = {5: 1, 6: 10, 4_000_000_000: 100}
    streams = [{"profile": "full", "domain": domain, "sampling": sampling} for domain, sampling in domains.items()]
    heard = hear(tmp_path, streams, True)
    sums = heard.sums("full")
    assert set(sums.values()) == {sums["sent"]}, sums
    assert tshark(heard.capture, "-Y", "cflow.unexpected_sequence_number") == ""
    assert tshark(heard.capture, "-q", "-z", "expert").strip() == ""
    assert heard.nfcapd.samplers() == [1] * len(domains)
    options = sum(len(receiver.oracle.options) for receiver in heard.receivers)
    assert heard.nfcapd.totals()["Sequence failures"] <= options, "it leaves them out of its check"
    for domain, flows in zip(domains, heard.flows, strict=True):
        sent = add([vars(flow) for flow in flows], "packets", "octets")
        by_ip = add([vars(flow) for flow in flows if flow.octets], "packets", "octets")
        nfdump = [row for row in heard.nfcapd.records() if int(row["obs domainID"], 16) == domain]
        assert add(nfdump, "in packets", "in bytes") == sent
        nfacctd = [row for row in heard.nfacctd if row["export_proto_sysid"] == domain]
        assert add(nfacctd, "packets", "bytes") == by_ip
        collected = [row for row in heard.collect.records() if row["domain"] == domain and "octetDeltaCount" in row]
        assert add(collected, "packetDeltaCount", "octetDeltaCount") == by_ip
