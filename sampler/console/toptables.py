"""What each pane of `xdpfix top` shows of a snapshot: columns and rows as text, as many as the width takes. Pure."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampler.console import show
from sampler.console.toprates import RatedFlow
from sampler.control.flowfilter import PROTOCOLS
from sampler.control.ledger import KERNEL_LOSSES

NAMES = {number: name for name, number in PROTOCOLS.items()}
# Rows of the flows' pane: more than a person reads.
FLOWS_SHOWN = 200
UNITS = ("", "k", "M", "G", "T", "P")

Snapshot = Mapping[str, Any]
Rates = Mapping[Hashable, float]


@dataclass(frozen=True)
class Table:
    """Columns, rows of a text for each, and what is marked.

    Attributes:
        columns: titles.
        rows: one text a column.
        right: columns that stand at the right.
        marks: how rows stand out, by their place: "lost" (losses that go on), "warning" (that were).

    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[str] = frozenset()
    marks: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Column:
    title: str
    text: Callable[[RatedFlow], str]
    key: Callable[[RatedFlow], Any]
    width: int  # of the terminal from which on it is shown
    right: bool = False
    rare: bool = False  # shown only where a flow has something in it


def short(number: float) -> str:
    """A number in at most 5 characters: 999, 1.5k, 12.3M, 123G."""
    unit = ""
    for unit in UNITS:
        if abs(number) < 999.5 or unit == UNITS[-1]:
            break
        number /= 1000
    whole = abs(number) >= 99.95 or (not unit and number == int(number))
    return f"{number:.0f}{unit}" if whole else f"{number:.1f}{unit}"


def protocol(row: Mapping[str, Any]) -> str:
    """The name of a flow's protocol, or its number, or its EtherType."""
    number = row["protocol"]
    return str(row["ethertype"]) if number is None else NAMES.get(number, str(number))


def endpoints(row: Mapping[str, Any]) -> str:
    """Source and destination of a flow, with ports."""
    return " → ".join(_endpoint(row[end], row.get(f"{end}_port")) for end in ("source", "destination"))


def _endpoint(address: str, port: int | None) -> str:
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _tunnel(flow: RatedFlow) -> str:
    return f"{flow.row['tunnel']} {flow.row['tunnel_key']}" if "tunnel" in flow.row else ""


def _verdict(flow: RatedFlow) -> str:
    """What an observed XDP program decided; of a flow that it let go on, how many packets it did not."""
    verdict, dropped = flow.row.get("verdict", ""), flow.row.get("dropped_packets", 0)
    return f"{verdict}, {short(dropped)} dropped" if 0 < dropped < flow.row["packets"] else verdict


# In the order of the screen; the narrowest terminal keeps those of width 0.
FLOW_COLUMNS = (
    _Column("bit/s", lambda flow: short(flow.bits), lambda flow: -flow.bits, 0, True),
    _Column("pkt/s", lambda flow: short(flow.packets), lambda flow: -flow.packets, 0, True),
    _Column("proto", lambda flow: protocol(flow.row), lambda flow: protocol(flow.row), 60),
    _Column("flow", lambda flow: endpoints(flow.row), lambda flow: endpoints(flow.row), 0),
    _Column("if", lambda flow: flow.row["interface"], lambda flow: flow.row["interface"], 76),
    _Column("dir", lambda flow: flow.row["direction"], lambda flow: flow.row["direction"], 76),
    _Column("packets", lambda flow: short(flow.row["packets"]), lambda flow: -flow.row["packets"], 100, True),
    _Column("octets", lambda flow: short(flow.row["octets"]), lambda flow: -flow.row["octets"], 100, True),
    _Column("age", lambda flow: f"{flow.row['age']:.0f}s", lambda flow: -flow.row["age"], 110, True),
    _Column("verdict", _verdict, lambda flow: -flow.row.get("dropped_packets", -1), 90, rare=True),
    _Column("tunnel", _tunnel, _tunnel, 130),
)
SORTS = tuple(column.title for column in FLOW_COLUMNS)


def flows(rated: Sequence[RatedFlow], sort: str, width: int) -> Table:
    """The flows, sorted by the column of that title."""
    key = next(column.key for column in FLOW_COLUMNS if column.title == sort)
    columns = [
        column
        for column in FLOW_COLUMNS
        if column.width <= width and (not column.rare or any(column.text(flow) for flow in rated))
    ]
    rows = sorted(rated, key=lambda flow: (key(flow), -flow.bits, endpoints(flow.row)))[:FLOWS_SHOWN]
    return Table(
        tuple(f"{column.title}{'▾' if column.title == sort else ''}" for column in columns),
        tuple(tuple(column.text(flow) for column in columns) for flow in rows),
        frozenset(column.title + ("▾" if column.title == sort else "") for column in columns if column.right),
    )


def interface_counts(snapshot: Snapshot) -> dict[Hashable, int]:
    """The counters of interfaces, by (ifindex, direction), for CounterRates."""
    return {
        (row["ifindex"], key): row[key]
        for row in snapshot["interfaces"]
        for key in ("packets_in", "packets_out")
        if key in row
    }


def interfaces(snapshot: Snapshot, rates: Rates) -> Table:
    """The sampled interfaces and those that cannot be."""
    columns = ("name", "in pkt/s", "out pkt/s", "packets in", "packets out", "hooks", "state")
    found, marks = [], {}
    for place, row in enumerate(snapshot["interfaces"]):
        number = row["ifindex"]
        speeds = [_rate(rates.get((number, key))) for key in ("packets_in", "packets_out")]
        counts = [short(row.get(key, 0)) for key in ("packets_in", "packets_out")]
        found.append((row["name"], *speeds, *counts, ", ".join(row["hooks"]) or "-", row["state"]))
        if row["state"] != "sampled":
            marks[place] = "warning"
    return Table(columns, tuple(found), frozenset(columns[1:5]), marks)


