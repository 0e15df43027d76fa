"""Flow rules in the kernel, at each hook under both loaders: exactly what a reference in Python selects."""

import random
from fractions import Fraction

import pytest

from lib.frames import FRAMES
from lib.rules import OFFSETS, accepts, exactly, key_offset, random_rule, rule
from lib.testrun import IFINDEX, octets
from lib.tunnel_frames import FRAMES as TUNNEL_FRAMES
from sampler._native import ffi, lib
from sampler.kernel.selection import DIRECTIONS, KernelRule, Selection

ALL = FRAMES | {f"tunnel {name}": case.frame for name, case in TUNNEL_FRAMES.items()}
PROGRAMS = {
    "sample_xdp": lib.DIRECTION_INGRESS,
    "sample_tc_ingress": lib.DIRECTION_INGRESS,
    "sample_tc_egress": lib.DIRECTION_EGRESS,
}
MAIN = KernelRule(None, Fraction(1))
FRAME = FRAMES["ipv4 tcp"]
WHERE = [
    {},
    {},
    {"ifindexes": frozenset({IFINDEX})},
    {"ifindexes": frozenset({IFINDEX, 9})},
    {"ifindexes": frozenset({9})},
    {"directions": frozenset({lib.DIRECTION_INGRESS})},
    {"directions": frozenset({lib.DIRECTION_EGRESS})},
]


def select(kernel, *rules, main=MAIN, generation=1, **options):
    kernel.gates.set_selection(generation, Selection(main, rules, **options))


def grown(kernel, before, *names):
    after = kernel.gates.counters()[0]
    return tuple(after[name] - before[name] for name in names)


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_the_reference(kernel, program):
    """64 rules and the main exporter at once, each frame: the bitmap has just the rules that accept it."""
    direction = PROGRAMS[program]
    select(kernel)
    models = [bytes(ffi.buffer(ffi.addressof(kernel.sample(program, frame)))) for frame in ALL.values()]
    chance = random.Random(program)
    taken = left = 0
    for count in (1, 7, 64, 64, 64, 64):
        rules = [random_rule(chance, models, **chance.choice(WHERE)) for _ in range(count)]
        select(kernel, *rules)
        for name, frame in ALL.items():
            sample = kernel.sample(program, frame)
            expected = [bit for bit, made in enumerate(rules) if accepts(made, sample, direction)]
            assert [bit for bit in range(64) if sample.meta.rules >> bit & 1] == expected, name
            assert sample.meta.main == 1
            taken, left = taken + len(expected), left + count - len(expected)
    assert min(taken, left) > (taken + left) / 20, "hardly a rule accepts, or refuses, anything"


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_the_main_exporter(kernel, program):
    """What no rule accepts makes no sample, and is counted under its name."""
    select(kernel, rule(exactly(key_offset("ip_version"), b"\x06")), main=None)
    for name, frame in ALL.items():
        before, sequence = kernel.gates.counters()[0], kernel.state().batch.sequence
        kernel.run(program, frame)
        state = kernel.state()
        taken = state.batch.sequence - sequence
        assert grown(kernel, before, "selected", "unselected", "appended") == (1, 1 - taken, taken), name
        if taken:
            sample = state.batch.samples[sequence % lib.BATCH_SIZE]
            assert (sample.meta.rules, sample.meta.main, sample.key.ip_version) == (1, 0, 6), name
    assert kernel.state().busy == 0


def test_every_octet_of_a_sample(kernel):
    """A table on each octet that may be looked at, all at once: each of them decides."""
    model = bytes(ffi.buffer(ffi.addressof(kernel.sample("sample_tc_ingress", FRAME))))
    all_of_them = {offset: 1 << model[offset] for offset in OFFSETS}
    for first in range(0, len(OFFSETS), 63):
        unlike = [rule({offset: ((1 << 256) - 1) ^ 1 << model[offset]}) for offset in OFFSETS[first : first + 63]]
        select(kernel, *unlike, rule(all_of_them))
        assert kernel.sample("sample_tc_ingress", FRAME).meta.rules == 1 << len(unlike)


def test_refused_selection_changes_nothing(kernel):
    select(kernel, rule(), generation=3)
    with pytest.raises(ValueError, match="65 flow rules: there may be 64"):
        select(kernel, *[rule()] * 65, generation=4)
    sample = kernel.sample("sample_tc_ingress", FRAME)
    assert (sample.meta.generation, sample.meta.rules) == (3, 1)


