"""The tables of flow exporters: every key and range, and that an error names exporter, rule, key, value and way out."""

from fractions import Fraction
from typing import Any

import pytest

from exporter.options import ExporterOptions, Target
from sampler import config
from sampler.config import Config, Overrides
from sampler.errors import ConfigError
from sampler.rules.rule import FlowExporter, FlowRule
from sampler.rules.tables import ELSEWHERE, EXPORTER, SAMPLE

U32 = 2**32 - 1
TARGETS = ["192.0.2.9"]


def parsed(*exporters: dict[str, Any], **others: Any) -> Config:
    return config.parse({"flow_exporter": list(exporters)} | others)


def exporter(number: int = 1, *rules: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"collector_set_id": number, "targets": TARGETS, "sample": list(rules)} | keys


def refused(*exporters: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(*exporters)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_flow_exporter_with_a_rule() -> None:
    rule = {"match": "udp,tp_dst=53", "probability": 40000, "obs_domain_id": 1, "obs_point_id": 2}
    rule |= {"direction": "egress", "interfaces": ["vnet*"]}
    (found,) = parsed(exporter(7, rule, cache_active_timeout=30, cache_max_flows=10000)).flow_exporters
    options = ExporterOptions((Target("192.0.2.9"),), cache_active_timeout=30, cache_max_flows=10000)
    assert found == FlowExporter(7, options, (FlowRule("udp,tp_dst=53", 40000, 1, 2, "egress", ("vnet*",)),))
    assert found.rules[0].rate == Fraction(40000, 65535)
    assert found.rules[0].directions == (1,)
    assert found.name == "collector-set-7"


def test_defaults_of_a_rule() -> None:
    (found,) = parsed(exporter(0, {"probability": 65535})).rules
    assert found == FlowRule("", 65535, 0, 0, "both", ())
    assert found.rate == 1
    assert found.directions == (0, 1)


def test_rules_are_numbered_over_all_exporters() -> None:
    whole = parsed(exporter(2, {"probability": 1}, {"probability": 2}), exporter(1, {"probability": 3}))
    assert [rule.probability for rule in whole.rules] == [1, 2, 3]


def test_every_key_of_both_tables_is_read() -> None:
    assert set(SAMPLE) == set(FlowRule.__dataclass_fields__)
    assert {*EXPORTER, *ELSEWHERE, "interface_obs_point_ids"} == set(ExporterOptions.__dataclass_fields__)


def test_the_main_exporter_runs_with_targets_or_alone() -> None:
    assert config.parse({}).has_main
    assert config.parse({"exporter": {}}).has_main
    assert not parsed(exporter()).has_main
    assert not parsed(exporter(), exporter={}).has_main
    assert parsed(exporter(), exporter={"targets": ["192.0.2.1"]}).has_main
    # What is for all exporters can be said without it.
    without = parsed(exporter(), exporter={"enable_tunnel_sampling": False})
    assert not without.has_main and not without.exporter.enable_tunnel_sampling
    document = {"flow_exporter": [exporter()]}
    assert config.parse(document, Overrides(targets=["192.0.2.1"])).has_main
    assert config.parse(document, Overrides(sampling="7")).has_main
    assert not config.parse(document, Overrides(interfaces=["eth0"])).has_main


@pytest.mark.parametrize(("key", "low", "high"), [("collector_set_id", 0, U32)])
def test_range_of_the_exporters_number(key: str, low: int, high: int) -> None:
    for right in (low, high):
        assert parsed(exporter(right)).flow_exporters[0].collector_set_id == right
    for wrong in (low - 1, high + 1):
        assert refused(exporter(wrong)) == f"flow_exporter 1: {key} = {wrong}: must be a whole number from 0 to {U32}"


@pytest.mark.parametrize(("key", "high"), [("obs_domain_id", U32), ("obs_point_id", U32)])
def test_ranges_of_a_rule(key: str, high: int) -> None:
    for right in (0, high):
        assert getattr(parsed(exporter(1, {"probability": 1, key: right})).rules[0], key) == right
    for wrong in (-1, high + 1):
        message = refused(exporter(7, {"probability": 1}, {"probability": 1, key: wrong}))
        assert message == f"flow_exporter 7: rule 2: {key} = {wrong}: must be a whole number from 0 to {high}"


@pytest.mark.parametrize("wrong", [-1, 65536, True, "1", 1.0])
def test_probability(wrong: Any) -> None:
    message = refused(exporter(7, {"probability": wrong}))
    assert message.startswith("flow_exporter 7: rule 1: probability = ")
    assert message.endswith("must be a whole number from 1 to 65535: so many out of 65535 packets are sampled")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            exporter(7, {"probability": 0}),
            "so many out of 65535 packets are sampled; take the rule out to sample nothi",
        ),
        (exporter(7, {"match": "ip"}), "flow_exporter 7: rule 1: probability is missing: a number from 1 to 65535"),
        ({"targets": TARGETS}, f"flow_exporter 1: collector_set_id is missing: a number from 0 to {U32}"),
        (
            {"collector_set_id": 7},
            'flow_exporter 7: targets is missing: a list of collectors, such as ["192.0.2.1:4739"',
        ),
        (exporter(7, targets=[]), "flow_exporter 7: targets is missing"),
        (exporter(7, targets=["::1"]), 'flow_exporter 7: targets = "::1": an IPv6 address goes in brackets'),
        (
            exporter(7, sampling=1),
            "flow_exporter 7: sampling = 1: is not for a flow exporter; each of its rules has a p",
        ),
        (exporter(7, obs_point_id=1), "each of its rules has its own: write it in [[flow_exporter.sample]]"),
        (exporter(7, enable_input_sampling=True), "each of its rules has a direction"),
        (exporter(7, enable_tunnel_sampling=True), "[exporter] says it for all exporters"),
        (
            exporter(7, cache_active_timeout=4201),
            "flow_exporter 7: cache_active_timeout = 4201: must be a whole number",
        ),
        (
            exporter(7, cach_max_flows=1),
            "flow_exporter 7: cach_max_flows = 1: unknown key; did you mean cache_max_flows?",
        ),
        (exporter(7, {"probability": 1, "mach": "ip"}), 'rule 1: mach = "ip": unknown key; did you mean match?'),
        (
            exporter(7, {"probability": 1, "direction": "in"}),
            'direction = "in": must be one of "ingress", "egress", "bo',
        ),
        (exporter(7, {"probability": 1, "interfaces": []}), "interfaces = []: must be a list of interface names"),
        (exporter(7, {"probability": 1, "match": 5}), 'rule 1: match = 5: must be a string such as "udp,tp_dst=53"'),
        (
            exporter(7, {"probability": 1, "match": "udp,tp_dst=53,nw_frag=x"}),
            'flow_exporter 7: rule 1: match = "udp,tp_dst=53,nw_frag=x": nw_frag=x: must be one of no, yes,',
        ),
        (exporter(7, sample=[1]), "flow_exporter.sample: must be an array of tables: write [[flow_exporter.sample]]"),
    ],
)
def test_what_is_wrong_is_named_with_its_way_out(document: dict[str, Any], message: str) -> None:
    assert message in refused(document)


def test_flow_exporter_as_one_table() -> None:
    with pytest.raises(ConfigError, match="flow_exporter: must be an array of tables: write"):
        config.parse({"flow_exporter": exporter()})


def test_two_exporters_of_one_number() -> None:
    assert refused(exporter(7), exporter(7)).startswith("flow_exporter 2: collector_set_id = 7: another flow exporter ")


def test_more_rules_than_a_sample_has_bits() -> None:
    rules = [{"probability": 1}] * 40
    assert len(parsed(exporter(1, *rules), exporter(2, *rules[:24])).rules) == 64
    assert refused(exporter(1, *rules), exporter(2, *rules[:25])).startswith("flow_exporter: 65 rules: all flow expor")
