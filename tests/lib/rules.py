"""Flow rules for tests: made by hand, at random, and what they select by a reference of their own."""

import random
import socket
from fractions import Fraction

from sampler._native import ffi
from sampler.kernel.selection import KernelRule
from sampler.rules.match import Match

SAMPLE_SIZE = ffi.sizeof("struct sample")
META_SIZE = ffi.sizeof("struct sample_meta")
# Neither known nor of use where rules are looked at, in struct sample_meta: time, rules, egress_ifindex … main.
LATE = {*range(16), 18, *range(36, 42), 47}
OFFSETS = [offset for offset in range(SAMPLE_SIZE) if offset not in LATE]
ANY = (1 << 256) - 1


def key_offset(name: str) -> int:
    """Where a field of struct flow_key begins in struct sample."""
    return META_SIZE + int(ffi.offsetof("struct flow_key", name))


def exactly(offset: int, values: bytes) -> dict[int, int]:
    """The octets from an offset on have these values."""
    return {offset + i: 1 << value for i, value in enumerate(values)}


def rule(
    octets: dict[int, int] | None = None,
    probability: Fraction | int = 1,
    src_port: tuple[tuple[int, int], ...] | None = None,
    dst_port: tuple[tuple[int, int], ...] | None = None,
    **where: frozenset[int],
) -> KernelRule:
    """Make a rule; without octets and ports it accepts all."""
    return KernelRule(Match("", octets or {}, src_port, dst_port), Fraction(probability), **where)


def accepts(made: KernelRule, sample, direction: int) -> bool:
    """Whether a rule takes a packet, by its sample, where it is not thinned: the reference."""
    key = sample.key
    if direction not in made.directions or (made.ifindexes is not None and key.ifindex not in made.ifindexes):
        return False
    octets = bytes(ffi.buffer(ffi.addressof(sample)))
    match = made.match
    if not all(mask >> octets[offset] & 1 for offset, mask in match.octets.items()):
        return False
    ports = ((match.src_port, key.src_port), (match.dst_port, key.dst_port))
    return all(
        ranges is None or any(first <= socket.ntohs(port) <= last for first, last in ranges) for ranges, port in ports
    )


def random_rule(chance: random.Random, samples: list[bytes], **where: frozenset[int]) -> KernelRule:
    """A rule that accepts some of these samples' packets: fields as one of them has, sets of values, port ranges."""
    model = chance.choice(samples)
    octets: dict[int, int] = {}
    for _ in range(chance.randrange(4)):
        start = chance.choice(OFFSETS)
        for offset in range(start, min(start + chance.choice([1, 1, 2, 4, 16]), SAMPLE_SIZE)):
            if offset not in LATE:
                octets[offset] = 1 << model[offset]
    for _ in range(chance.randrange(3)):
        # A few of the values, or all but a few; mostly with the model's.
        mask = chance.getrandbits(256) & chance.getrandbits(256)
        mask = mask if chance.random() < 0.5 else ANY & ~mask
        offset = chance.choice(OFFSETS)
        octets[offset] = mask | (1 << model[offset] if chance.random() < 0.8 else 0)
    return rule(octets, 1, _random_ports(chance), _random_ports(chance), **where)


def _random_ports(chance: random.Random) -> tuple[tuple[int, int], ...] | None:
    if chance.random() < 0.6:
        return None
    ranges = []
    for _ in range(chance.randrange(4)):
        first = chance.choice([0, 1, 2, 53, 80, 1024, chance.randrange(65536)])
        ranges.append((first, min(65535, first + chance.choice([0, 1, 100, 65535]))))
    return tuple(ranges)
