"""Rows of `xdpfix show rules`, in the order of the configuration."""

from exporter.options import ExporterOptions
from exporter.selector import Selected
from sampler.config import Config, SamplerOptions
from sampler.control.rulerows import rows
from sampler.daemon.wanted import wanted
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
    selectors = dict(zip(wanted(CONFIG, ())[0].selectors, (1, 20, 3, 4, 5), strict=True))
    found = rows(selectors, {20: Selected(5, 500), 5: Selected(1, 2), 1: Selected(9, 90), 6: Selected(3, 3)})
    assert found[0] == {
        "exporter": "main",
        "match": "",
        "probability": "1/10",
        "direction": "ingress",
        "interfaces": ["eth0"],
        "obs_domain_id": 7,
        "obs_point_id": 0,
        "selector_id": 1,
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
        "selector_id": 20,
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
    selectors = {selector: number for number, selector in enumerate(wanted(config, ())[0].selectors)}
    assert [row["exporter"] for row in rows(selectors, {})] == ["collector-set-3"] * 2 + ["collector-set-4"] * 2
