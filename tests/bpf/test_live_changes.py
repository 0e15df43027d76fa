"""A selection put in force while packets pass: every gate takes it at its next packet, and nothing is miscounted."""

import os
import random
import threading
from dataclasses import replace
from fractions import Fraction

import pytest

from lib.frames import FRAMES
from lib.rules import key_offset, rule
from lib.testrun import IFINDEX
from lib.wait import wait_until
from sampler._native import ffi, lib
from sampler.kernel.ring import SAMPLE_SIZE, Ring
from sampler.kernel.selection import KernelRule, Selection

FRAME = FRAMES["ipv4 tcp"]
RUNS = 5000  # packets of one test run
RARE = Fraction(1, 2**32 - 1)


def selection_of(generation):
    """Of the 64 rules just one accepts the packets, by a port or an octet; which one, and the main rate, changes."""
    rules = [rule({key_offset("ip_protocol"): 1 << 17}), rule(dst_port=((81, 65535),))] * (lib.RULES_MAX // 2)
    accepting = [rule({key_offset("ip_protocol"): 1 << 6}), rule(dst_port=((80, 80),))]
    probability = Fraction(1, 1000 if generation % 3 else 500)
    main = KernelRule(None, Fraction(1, 10**9), ifindexes=frozenset({IFINDEX} if generation % 5 else ()))
    place = generation % lib.RULES_MAX
    rules[place] = accepting[place % 2]
    return Selection(main, [replace(made, probability=probability) for made in rules])


def drain(ring, batch):
    """Generation and rules of all samples that are there, in their order; one CPU's, since only one took any."""
    found = []
    while count := ring.read(batch) or ring.peek(batch):
        samples = ffi.from_buffer("struct sample[]", batch)
        found += [(samples[i].meta.generation, samples[i].meta.rules) for i in range(count)]
    return found


def test_a_gap_of_the_old_rate_does_not_linger(kernel):
    for generation in range(1, 9, 2):
        kernel.set_sampling(RARE, generation)
        before = kernel.state().batch.sequence
        kernel.run("sample_tc_ingress", FRAME, repeat=1000)
        assert kernel.state().batch.sequence == before
        kernel.take_all(generation + 1)
        assert kernel.sample("sample_tc_ingress", FRAME).meta.generation == generation + 1
        assert kernel.sample("sample_xdp", FRAME).meta.generation == generation + 1


def test_the_same_generation_again_is_a_new_selection(kernel):
    kernel.set_sampling(RARE, 7)
    kernel.run("sample_tc_ingress", FRAME)
    kernel.set_sampling(Fraction(1), 7)
    assert kernel.sample("sample_tc_ingress", FRAME).meta.generation == 7


@pytest.mark.parametrize("segments", [1, 45])
def test_observed_stays_exact(kernel, segments):
    """Gaps thrown away count for nothing, whether far longer or shorter than what is left."""
    chance = random.Random(segments)
    seen = kernel.gates.observed()[IFINDEX, 0]
    passed = 0
    for generation in range(80):
        kernel.set_sampling(chance.choice([Fraction(1), Fraction(1, 3), Fraction(1, 1000), RARE]), generation)
        packets = chance.randrange(5)
        if packets:
            kernel.run("sample_tc_ingress", FRAME, repeat=packets, segments=segments, segment_size=100)
        passed += packets * segments
        assert kernel.gates.observed()[IFINDEX, 0] == seen + passed


def test_a_redraw_is_unbiased(kernel):
    """Redrawn after every tenth packet, 1 in 40 is taken still; false alarm 1e-6 (binomial, normal to 4.9 sigma)."""
    rounds, each, probability = 5000, 10, Fraction(1, 40)
    for generation in range(lib.SELECTIONS):
        kernel.set_sampling(probability, generation)
    before = kernel.state().batch.sequence
    for _ in range(rounds):
        kernel.maps.select(kernel.maps.selection + 1)
        kernel.run("sample_tc_ingress", FRAME, repeat=each)
    taken = kernel.state().batch.sequence - before
    mean = rounds * each * probability
    assert abs(taken - mean) < 4.9 * float(mean * (1 - probability)) ** 0.5


def test_under_running_traffic(kernel):
    """Each sample is of one selection, gate and rules; none of an old one comes behind the change; all sums come out.

    A thread on another CPU, where there is one, is the traffic; the samples are numbered by its CPU's batch.
    """
    kernel.gates.close(IFINDEX, 0)
    kernel.gates.open(IFINDEX, 0)
    stop, passed = threading.Event(), [0]
    kernel.cpu = max(kernel.cpus)

    def traffic():
        os.sched_setaffinity(0, {kernel.cpu})
        while not stop.is_set():
            kernel.run("sample_tc_ingress", FRAME, repeat=RUNS)
            passed[0] += RUNS

    with Ring(kernel.maps, 512) as ring:
        batch = bytearray(4096 * SAMPLE_SIZE)
        kernel.gates.set_selection(1, selection_of(1))
        counters = kernel.gates.counters()[0]
        samples, begin, changes = [], kernel.state().batch.sequence, []
        thread = threading.Thread(target=traffic)
        thread.start()
        for generation in range(2, 40):
            before = kernel.state().batch.sequence - begin
            kernel.gates.set_selection(generation, selection_of(generation))
            target = passed[0] + 2 * RUNS
            changes.append((generation, before, kernel.state().batch.sequence - begin))
            samples += drain(ring, batch)
            wait_until(lambda target=target: passed[0] >= target, what="traffic")
        stop.set()
        thread.join()
        samples += drain(ring, batch)
        stats = ring.stats()
    assert stats["lost"] == 0
    for generation, rules in samples:
        # The main exporter's packets, one in 10^9, are not to be expected.
        assert rules == 1 << generation % lib.RULES_MAX
    generations = [generation for generation, _ in samples]
    assert len(generations) == kernel.state().batch.sequence - begin
    assert generations == sorted(generations)
    for generation, before, after in changes:
        assert all(number < generation for number in generations[:before])
        assert all(number >= generation for number in generations[after:])
    assert len(set(generations)) > 30, "the traffic ran while the selection changed"
    assert kernel.gates.observed()[IFINDEX, 0] == passed[0]
    grown = {name: count - counters[name] for name, count in kernel.gates.counters()[0].items()}
    assert grown["selected"] == grown["appended"] + grown["unselected"]
    assert grown["appended"] == len(generations)
    assert grown["unselected"] == 0, "one rule accepts each"


def test_number_wraps(kernel):
    """The number of the selection has 32 bits, a gate keeps 16 of them."""
    for number in (2**16 - 2, 2**32 - 2):
        kernel.maps.select(number)
        for generation in range(4):
            kernel.take_all(generation)
            assert kernel.sample("sample_tc_ingress", FRAME).meta.generation == generation
    assert kernel.maps.selection < 4
    assert 2**16 % lib.SELECTIONS == 0
