"""Raw counts with samplingInterval (34) = N: collectors that multiply show the truth, as they do with scaled counts."""

from pathlib import Path

import pytest

from lib.peers import Collect, Nfacctd, Nfcapd, ipfix_dump
from lib.receiver import Receiver
from lib.stream import send_stream

DOMAIN = 9
SAMPLING = 100


@pytest.mark.parametrize("profile", ["full", "ovs"])
def test_collectors_multiply_raw_counts_right(tmp_path: Path, profile: str):
    """By nfcapd always, by nfacctd with nfacctd_renormalize; the reference's table of who multiplies."""
    with (
        Nfcapd(tmp_path / "nfcapd") as nfcapd,
        Nfacctd(tmp_path / "nfacctd") as nfacctd,
        Collect(tmp_path / "collect") as collect,
        Receiver() as receiver,
    ):
        targets = [peer.target for peer in (nfcapd, nfacctd, collect, receiver)]
        flows = send_stream(targets, profile, SAMPLING, DOMAIN, counts="raw")
        receiver.read()
        with_ip = [flow for flow in flows if flow.octets]
        rows = nfacctd.wait_records(len(with_ip))
        for peer in (nfcapd, nfacctd, collect):
            peer.stop()
    truth = sum(flow.packets for flow in with_ip), sum(flow.octets for flow in with_ip)
    assert sum(record["packetDeltaCount"] for record in receiver.oracle.records) * SAMPLING == sum(
        flow.packets for flow in flows
    )
    # What it has multiplied it shows with a rate of 1: nothing is left to do.
    assert {row["sampling_rate"] for row in rows} == {1}
    assert (sum(row["packets"] for row in rows), sum(row["bytes"] for row in rows)) == truth
    assert nfcapd.samplers() == [SAMPLING]
    shown = [row for row in nfcapd.records() if "src addr" in row]
    assert (sum(int(row["in packets"]) for row in shown), sum(int(row["in bytes"]) for row in shown)) == truth
    dumped, warnings = ipfix_dump(collect.file)
    assert warnings == ""
    assert {row["samplingInterval"] for row in dumped if "samplingInterval" in row} == {str(SAMPLING)}
