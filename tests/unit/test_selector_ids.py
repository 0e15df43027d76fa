"""Selector ids over reloads: what options data and `show rules` tell of a selector is of that one alone.

RFC 5476 section 6.1: an id is unique in its observation domain; 6.5: what was told of one holds until it is told anew.
"""

import contextlib
import random
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from exporter.cache import KNOWN_GENERATIONS
from exporter.options import ExporterOptions, Target
from lib.receiver import Receiver
from lib.samples import batch, sample
from sampler.config import Config, SamplerOptions
from sampler.control.rulerows import rows
from sampler.daemon.exporters import Exporters
from sampler.daemon.selectorids import SelectorIds
from sampler.daemon.wanted import Selector, wanted
from sampler.rules.rule import FlowExporter, FlowRule

NS_PER_S = 10**9
STEPS = 60
PACKETS, OCTETS = 86, 85  # informationElementId of an Accuracy Report

RULES = (
    FlowRule("udp", 65535, 1, 1),
    FlowRule("udp", 13107, 1, 1),
    FlowRule("tcp", 13107, 2, 1),
    FlowRule("tcp", 13107, 1, 1),
    FlowRule("tcp", 13107, 1, 2),
    FlowRule("tcp", 13107, 1, 2, "ingress"),
    FlowRule("tcp", 13107, 1, 2, "ingress", ("eth1",)),
)


class Walk:
    """Random configurations, samples by them and by those of before, and what each selector counts of these.

    A selector is one here where all that the configuration says of it is the same, its place aside.
    """

    def __init__(self, seed: int, exporters: Exporters) -> None:
        self._random = random.Random(seed)
        self._exporters = exporters
        self._generations: dict[int, dict[int | None, int]] = {}  # ids by place
        self.samples: Counter[int] = Counter()
        self.meaning: dict[int, tuple[Any, ...]] = {}

    def _configuration(self) -> Config:
        choice = self._random.choice
        drawn = self._random.choices(RULES, k=self._random.randrange(8))
        cut = self._random.randrange(len(drawn) + 1)
        return Config(
            SamplerOptions(interfaces=choice([("eth0",), ("eth*",)])),
            ExporterOptions(sampling=choice([1, 10, 50]), obs_domain_id=choice([0, 0, 7])),
            flow_exporters=tuple(
                FlowExporter(number, ExporterOptions(), tuple(rules))
                for number, rules in ((1, drawn[:cut]), (2, drawn[cut:]))
            ),
        )

    def reload(self) -> None:
        selected, _ = wanted(self._configuration(), ())
        generation = self._exporters.tell(selected.selectors, selected.selection())
        assert tuple(self._exporters.selectors) == selected.selectors
        self._generations[generation] = {taker.rule: number for taker, number in self._exporters.selectors.items()}
        self._generations = dict(list(self._generations.items())[-KNOWN_GENERATIONS:])
        for taker, number in self._exporters.selectors.items():
            said = repr(replace(taker, rule=None))
            assert self.meaning.setdefault(number, said) == said
        assert len(set(self._exporters.selectors.values())) == len(selected.selectors)

    def sample(self) -> list[dict[str, Any]]:
        """Samples of the last generations, the one of now more often than the others, taken by anybody."""
        taken = []
        for generation in self._random.choices([*self._generations, *[list(self._generations)[-1]] * 20], k=30):
            places = self._generations[generation]
            takers = self._random.sample(list(places), self._random.randrange(len(places) + 1))
            self.samples.update(places[place] for place in takers)
            bits = sum(1 << place for place in takers if place is not None)
            taken.append(sample(generation=generation, rules=bits, main=int(None in takers)))
        return taken


def told(receiver: Receiver, scope: str, name: str) -> list[Any]:
    options = receiver.oracle.options
    return [record for record in options if scope in record.values and name in record.values]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p02_a_selector_counts_its_own_over_any_sequence_of_configurations(seed: int) -> None:
    """Rules come, go, move, and change by a little: totals and limits in options data are those of the samples."""
    with contextlib.ExitStack() as stack:
        receivers = {name: stack.enter_context(Receiver()) for name in ("main", "collector-set-1", "collector-set-2")}
        exporters = Exporters(lambda: Target("192.0.2.1"))
        options = {
            name: ExporterOptions(targets=(receiver.target,), stats_interval=1, template_interval=1)
            for name, receiver in receivers.items()
        }
        exporters.join(exporters.make(options), {})
        for sink in exporters.sinks.values():
            stack.callback(sink.close)
        walk = Walk(seed, exporters)
        now = time.monotonic_ns()
        probabilities: dict[int, float] = {}
        points: dict[int, int] = {}
        for _ in range(STEPS):
            walk.reload()
            samples = walk.sample()
            for name, sink in exporters.sinks.items():
                receivers[name].oracle.options.clear()
                sink.ingest(batch(samples), len(samples))
                for _ in range(4):
                    now += NS_PER_S // 2
                    sink.tick(now)
                receivers[name].read()
                mine = {taker: number for taker, number in exporters.selectors.items() if taker.exporter == name}
                check_totals(receivers[name], mine, walk.samples)
                # What was told of an id once is never another thing.
                for record in told(receivers[name], "selectorId", "samplingProbability"):
                    probability = record["samplingProbability"]
                    assert probabilities.setdefault(record["selectorId"], probability) == probability
                for record in told(receivers[name], "selectionSequenceId", "observationPointId"):
                    assert (
                        points.setdefault(record["selectorId"], record["observationPointId"])
                        == (record["observationPointId"])
                    )
            shown = rows(exporters.selectors, exporters.selected())
            assert [row["samples"] for row in shown] == [walk.samples[row["selector_id"]] for row in shown]
        assert len(walk.meaning) > 30


def check_totals(receiver: Receiver, selectors: dict[Selector, int], samples: Counter[int]) -> None:
    """The last Accuracy Reports are of these selectors, in their domains, with the limits of what each counted."""
    last = {
        (record["observationDomainId"], record["selectorId"], record["informationElementId"]): record
        for record in told(receiver, "selectorId", "confidenceLevel")
    }
    for taker, number in selectors.items():
        probability, count = Fraction(taker.probability), samples[number]
        variance = count * (1 - probability) / probability**2
        record = last[taker.obs_domain_id, number, PACKETS]
        assert record["upperCILimit"] == pytest.approx(float(count / probability) + 1.959964 * float(variance) ** 0.5)
        assert (taker.obs_domain_id, number, OCTETS) in last


def test_an_id_is_never_given_again() -> None:
    """A selector that the exporters have forgotten, with what it counted, returns as another one."""
    ids = SelectorIds()
    assert ids.begin(["x", "y"]) == {"x": 1, "y": 2}
    for _ in range(KNOWN_GENERATIONS - 1):
        assert ids.begin(["y"]) == {"y": 2}
    assert ids.begin(["x"]) == {"x": 1}
    for _ in range(KNOWN_GENERATIONS):
        assert ids.begin(["z"]) == {"z": 3}
    assert ids.known == {3}
    assert ids.begin(["x", "y"]) == {"x": 4, "y": 5}
