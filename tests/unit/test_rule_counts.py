"""`xdpfix show rules`: what each rule took, however often the selection changed meanwhile."""

import pytest

from exporter.cache import KNOWN_GENERATIONS
from exporter.options import ExporterOptions
from exporter.selector import Selected
from sampler.config import Config, SamplerOptions
from sampler.rulecounts import RuleCounts
from sampler.rulerows import rows, rules
from sampler.rules.rule import FlowExporter, FlowRule

DNS = FlowRule("udp,tp_dst=53", 655, 1, 2, "ingress", ("eth1",))
ALL = FlowRule()
CONFIG = Config(
    SamplerOptions(interfaces=("eth0",)),
    ExporterOptions(sampling=10, obs_domain_id=7, enable_output_sampling=False),
    flow_exporters=(
        FlowExporter(3, ExporterOptions(), (DNS, ALL)),
        FlowExporter(4, ExporterOptions(), (ALL, ALL)),
    ),
)


def test_rows_in_the_order_of_the_configuration() -> None:
    keys = rules(CONFIG)
    counts = {keys["collector-set-3", 0]: Selected(5, 500), keys["collector-set-4", 3]: Selected(1, 2)}
    found = rows(CONFIG, counts | {"main": Selected(9, 90)})
    assert found[0] == {
        "exporter": "main",
        "match": "",
        "probability": "1/10",
        "direction": "ingress",
        "interfaces": ["eth0"],
        "obs_domain_id": 7,
        "obs_point_id": 0,
        "samples": 9,
        "packets": 90,
    }
    assert found[1] == {
        "exporter": "collector-set-3",
        "match": "udp,tp_dst=53",
        "probability": "655/65535",
        "direction": "ingress",
        "interfaces": ["eth1"],
        "obs_domain_id": 1,
        "obs_point_id": 2,
        "samples": 5,
        "packets": 500,
    }
    # The same rule twice, in one exporter and in two, is several.
    assert [(row["exporter"], row["samples"]) for row in found[2:]] == [
        ("collector-set-3", 0),
        ("collector-set-4", 0),
        ("collector-set-4", 1),
    ]


def test_without_a_main_exporter_there_is_no_row_of_it() -> None:
    config = Config(flow_exporters=CONFIG.flow_exporters, has_main=False)
    assert [row["exporter"] for row in rows(config, {})] == ["collector-set-3"] * 2 + ["collector-set-4"] * 2


def test_a_rule_keeps_its_counts_when_it_moves() -> None:
    """Its bit changes as rules come and go before it."""
    counts = RuleCounts()
    counts.begin(1, {("a", 0): "x", ("a", 1): "y"})
    counts.take("a", {(1, 0): Selected(3, 30), (1, 1): Selected(4, 40)})
    counts.begin(2, {("a", 0): "y"})
    counts.take("a", {(1, 0): Selected(3, 30), (1, 1): Selected(5, 50), (2, 0): Selected(1, 10)})
    assert counts.totals() == {"x": Selected(3, 30), "y": Selected(6, 60)}


@pytest.mark.parametrize("generations", [KNOWN_GENERATIONS, 5 * KNOWN_GENERATIONS])
def test_counts_outlive_their_generations_but_not_their_rules(generations: int) -> None:
    counts = RuleCounts()
    counts.begin(1, {("a", 0): "gone", ("a", 1): "x"})
    counts.take("a", {(1, 0): Selected(1, 1)})
    for generation in range(2, 2 + generations):
        counts.begin(generation, {("a", 0): "x"})
        counts.take("a", {(generation, 0): Selected(2, 20)})
    assert counts.totals() == {"x": Selected(2 * generations, 20 * generations)}


def test_a_number_that_comes_again_is_another_generation() -> None:
    counts = RuleCounts()
    counts.begin(1, {("a", None): "x"})
    counts.take("a", {(1, None): Selected(1, 10)})
    counts.begin(1, {("a", None): "x"})
    counts.take("a", {(1, None): Selected(2, 20)})
    assert counts.totals() == {"x": Selected(3, 30)}


def test_an_exporter_that_took_the_place_of_another_sets_nothing_back() -> None:
    counts = RuleCounts()
    counts.begin(1, {("a", 0): "x"})
    counts.take("a", {(1, 0): Selected(7, 70), (9, 0): Selected(1, 1)})  # of no known generation
    counts.take("a", {(1, 0): Selected(0, 0)})
    assert counts.totals() == {"x": Selected(7, 70)}
