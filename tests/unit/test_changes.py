"""What `xdpfix reload` says has changed."""

from dataclasses import replace
from pathlib import Path

from exporter.options import ExporterOptions, Target
from sampler.changes import changes
from sampler.config import Config, SamplerOptions
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
