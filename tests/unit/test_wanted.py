"""What a configuration wants of the links: rules by their bits, where they take, and where to attach."""

from fractions import Fraction
from typing import Any

from sampler import config
from sampler.daemon.linktable import Link
from sampler.daemon.wanted import Selector, Wanted, missing, wanted
from sampler.kernel.selection import KernelRule
from sampler.rules.match import Match, compile_match

LO, ETH0, ETH1, VNET = Link(1, "lo"), Link(2, "eth0", physical=True), Link(3, "eth1", physical=True), Link(4, "vnet0")
LINKS = (LO, ETH0, ETH1, VNET)
BOTH = frozenset({0, 1})
MAIN = {"targets": ["192.0.2.1"]}  # beside flow exporters the main exporter runs with targets


def found(document: dict[str, Any], links: tuple[Link, ...] = LINKS) -> tuple[Wanted, dict[Link, frozenset[int]]]:
    return wanted(config.parse(document), links)


def flow(*rules: dict[str, Any], number: int = 1) -> dict[str, Any]:
    samples = [{"probability": 655} | rule for rule in rules]
    return {"collector_set_id": number, "targets": ["192.0.2.9"], "sample": samples}


def test_the_main_exporter_alone() -> None:
    whole, directions = found({"exporter": {"sampling": 7, "obs_domain_id": 3, "obs_point_id": 4}})
    assert whole.main == KernelRule(None, Fraction(1, 7), BOTH, None)
    assert whole.rules == ()
    assert whole.selectors == (Selector("main", None, "", "1/7", "both", (), 3, 4),)
    assert directions == {ETH0: BOTH, ETH1: BOTH}


def test_rules_have_their_places_over_all_exporters() -> None:
    first = flow({"obs_domain_id": 1}, {"obs_point_id": 2})
    whole, _ = found({"flow_exporter": [first, flow({"match": "udp"}, number=9)]})
    assert whole.main is None
    assert [rule.match.text for rule in whole.rules if isinstance(rule.match, Match)] == ["", "", "udp"]
    assert whole.selectors == (
        Selector("collector-set-1", 0, "", "655/65535", "both", (), 1, 0),
        Selector("collector-set-1", 1, "", "655/65535", "both", (), 0, 2),
        Selector("collector-set-9", 2, "udp", "655/65535", "both", (), 0, 0),
    )


def test_interfaces_that_only_a_rule_names_are_not_the_main_exporters() -> None:
    document = {
        "sampler": {"interfaces": ["eth0"]},
        "exporter": MAIN | {"enable_output_sampling": False},
        "flow_exporter": [flow({"interfaces": ["vnet*"], "direction": "egress"}, {"direction": "egress"})],
    }
    whole, directions = found(document)
    assert whole.main is not None
    assert (whole.main.directions, whole.main.ifindexes) == (frozenset({0}), frozenset({2}))
    assert [(rule.directions, rule.ifindexes) for rule in whole.rules] == [
        (frozenset({1}), frozenset({4})),
        (frozenset({1}), frozenset({2})),
    ]
    assert directions == {ETH0: BOTH, VNET: frozenset({1})}


def test_a_link_that_comes_needs_a_generation_only_where_rules_differ() -> None:
    alike = {"sampler": {"interfaces": ["*"]}, "exporter": MAIN, "flow_exporter": [flow({})]}
    assert found(alike, LINKS[:2])[0] == found(alike)[0]
    apart = {"sampler": {"interfaces": ["eth*"]}, "exporter": MAIN, "flow_exporter": [flow({"interfaces": ["*"]})]}
    assert found(apart, LINKS[:2])[0] != found(apart)[0]


def test_in_port_follows_its_name() -> None:
    document = {"flow_exporter": [flow({"match": "in_port=vnet0"})]}
    with_it, without = found(document)[0], found(document, LINKS[:3])[0]
    assert with_it.rules[0].match == compile_match("in_port=vnet0", {"vnet0": 4}.get)
    assert without.rules[0].match == compile_match("in_port=vnet0", {}.get)
    assert missing(config.parse(document), LINKS) == {}
    assert missing(config.parse(document), LINKS[:3]) == {"vnet0": "in_port=vnet0"}


def test_no_direction_attaches_nothing() -> None:
    _, directions = found({"exporter": {"enable_input_sampling": False, "enable_output_sampling": False}})
    assert directions == {}