def tunnels(snapshot: Snapshot) -> Table:
    """The tunnel netdevs."""
    found = show.tunnels(snapshot["tunnels"])["tunnel netdevs"]
    rows = found if isinstance(found, list) else []
    cells = tuple(tuple(_text(row[name]) for name in show.TUNNEL_COLUMNS) for row in rows)
    return Table(show.TUNNEL_COLUMNS, cells)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def target_counts(snapshot: Snapshot) -> dict[Hashable, int]:
    """Counters of exporters and targets, for CounterRates."""
    counts: dict[Hashable, int] = {}
    for name, exporter in snapshot["exporters"].items():
        counts[name, "", "records"] = exporter["records"]
        for row in exporter["targets"]:
            counts[name, row["target"], "records"] = row["records_sent"]
            counts[name, row["target"], "lost"] = _lost(row)
    return counts


def rule_counts(snapshot: Snapshot) -> dict[Hashable, int]:
    """The packets that rules stand for, by selector, for CounterRates."""
    return {("rule", row["selector_id"]): row["packets"] for row in snapshot["rules"]}


def rules(snapshot: Snapshot, rates: Rates) -> Table:
    """What exporters take, by which rule, and how much that is."""
    columns = ("exporter", "match", "probability", "pkt/s", "samples", "packets", "domain", "point")
    rows = []
    for row in show.rules(snapshot["rules"]):
        counts = (row["samples"], row["packets"], row["obs_domain_id"], row["obs_point_id"])
        speed = _rate(rates.get(("rule", row["selector_id"])))
        rows.append((row["exporter"], row["match"], row["probability"], speed, *map(str, counts)))
    return Table(columns, tuple(rows), frozenset(columns[3:]))


def exporters(snapshot: Snapshot, rates: Rates) -> Table:
    """A row an exporter, and one below it for each of its targets."""
    columns = ("exporter, target", "rec/s", "lost", "waiting", "failures", "state", "records", "messages", "flows")
    found, marks = [], {}
    for name, exporter in snapshot["exporters"].items():
        losses = (exporter["records_lost_memory"], None, exporter["send_failures"])
        counts = (exporter["records"], exporter["messages_sent"], exporter["flows"])
        speed = _rate(rates.get((name, "", "records")))
        found.append((name, speed, *map(_count, losses), "", *map(_count, counts)))
        for row in exporter["targets"]:
            place, lost = len(found), _lost(row)
            losses = (lost, row["records_waiting"], row["send_failures"])
            counts = (row["records_sent"], row["messages_sent"], None)
            speed = _rate(rates.get((name, row["target"], "records")))
            found.append((f"  {row['target']}", speed, *map(_count, losses), row["state"], *map(_count, counts)))
            if rates.get((name, row["target"], "lost")):
                marks[place] = "lost"
            elif lost or row["state"] not in ("connected", "connected, standby"):
                marks[place] = "warning"
    return Table(columns, tuple(found), frozenset(columns) - {columns[0], "state"}, marks)


def _lost(row: Mapping[str, Any]) -> int:
    return sum(count for name, count in row.items() if name.startswith("records_lost_"))


def ledger_counts(snapshot: Snapshot) -> dict[Hashable, int]:
    """Both columns of the ledger, for CounterRates."""
    return {
        (row["counter"], column): row[column]
        for row in show.ledger(snapshot["stats"])["ledger"]
        for column in ("wire packets", "samples")
        if row[column] is not None
    }


def ledger(snapshot: Snapshot, rates: Rates) -> Table:
    """The ledger with its rates; what was lost stands out."""
    columns = ("counter", "wire packets", "a second", "samples", "samples a second")
    found, marks = [], {}
    for place, row in enumerate(show.ledger(snapshot["stats"])["ledger"]):
        counter = row["counter"]
        cells = [counter]
        for column in ("wire packets", "samples"):
            cells += [_count(row[column]), _rate(rates.get((counter, column)))]
        found.append(tuple(cells))
        if " lost: " in f" {counter}" and any(row[column] for column in ("wire packets", "samples")):
            going_on = any(rates.get((counter, column)) for column in ("wire packets", "samples"))
            marks[place] = "lost" if going_on else "warning"
    return Table(columns, tuple(found), frozenset(columns[1:]), marks)


def totals(snapshot: Snapshot, rated: Iterable[RatedFlow], rates: Rates) -> str:
    """One line: what passes, what is sampled, what is exported, what was lost."""
    exported = sum(rate for key, rate in rates.items() if isinstance(key, tuple) and key[1:] == ("", "records"))
    observed = [
        rate for key, rate in rates.items() if isinstance(key, tuple) and key[-1] in ("packets_in", "packets_out")
    ]
    samples = rates.get(("received", "samples"), 0.0)
    stats = snapshot["stats"]
    lost = sum(stats["samples"][name] for name in KERNEL_LOSSES)
    lost += stats["ring"]["lost"]
    lost_records = sum(_lost(row) for exporter in snapshot["exporters"].values() for row in exporter["targets"])
    flows = sum(exporter["flows"] for exporter in snapshot["exporters"].values())
    parts = [
        f"{short(sum(observed))} pkt/s",
        f"{short(sum(flow.bits for flow in rated))} bit/s",
        f"{short(samples)} samples/s",
        f"{short(flows)} flows",
        f"{short(exported)} rec/s",
    ]
    if lost or lost_records:
        parts.append(f"lost {short(lost)} samples, {short(lost_records)} records")
    return "  ".join(parts)


def _count(value: int | None) -> str:
    return "" if value is None else str(value)


def _rate(value: float | None) -> str:
    return "-" if value is None else short(value)
