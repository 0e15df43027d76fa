"""What the panes of `xdpfix top` say of a snapshot."""

from typing import Any

import pytest

from sampler.console.toprates import RatedFlow
from sampler.console.toptables import (
    SORTS,
    exporters,
    flows,
    interfaces,
    ledger,
    ledger_counts,
    short,
    target_counts,
    totals,
)
from sampler.control.ledger import LEFT_OUT


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.04, "0.0"),
        (7, "7"),
        (7.25, "7.2"),
        (99.96, "100"),
        (999, "999"),
        (999.7, "1.0k"),
        (1500, "1.5k"),
        (123_456, "123k"),
        (12_300_000, "12.3M"),
        (10**20, "100000P"),
    ],
)
def test_short_numbers(number: float, text: str) -> None:
    assert short(number) == text


def rated(port: int, packets: float, bits: float, **more: Any) -> RatedFlow:
    row = {
        "interface": "eth0",
        "direction": "in",
        "ethertype": "0x0800",
        "source": "192.0.2.1",
        "destination": "2001:db8::1",
        "source_port": port,
        "destination_port": 53,
        "protocol": 17,
        "packets": 5,
        "octets": 500,
        "age": 1.0,
    }
    return RatedFlow(row | more, packets, bits)


FLOWS = [
    rated(1, 10, 80_000),
    rated(2, 2, 900_000, protocol=47, source_port=None, tunnel="vxlan", tunnel_key=7),
    rated(3, 5, 0, protocol=None, ethertype="0x0806", age=100.0),
]


def test_flows_by_each_column() -> None:
    first = {sort: flows(FLOWS, sort, 200).rows[0] for sort in SORTS}
    assert first["bit/s"][:4] == ("900k", "2", "gre", "192.0.2.1 → [2001:db8::1]:53")
    assert first["pkt/s"][:4] == ("80.0k", "10", "udp", "192.0.2.1:1 → [2001:db8::1]:53")
    assert first["proto"][2] == "0x0806"
    assert first["age"][8] == "100s"
    assert flows(FLOWS, "tunnel", 200).rows[-1][9] == "vxlan 7"


def test_verdicts_have_a_column_where_there_are_any() -> None:
    decided = [
        rated(4, 1, 0, verdict="drop", dropped_packets=5),
        rated(5, 1, 0, verdict="tx", dropped_packets=0),
        RatedFlow(rated(6, 1, 0, verdict="pass", dropped_packets=4000).row | {"packets": 4001}, 1, 0),
    ]
    table = flows([*FLOWS, *decided], "verdict", 100)
    assert table.columns[-1] == "verdict▾"
    assert [row[-1] for row in table.rows] == ["pass, 4.0k dropped", "drop", "tx", "", "", ""]
    assert "verdict" not in flows([*FLOWS, *decided], "pkt/s", 89).columns
    assert "verdict" not in flows(FLOWS, "verdict", 200).columns


@pytest.mark.parametrize(("width", "columns"), [(20, 3), (60, 4), (80, 6), (100, 8), (120, 9), (200, 10)])
def test_columns_that_fit(width: int, columns: int) -> None:
    table = flows(FLOWS, "pkt/s", width)
    assert len(table.columns) == columns
    assert table.columns[1] == "pkt/s▾"
    assert {len(row) for row in table.rows} == {columns}
    assert "pkt/s▾" in table.right


STATS = {
    "samples": dict.fromkeys(LEFT_OUT, 0) | {"selected": 10, "lost_budget": 4},
    "packets": dict.fromkeys(LEFT_OUT, 0) | {"selected": 12, "lost_budget": 5},
    "ring": {"received": 3, "lost": 3, "pending": 0},
    "packets_observed": {"2 ingress": 40},
    "packets_observed_before": 0,
    "exporters": {},
    "links": {},
    "tunnels": {},
    "errors": [],
}
for _name in ("truncated", "malformed", "buffer", "chain"):
    STATS["samples"][_name] = 0  # type: ignore[index]
TARGET = {
    "target": "192.0.2.1:4739",
    "state": "connected",
    "records_sent": 8,
    "records_lost_queue": 2,
    "records_lost_send": 1,
    "records_waiting": 4,
    "messages_sent": 3,
    "send_failures": 1,
}
MAIN = {"records": 11, "records_lost_memory": 0, "messages_sent": 3, "send_failures": 1, "flows": 6}
SNAPSHOT = {
    "stats": STATS,
    "exporters": {"main": MAIN | {"targets": [TARGET, TARGET | {"target": "b", "records_lost_queue": 0}]}},
    "interfaces": [
        {
            "ifindex": 2,
            "name": "eth0",
            "hooks": ["ingress tcx"],
            "packets_in": 40,
            "packets_out": 0,
            "state": "sampled",
        },
        {"ifindex": 3, "name": "eth1", "hooks": [], "state": "XDP is taken"},
    ],
}


def test_losses_are_marked_and_those_that_go_on_more() -> None:
    counts = ledger_counts(SNAPSHOT)
    assert (counts["  lost: budget", "samples"], counts["selected", "wire packets"]) == (4, 12)
    table = ledger(SNAPSHOT, {("  lost: ring", "samples"): 1.5, ("received", "samples"): 20.0})
    marked = {table.rows[place][0].strip(): mark for place, mark in table.marks.items()}
    assert marked == {"lost: budget": "warning", "lost: ring": "lost"}
    assert ("received", "", "-", "3", "20") in table.rows


def test_targets_with_losses_are_marked() -> None:
    assert target_counts(SNAPSHOT)["main", "192.0.2.1:4739", "lost"] == 3
    table = exporters(SNAPSHOT, {("main", "192.0.2.1:4739", "lost"): 0.5, ("main", "", "records"): 2.0})
    assert table.rows[0] == ("main", "2", "0", "", "1", "", "11", "3", "6")
    assert table.rows[1] == ("  192.0.2.1:4739", "-", "3", "4", "1", "connected", "8", "3", "")
    assert table.marks == {1: "lost", 2: "warning"}


def test_interfaces_that_are_refused_are_marked() -> None:
    table = interfaces(SNAPSHOT, {(2, "packets_in"): 1000.0})
    assert table.rows == (
        ("eth0", "1.0k", "-", "40", "0", "ingress tcx", "sampled"),
        ("eth1", "-", "-", "0", "0", "-", "XDP is taken"),
    )
    assert table.marks == {1: "warning"}


def test_totals() -> None:
    rates = {(2, "packets_in"): 100.0, ("received", "samples"): 7.0, ("main", "", "records"): 2.0}
    line = totals(SNAPSHOT, FLOWS, rates)
    assert line == "100 pkt/s  980k bit/s  7 samples/s  6 flows  2 rec/s  lost 7 samples, 4 records"
