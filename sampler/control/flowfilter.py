"""Which flows are meant: filters over the rows of `xdpfix show flows` and `xdpfix top`, and their order. Pure.

A filter is words, all of which must hold. COLUMN OPERATOR VALUE compares a column: source=192.0.2.0/24 port=53
packets>1000. A word alone looks where its kind may be: an address or prefix at either end, a number among the ports,
a protocol's name, a verdict, else a part of an interface's name or an address.
"""

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sampler.errors import ConfigError

Row = Mapping[str, Any]
Predicate = Callable[[Row], bool]

# Flows of one answer at most.
SHOWN_FLOWS = 10_000

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmp6": 58, "sctp": 132}
# Columns that may be asked for although a row has none of them, and the two that stand for either end.
ADDRESSES = ("source", "destination", "tunnel_source", "tunnel_destination")
NUMBERS = (
    *("protocol", "source_port", "destination_port", "packets", "octets", "age", "idle", "tunnel_key", "mpls"),
    "dropped_packets",
)
COLUMNS = (
    *("exporter", "interface", "other_interface", "direction", "ethertype"),
    *(*ADDRESSES, *NUMBERS, "vlan", "ttl", "tcp_flags", "tunnel", "verdict"),
)
RATE = "rate"
# Seconds: of a flow that has just begun, one packet is no rate.
LEAST_AGE = 1.0
EITHER = {"address": ("source", "destination"), "port": ("source_port", "destination_port")}
TERM = re.compile(r"(\w+)(!=|>=|<=|=|>|<|~)(.*)")

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda value, wanted: value > wanted,
    ">=": lambda value, wanted: value >= wanted,
    "<": lambda value, wanted: value < wanted,
    "<=": lambda value, wanted: value <= wanted,
}


def parse(text: str) -> Predicate:
    """Make the filter of a text; one of no words takes every row. ConfigError says which word is wrong."""
    predicates = [_term(word) for word in text.split()]
    return lambda row: all(predicate(row) for predicate in predicates)


def ordered(rows: Sequence[Row], column: str) -> list[Row]:
    """Sort by a column: the largest numbers first, texts by alphabet; rows without a value come last. ConfigError.

    RATE is no column: packets a second over the flow's life so far.
    """
    if column == RATE:
        return sorted(rows, key=lambda row: -row["packets"] / max(row["age"], LEAST_AGE))
    if column not in COLUMNS:
        raise ConfigError(f"sort {column}: {_unknown(column)}")

    def key(row: Row) -> tuple[bool, Any]:
        value = row.get(column)
        if column in NUMBERS:
            return value is None, -(value or 0)
        return value is None, str(value)

    return sorted(rows, key=key)


def _unknown(column: str) -> str:
    close = difflib.get_close_matches(column, (*COLUMNS, *EITHER), n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join((*COLUMNS, *EITHER))}"
    return f"flows have no column of that name; {hint}"


def _term(word: str) -> Predicate:
    match = TERM.fullmatch(word)
    if match is None:
        return _bare(word)
    column, operator, value = match.groups()
    columns = EITHER.get(column, (column,))
    if column not in EITHER and column not in COLUMNS:
        raise ConfigError(f"filter {word}: {_unknown(column)}")
    if operator == "~":
        return lambda row: any(value.casefold() in str(row.get(name, "")).casefold() for name in columns)
    if operator in ORDERS:
        wanted = _number(word, columns[0], value)
        order = ORDERS[operator]
        return lambda row: any(row.get(name) is not None and order(row[name], wanted) for name in columns)
    equal = _equal(word, columns[0], value)
    if operator == "=":
        return lambda row: any(equal(row.get(name)) for name in columns)
    return lambda row: not any(equal(row.get(name)) for name in columns)


def _number(word: str, column: str, value: str) -> float:
    if column not in NUMBERS:
        raise ConfigError(f"filter {word}: {column} is no number; take =, != or ~ (a part of it)")
    if column == "protocol" and value.casefold() in PROTOCOLS:
        return PROTOCOLS[value.casefold()]
    if not re.fullmatch(r"\d+(\.\d+)?", value):
        raise ConfigError(f"filter {word}: {value!r} is no number")
    return float(value)


def _equal(word: str, column: str, value: str) -> Callable[[Any], bool]:
    if column in NUMBERS:
        number = _number(word, column, value)
        return lambda found: found == number
    if column == "vlan":
        return lambda found: value in map(str, found or ())
    if column in ADDRESSES and (network := _network(value)) is not None:
        return lambda found: _inside(found, network)
    if column in ADDRESSES and "/" in value:
        raise ConfigError(f"filter {word}: {value!r} is no prefix, such as 192.0.2.0/24")
    return lambda found: found is not None and str(found).casefold() == value.casefold()


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _inside(address: Any, network: Network) -> bool:
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False  # a MAC address, or none


def _bare(word: str) -> Predicate:
    if word.isdecimal():
        number = int(word)
        return lambda row: number in (row.get("source_port"), row.get("destination_port"))
    if (network := _network(word)) is not None:
        return lambda row: any(_inside(row.get(name), network) for name in ADDRESSES)
    if (protocol := PROTOCOLS.get(word.casefold())) is not None:
        return lambda row: row.get("protocol") == protocol
    part = word.casefold()
    texts = ("interface", "direction", "tunnel", "verdict", *ADDRESSES)
    return lambda row: any(part in str(row.get(name) or "").casefold() for name in texts)
