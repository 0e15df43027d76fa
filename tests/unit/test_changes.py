"""What `xdpfix reload` says has changed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from exporter.options import ExporterOptions, Target
from sampler.config import Config, SamplerOptions, parse
from sampler.daemon.changes import changes
from sampler.tunnels.ports import TunnelPorts


def test_equal_configurations_differ_in_nothing() -> None:
    assert changes(Config(), Config()) == []


def test_each_key_is_a_sentence_with_its_path_and_both_values() -> None:
    before = Config(
        SamplerOptions(obs_point_ids=(("eth0", 1),)), ExporterOptions(targets=(Target("192.0.2.1"),), sampling=400)
    )
    after = Config(
        replace(
            before.sampler,
            hook="xdp",
            control_socket=Path("/run/x"),
            obs_point_ids=(),
            tunnel_ports=TunnelPorts(stt=()),
        ),
        replace(before.exporter, targets=(Target("2001:db8::1", 1),), sampling=1, enable_tunnel_sampling=False),
    )
    assert changes(before, after) == [
        'sampler.hook: "auto" → "xdp"',
        'sampler.control_socket: "/run/xdpfix/control.sock" → "/run/x"',
        'sampler.obs_point_ids: [["eth0", 1]] → []',
        "sampler.tunnel_ports.stt: [7471] → []",
        'exporter.targets: ["192.0.2.1:4739"] → ["[2001:db8::1]:1"]',
        "exporter.sampling: 400 → 1",
        "exporter.enable_tunnel_sampling: true → false",
    ]


def flow(number: int, *rules: dict[str, Any], **keys: Any) -> dict[str, Any]:
    samples = [{"probability": 655} | rule for rule in rules]
    return {"collector_set_id": number, "targets": ["192.0.2.9"], "sample": samples} | keys


def changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    return changes(*(parse({"exporter": {}, "flow_exporter": exporters}) for exporters in (before, after)))


def test_flow_exporters_by_their_names() -> None:
    before = [flow(1, {}), flow(2, {"match": "udp"}, cache_max_flows=5), flow(3, {"match": "tcp"}, {"match": "udp"})]
    after = [flow(2, {"match": "tcp"}, cache_max_flows=6), flow(3, {"match": "udp"}), flow(4, {}, {})]
    assert changed(before, after) == [
        "collector-set-1: removed",
        "collector-set-2.cache_max_flows: 5 → 6",
        'collector-set-2: rule 1.match: "udp" → "tcp"',
        'collector-set-3: rule removed: "tcp"',
        "collector-set-4: added, with 2 rules",
    ]
    assert changed(before, before) == []


def test_the_main_exporter_comes_and_goes() -> None:
    before, after = ({"flow_exporter": [flow(1)]}, {"exporter": {"targets": ["192.0.2.1"]}, "flow_exporter": [flow(1)]})
    targets = '["192.0.2.1:4739"]'
    assert changes(parse(before), parse(after)) == [f"exporter.targets: [] → {targets}", "main: added"]
    assert changes(parse(after), parse(before)) == [f"exporter.targets: {targets} → []", "main: removed"]
