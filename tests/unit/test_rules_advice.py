"""What `xdpfix check` says of flow rules."""

from typing import Any

import pytest

from sampler import config
from sampler.config import Config
from sampler.daemon.linktable import Link
from sampler.rules import advice

LINKS = (Link(1, "lo", loopback=True), Link(2, "eth0", physical=True), Link(3, "vnet0"))


def parsed(*rules: dict[str, Any]) -> Config:
    samples = [{"probability": 655} | rule for rule in rules]
    return config.parse({"flow_exporter": [{"collector_set_id": 7, "targets": ["192.0.2.9"], "sample": samples}]})


def warned(*rules: dict[str, Any]) -> list[str]:
    return advice.warnings(parsed(*rules), LINKS)


def test_each_rule_is_said_with_its_share_and_interfaces() -> None:
    whole = parsed(
        {"match": "udp,tp_dst=53", "direction": "ingress"},
        {"probability": 65535, "interfaces": ["vnet*", "eth*"]},
        {"probability": 65534, "interfaces": ["x"]},
    )
    assert advice.lines(whole, LINKS) == [
        "collector-set-7: collectors 192.0.2.9:4739",
        "collector-set-7, rule 1: udp,tp_dst=53, 0.99947 % of them, in, on eth0",
        "collector-set-7, rule 2: every packet, 100 % of them, in and out, on eth0, vnet0",
        "collector-set-7, rule 3: every packet, 99.998 % of them, in and out, on no interface that is here now",
    ]


def test_a_rule_that_makes_every_packet_pay() -> None:
    (warning,) = warned({"probability": 65535, "direction": "egress", "match": "udp"})
    assert warning.startswith("flow_exporter 7: rule 1: probability = 65535: every packet (out) of eth0 pays for pars")
    assert warned({"probability": 65534}) == []


def test_interfaces_that_are_not_here() -> None:
    assert warned({"interfaces": ["x"]}) == [
        "flow_exporter 7: rule 1: none of its interfaces is here now: it samples when one comes"
    ]
    assert warned({"match": "in_port=eth9,ip"}) == [
        "flow_exporter 7: rule 1: match: in_port=eth9: no interface is called so now: "
        "it matches nothing until one comes"
    ]
    assert warned({"match": "in_port=vnet0"}) == []


def test_an_exporter_without_rules() -> None:
    assert warned() == ["flow_exporter 7: no rule, nothing is sampled for it: add [[flow_exporter.sample]] below it"]


TWICE = "flow_exporter 7: rules 1 and 2 may take the same packet: it is counted for both"


@pytest.mark.parametrize(
    ("one", "other", "twice"),
    [
        ({"match": "udp"}, {"match": "ip"}, True),
        ({"match": "udp"}, {"match": "tcp"}, False),
        ({"match": "udp"}, {"match": "ip", "obs_point_id": 1}, False),
        ({"match": "udp"}, {"match": "ip", "obs_domain_id": 1}, False),
        ({"direction": "ingress"}, {"direction": "egress"}, False),
        ({"direction": "ingress"}, {"direction": "both"}, True),
        ({"interfaces": ["eth*"]}, {"interfaces": ["vnet*"]}, False),
        ({"interfaces": ["eth*"]}, {"interfaces": ["*"]}, True),
        ({"match": "in_port=eth8"}, {"match": "in_port=eth9"}, False),
        ({"match": "udp,tp_dst=1-9"}, {"match": "udp,tp_dst=9-12"}, True),
        ({"match": "udp,tp_dst=1-9"}, {"match": "udp,tp_dst=10-12"}, False),
    ],
)
def test_rules_that_may_count_one_packet_twice(one: dict[str, Any], other: dict[str, Any], twice: bool) -> None:
    assert [warning.startswith(TWICE) for warning in warned(one, other) if "twice" in warning or "both" in warning] == [
        True
    ] * twice
