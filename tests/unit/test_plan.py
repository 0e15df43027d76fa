"""The plan of a reload: what differs, and nothing else."""

from dataclasses import replace
from typing import Any

from exporter.options import ExporterOptions, Target
from sampler import config
from sampler.config import Config
from sampler.daemon.plan import Plan, plan


def parsed(**document: Any) -> Config:
    return config.parse(document)


def flow(number: int, **keys: Any) -> dict[str, Any]:
    return {"collector_set_id": number, "targets": ["192.0.2.9"], "sample": [{"probability": 1}]} | keys


def test_equal_configurations_need_nothing() -> None:
    document = {
        "sampler": {"interfaces": ["a"]},
        "exporter": {"sampling": 7, "targets": ["192.0.2.1"]},
        "flow_exporter": [flow(1)],
    }
    one, other = parsed(**document), parsed(**document)
    assert plan(one, other) == Plan(one, (), {}, {}, ())


def test_exporters_that_come_change_and_go() -> None:
    old = parsed(exporter={"targets": ["192.0.2.1"]}, flow_exporter=[flow(1), flow(2)])
    new = parsed(flow_exporter=[flow(2, cache_max_flows=5), flow(3)])
    found = plan(old, new)
    options = ExporterOptions(targets=(Target("192.0.2.9"),))
    assert found.added == {"collector-set-3": options}
    assert found.changed == {"collector-set-2": replace(options, cache_max_flows=5)}
    assert found.removed == ("main", "collector-set-1")
    assert plan(new, old).added.keys() == {"main", "collector-set-1"}


def test_rules_alone_leave_the_exporter_as_it_is() -> None:
    old, new = (parsed(flow_exporter=[flow(1, sample=[{"probability": p}])]) for p in (1, 2))
    found = plan(old, new)
    assert (found.added, found.changed, found.removed) == ({}, {}, ())
    assert found.config == new


def test_what_only_a_restart_changes_stays() -> None:
    old = parsed(sampler={"interfaces": ["a"]})
    keys = {"loader": "bcc", "ring_pages": 8, "control_socket": "/run/x", "interfaces": ["b"]}
    found = plan(old, parsed(sampler=keys))
    assert found.restart == ("sampler.loader", "sampler.ring_pages", "sampler.control_socket")
    assert found.config == parsed(sampler={"interfaces": ["b"]})
