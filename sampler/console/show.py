"""Prints what `xdpfix show` got from the control socket: a table for people or JSON for programs.

A list of rows (flows, interfaces, exporters) becomes one table, a mapping (stats, the
ledger) a table a section. The service chooses rows and names; nothing here knows them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sampler.control.ledger import KERNEL_LOSSES

# Columns of flows that are for programs: they tell one flow from another over time.
IDENTITY = ("flow", "started")

# The columns of `xdpfix show tunnels`.
TUNNEL_COLUMNS = (
    "ifindex",
    "name",
    "kind",
    "type",
    "key_length",
    "key",
    "local",
    "remote",
    "port",
    "neighbours",
    "sampled",
)

# Of a psample group, what stands in the ledger.
PSAMPLE_LOSSES = ("lost_socket", "lost_kernel", "lost_combinations", "lost_malformed")

# How the counters of enum tunnel_miss begin.
TUNNEL = "tunnel_"

# Columns of a table that goes to a file or pipe: wide enough that nothing is cut.
WIDTH_WITHOUT_TERMINAL = 400


def print_result(result: Any, out: TextIO, as_json: bool) -> None:
    """Write the result to `out`."""
    if as_json:
        out.write(json.dumps(result, ensure_ascii=False, indent=2) + "\n")
        return
    console = Console(file=out, highlight=False, width=None if out.isatty() else WIDTH_WITHOUT_TERMINAL)
    if isinstance(result, Mapping):
        plain = {key: value for key, value in result.items() if not _is_table(value)}
        if plain:
            console.print(_mapping(plain))
        for key, value in result.items():
            if _is_table(value):
                console.print(Text(f"\n{key}", style="bold"))
                print_result(value, out, as_json=False)
    elif isinstance(result, Sequence) and not isinstance(result, str) and result:
        console.print(_rows(result))
    else:
        console.print(Text("none" if not result else str(result)))


def ledger(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Put the figures of the ledger into one table of two columns, in the order of a sample's way."""

    def row(counter: str, packets: int | None, samples: int | None) -> dict[str, Any]:
        return {"counter": counter, "wire packets": packets, "samples": samples}

    samples, packets, ring = stats["samples"], stats["packets"], stats["ring"]
    observed = stats["packets_observed"]
    rows = [row(f"observed, {where}", count, None) for where, count in observed.items()]
    if stats["packets_observed_before"]:
        rows.append(row("observed, interfaces that went", stats["packets_observed_before"], None))
    rows.append(row("selected", packets["selected"], samples["selected"]))
    rows.append(row("  unselected", packets["unselected"], samples["unselected"]))
    rows += [row(f"  lost: {name.removeprefix('lost_')}", packets[name], samples[name]) for name in KERNEL_LOSSES]
    rows.append(row("  lost: ring", None, ring["lost"]))
    rows.append(row("  on the way", None, ring["pending"]))
    rows.append(row("received", None, ring["received"]))
    for group, counts in stats["psample"].items():
        rows += [row(f"psample {group} {name.replace('_', ': ', 1)}", None, counts[name]) for name in PSAMPLE_LOSSES]
        rows.append(row(f"psample {group} received", None, counts["samples"]))
    for name, exporter in stats["exporters"].items():
        causes = {key: value for key, value in exporter.items() if key.startswith(("excluded_", "lost_"))}
        if exporter["unselected"]:
            rows.append(row(f"  {name} not selected", None, exporter["unselected"]))
        if exporter["pairs"] != exporter["selected"]:
            rows.append(row(f"  {name} selected, by selector", None, exporter["pairs"]))
        rows += [row(f"  {name} {key.replace('_', ': ', 1)}", None, value) for key, value in causes.items()]
        rows.append(row(f"  {name} cached", None, exporter["cached"] + exporter["pending"]))
        rows.append(row(f"  {name} exported", None, exporter["exported"]))
        rows.append(row(f"{name} represented", exporter["represented"], None))
    parsed = {name: samples[name] for name in ("truncated", "malformed", "buffer", "chain")}
    missed = {name.removeprefix(TUNNEL): samples[name] for name in samples if name.startswith(TUNNEL)}
    return {
        "ledger": rows,
        "parsed in part": parsed,
        "without their tunnel": missed,
        **{f"psample {group}": _notes(counts) for group, counts in stats["psample"].items()},
        "links": stats["links"],
        "tunnels": stats["tunnels"],
    } | ({"does not sum": stats["errors"]} if stats["errors"] else {})


def _notes(counts: Mapping[str, int]) -> dict[str, int]:
    """What is to be known of a group's samples beside the ledger."""
    return {name: count for name, count in counts.items() if name not in (*PSAMPLE_LOSSES, "messages", "samples")}


def flows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what no person reads; the exporter too where there is one only."""
    hidden = IDENTITY if len({row["exporter"] for row in rows}) > 1 else (*IDENTITY, "exporter")
    return [{name: value for name, value in row.items() if name not in hidden} for row in rows]


def rules(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Say in words what an empty match and an empty list of interfaces mean."""
    words = {"match": "every packet", "interfaces": "physical"}
    return [dict(row) | {name: row[name] or word for name, word in words.items()} for row in rows]


def tunnels(result: Mapping[str, Any]) -> dict[str, Any]:
    """Put the keys of each tunnel netdev into one column, and the ports of each kind into a table of their own."""
    rows = [
        {name: _tunnel_key(netdev) if name == "key" else netdev[name] for name in TUNNEL_COLUMNS}
        for netdev in result["netdevs"]
    ]
    return {
        "tunnel netdevs": rows or "none",
        "ports taken for tunnels": {name: ports or "none" for name, ports in result["ports"].items()},
    }


def _tunnel_key(netdev: Mapping[str, Any]) -> str:
    if netdev["external"]:
        return "external"
    key_in, key_out = netdev["key_in"], netdev["key_out"]
    return str(key_in) if key_in == key_out else f"{key_in} in, {key_out} out"


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value) and isinstance(value[0], Mapping))


def _cell(value: Any) -> Text:
    """Give the value as text: never as rich's markup, for names and addresses come from outside."""
    if value is None:
        return Text("-")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list):
        return Text(", ".join(str(item) for item in value))
    return Text(str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _mapping(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right" if all(_is_number(value) for value in values.values()) else "left")
    for key, value in values.items():
        table.add_row(Text(key), _cell(value))
    return table


def _rows(rows: Sequence[Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    if not all(isinstance(row, Mapping) for row in rows):
        table.show_header = False
        table.add_column()
        for row in rows:
            table.add_row(_cell(row))
        return table
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        numbers = all(_is_number(row.get(column, 0)) for row in rows)
        table.add_column(Text(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table
