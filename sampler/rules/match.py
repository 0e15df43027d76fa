"""The match of a flow rule: the text that ovs-ofctl(8) would take, compiled to what the kernel compares.

    compile_match("udp,tp_dst=53", resolve) -> Match

sampler.rules.fields has the fields, one by one; sampler.kernel.selection writes a Match into the kernel's maps.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sampler.errors import ConfigError
from sampler.rules import unseen
from sampler.rules.fields import ALIASES, FIELDS, KEYWORDS, Field, Protocol
from sampler.rules.terms import ALL, OctetTerm, Ranges, Term, whole

# Gives the ifindex of an interface by its name, None where there is none of that name now.
Resolve = Callable[[str], int | None]

# An assignment or a keyword; in a quoted value commas and blanks are its own.
TOKEN = re.compile(r'[\s,]*([^\s,=]+)(?:\s*=\s*("[^"]*"|[^\s,]*))?(?=[\s,]|$)')


@dataclass(frozen=True)
class Match:
    """Which samples a rule takes: those whose octets are all accepted, and both ports.

    Attributes:
        text: as it was written.
        octets: by offset in struct sample a mask of 256 bits: bit v is set where the octet may be v.
        src_port: accepted ranges of key.src_port, both ends included, in host order; None: any.
        dst_port: the same of key.dst_port.

    """

    text: str
    octets: Mapping[int, int]
    src_port: Ranges | None = None
    dst_port: Ranges | None = None

    def overlaps(self, other: "Match") -> bool:
        """Whether one packet may be taken by both. True in doubt: fields of one packet depend on each other."""
        common = self.octets.keys() & other.octets.keys()
        return (
            all(self.octets[offset] & other.octets[offset] for offset in common)
            and _meet(self.src_port, other.src_port)
            and _meet(self.dst_port, other.dst_port)
        )


def compile_match(text: str, resolve: Resolve) -> Match:
    """Compile a match; an interface that `resolve` does not know matches nothing. ConfigError: a sentence."""
    given = _assignments(text)
    protocol = _protocol(given)
    octets: dict[int, int] = {}
    ports: dict[str, Ranges | None] = {"src_port": None, "dst_port": None}
    for field, value in given.values():
        field.require(protocol, value)
        for term in _terms(field, value, protocol, resolve):
            if isinstance(term, OctetTerm):
                octets[term.offset] = octets.get(term.offset, ALL) & term.accepted
            else:
                ports[term.name] = _both(ports[term.name], term.ranges)
    return Match(text, {offset: mask for offset, mask in sorted(octets.items()) if mask != ALL}, **ports)


def interfaces(text: str) -> tuple[str, ...]:
    """Give the names of interfaces that a match speaks of. ConfigError as compile_match()."""
    names: list[str] = []

    def resolve(name: str) -> None:
        names.append(name)

    compile_match(text, resolve)
    return tuple(names)


def _terms(field: Field, value: str, protocol: Protocol, resolve: Resolve) -> tuple[Term, ...]:
    if field.name == "in_port":
        return whole("meta.ingress_ifindex", resolve(_interface(value)))
    return field.read(f"{field.name}={value}", value, protocol)


def _interface(value: str) -> str:
    name = value[1:-1] if value.startswith('"') else value
    if not name or len(name) > 15 or re.search(r"[\s/\0:]", name):
        raise ConfigError(f"in_port={value}: must be the name of an interface, at most 15 characters")
    if name == value and (value.isdecimal() or value in unseen.OPENFLOW_PORTS):
        raise ConfigError(
            f"in_port={value}: OpenFlow ports are Open vSwitch's own; name the interface as `ip link` does, "
            f'in quotes if it is called {value}: in_port="{value}"'
        )
    return name


def _assignments(text: str) -> dict[str, tuple[Field, str]]:
    """Give each field's value as it is written, by the field's name; keywords as what they stand for."""
    given: dict[str, tuple[Field, str]] = {}
    for name, value in _tokens(text):
        if value is None:
            pairs = KEYWORDS.get(name)
            if pairs is None:
                raise ConfigError(_unknown(name, None))
        else:
            pairs = ((name, value),)
        for field_name, field_value in pairs:
            field = FIELDS.get(ALIASES.get(field_name, field_name))
            if field is None:
                raise ConfigError(_unknown(field_name, field_value))
            before = given.get(field.name)
            if before is not None and not field.same(before[1], field_value):
                raise ConfigError(
                    f"{name if value is None else f'{name}={value}'}: {field.name} is {before[1]} already; "
                    "a packet has one of them: write a rule for each"
                )
            given.setdefault(field.name, (field, field_value))
    return given


def _tokens(text: str) -> Iterator[tuple[str, str | None]]:
    position, end = 0, len(text.rstrip(", \t\r\n"))
    while position < end:
        token = TOKEN.match(text, position)
        if token is None:
            raise ConfigError(f"{text[position:].strip(', ')}: must be FIELD=VALUE or a keyword, such as udp,tp_dst=53")
        yield token[1], token[2]
        position = token.end()


def _protocol(given: Mapping[str, tuple[Field, str]]) -> Protocol:
    """Say of which protocol the packets must be, which decides what else may be asked of them."""

    def number(name: str) -> int | None:
        return given[name][0].number(given[name][1]) if name in given else None

    return Protocol(number("dl_type"), number("nw_proto"))


def _unknown(name: str, value: str | None) -> str:
    shown = name if value is None else f"{name}={value}"
    if (reason := unseen.reason(name)) is not None:
        return f"{shown}: {reason}"
    if value is None and (name in FIELDS or name in ALIASES):
        return f"{name}: wants a value: {name}=VALUE"
    if value is not None and name in KEYWORDS:
        return f"{shown}: {name} takes no value"
    known = [*KEYWORDS, *FIELDS, *ALIASES]
    close = difflib.get_close_matches(name, known, n=1)
    return f"{shown}: unknown field; " + (
        f"did you mean {close[0]}?" if close else "fields are those of ovs-fields(7), listed in docs/rules.md"
    )


def _both(one: Ranges | None, other: Ranges) -> Ranges:
    """What two names of one port (tp_dst and udp_dst) accept together."""
    if one is None:
        return other
    pairs = ((max(low, bottom), min(high, top)) for low, high in one for bottom, top in other)
    return tuple(pair for pair in pairs if pair[0] <= pair[1])


def _meet(one: Ranges | None, other: Ranges | None) -> bool:
    if one is None or other is None:
        return True
    return any(low <= top and bottom <= high for low, high in one for bottom, top in other)
