"""Terms: what a field's value asks of single octets of struct sample, and of the two ports."""

import sys
from dataclasses import dataclass
from functools import cache

ALL = 2**256 - 1  # an octet that may have any value
NONE = 0

# Accepted ranges of a port, both ends included, in host order.
Ranges = tuple[tuple[int, int], ...]

# Where struct sample is in the byte order of this host.
HOST_ORDER = frozenset({"meta.ingress_ifindex", "meta.egress_ifindex", "meta.tcp_flags"})


@dataclass(frozen=True)
class OctetTerm:
    """The octet at this offset of struct sample must be one of those whose bit is set."""

    offset: int
    accepted: int


@dataclass(frozen=True)
class PortTerm:
    """key.src_port or key.dst_port (`name` without key.) must lie in one of the ranges."""

    name: str
    ranges: Ranges


Term = OctetTerm | PortTerm


@cache
def place(path: str) -> tuple[int, int]:
    """Offset and size of a field of struct sample, by a path such as "key.tunnel.key"; an index picks of an array."""
    # Here, so that `xdpfix check` and `xdpfix collect` start where the native part cannot.
    from sampler._native import ffi

    kind, offset = ffi.typeof("struct sample"), 0
    for name in path.split("."):
        if name.isdecimal():
            kind = kind.item
            offset += int(name) * ffi.sizeof(kind)
        else:
            fields = dict(kind.fields)
            offset += fields[name].offset
            kind = fields[name].type
    return offset, ffi.sizeof(kind)


@cache
def accepted(value: int, mask: int) -> int:
    """The octets that agree with `value` where `mask` has ones, as a mask of 256 bits."""
    return sum(1 << octet for octet in range(256) if octet & mask == value & mask)


def among(path: str, values: tuple[int, ...]) -> OctetTerm:
    """Give the term: this field of one octet is one of the values."""
    return OctetTerm(place(path)[0], sum(1 << value for value in values))


def bits(path: str, value: int, mask: int, length: int | None = None) -> tuple[Term, ...]:
    """Give the terms: the number in this field, or its first octets, agrees with `value` where `mask` has ones."""
    offset, size = place(path)
    length = length or size
    order = sys.byteorder if path in HOST_ORDER else "big"
    pairs = zip(value.to_bytes(length, order), mask.to_bytes(length, order), strict=True)
    return tuple(OctetTerm(offset + i, accepted(*pair)) for i, pair in enumerate(pairs))


def whole(path: str, value: int | None) -> tuple[Term, ...]:
    """Give the terms: this field is `value`; without one nothing is accepted, of the same octets."""
    offset, size = place(path)
    if value is None:
        return tuple(OctetTerm(offset + i, NONE) for i in range(size))
    return bits(path, value, 256**size - 1)