@pytest.mark.parametrize("program", PROGRAMS)
def test_ports_by_their_ends(kernel, program):
    """Ranges touch, overlap and meet the ends of the ports."""
    ranges = [
        ((0, 1023),),
        ((1024, 1024),),
        ((1025, 65535),),
        ((0, 65535),),
        ((5, 9), (7, 1024)),
        ((65535, 65535),),
        (),
    ]
    rules = [rule(src_port=accepted) for accepted in ranges] + [rule(dst_port=accepted) for accepted in ranges]
    select(kernel, *rules)
    frame = bytearray(FRAME)
    for source, destination in ((0, 65535), (1023, 1024), (1024, 1023), (1025, 7), (65535, 0), (6, 4)):
        frame[34:38] = source.to_bytes(2, "big") + destination.to_bytes(2, "big")
        sample = kernel.sample(program, bytes(frame))
        expected = sum(1 << bit for bit, made in enumerate(rules) if accepts(made, sample, PROGRAMS[program]))
        assert sample.meta.rules == expected, (source, destination)


def test_main_by_direction_and_interface(kernel):
    """The main exporter's gates are its own, too: at others there are only the rules."""
    ingress = frozenset({lib.DIRECTION_INGRESS})
    select(kernel, rule(), main=KernelRule(None, Fraction(1), ingress))
    assert kernel.sample("sample_tc_ingress", FRAME).meta.main == 1
    assert kernel.sample("sample_tc_egress", FRAME).meta.main == 0
    select(kernel, rule(directions=DIRECTIONS), main=KernelRule(None, Fraction(1), DIRECTIONS, frozenset({9})))
    assert kernel.sample("sample_tc_ingress", FRAME).meta.main == 0


def test_gate_opened_later_has_its_rules(kernel):
    select(kernel, rule(ifindexes=frozenset({IFINDEX})), rule(ifindexes=frozenset({9})))
    kernel.gates.close(IFINDEX, 0)
    kernel.gates.open(IFINDEX, 0)
    assert kernel.sample("sample_tc_ingress", FRAME).meta.rules == 1


def test_a_gate_without_rules_is_thinned_ahead_of_the_parser(kernel):
    """A rule of another interface makes every gate take all; here the main exporter draws, and counts come out."""
    select(kernel, rule(ifindexes=frozenset({9})), main=KernelRule(None, Fraction(1, 100)), budget=10**9)
    before, window = kernel.gates.counters()[0], kernel.state().window_samples
    kernel.run("sample_tc_ingress", FRAME, repeat=10_000)
    selected, unselected, appended = grown(kernel, before, "selected", "unselected", "appended")
    assert selected == unselected + appended == 10_000
    assert 20 < appended < 250  # 100 expected
    assert kernel.state().window_samples <= window + appended, "what nobody selects takes nothing of the budget"


def test_nobody(kernel):
    select(kernel, main=None)
    before, seen = kernel.gates.counters()[0], kernel.gates.observed()[IFINDEX, 0]
    kernel.run("sample_tc_ingress", FRAME, repeat=1000)
    assert grown(kernel, before, "selected") == (0,)
    assert kernel.gates.observed()[IFINDEX, 0] == seen + 1000
    select(kernel)
    assert octets(kernel.sample("sample_tc_ingress", FRAME)) == octets(kernel.sample("sample_xdp", FRAME))


def test_of_a_tunnel_the_inner_packet_is_asked(kernel):
    """Rules see what a sample holds: inner headers, and the tunnel's."""
    frame = TUNNEL_FRAMES["vxlan"].frame
    sample = kernel.sample("sample_tc_ingress", frame)
    kept = bytes(ffi.buffer(ffi.addressof(sample)))
    rules = [
        rule(exactly(start := key_offset(name), kept[start : start + size]))
        for name, size in (("src_addr", 16), ("tunnel", 48), ("src_mac", 6))
    ]
    outer = rule(exactly(key_offset("src_addr"), frame[26:30]))
    select(kernel, *rules, outer)
    assert kernel.sample("sample_tc_ingress", frame).meta.rules == 0b111
    select(kernel, *rules, outer, tunnels=False)
    assert kernel.sample("sample_tc_ingress", frame).meta.rules == 0b1000


def test_by_the_interface_it_came_in(kernel):
    offset = int(ffi.offsetof("struct sample_meta", "ingress_ifindex"))
    octet = bytes(ffi.buffer(ffi.new("__u32 *", IFINDEX)))
    select(kernel, rule(exactly(offset, octet)), rule({offset: 1 << 77}))
    assert kernel.sample("sample_tc_ingress", FRAME).meta.rules == 1
    assert kernel.sample("sample_xdp", FRAME).meta.rules == 1
