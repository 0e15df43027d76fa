"""Rows of `xdpfix show rules`: what every exporter takes, by which rule, and how much that was. Pure."""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from exporter.selector import Selected
from sampler.config import MAIN, Config
from sampler.rulecounts import NOTHING, Place
from sampler.rules.rule import PROBABILITY_ALL
from sampler.wanted import main_directions

DIRECTIONS = {frozenset((0,)): "ingress", frozenset((1,)): "egress", frozenset((0, 1)): "both", frozenset(): "none"}


def rules(config: Config) -> dict[Place, Hashable]:
    """The rules by their places, each as what it is known again by when the configuration changes."""
    found: dict[Place, Hashable] = {(MAIN, None): MAIN} if config.has_main else {}
    names = [exporter.name for exporter in config.flow_exporters for _ in exporter.rules]
    times: Counter[Hashable] = Counter()
    for bit, (name, rule) in enumerate(zip(names, config.rules, strict=True)):
        found[name, bit] = name, rule, times[name, rule]  # the same rule twice is two
        times[name, rule] += 1
    return found


def rows(config: Config, counts: Mapping[Hashable, Selected]) -> list[dict[str, Any]]:
    """One row a rule, in the order of the configuration; the main exporter first, which is one that takes all."""
    found = []
    for (name, bit), key in rules(config).items():
        if bit is None:
            options = config.exporter
            row = {
                "exporter": name,
                "match": "",
                "probability": f"1/{options.sampling}",
                "direction": DIRECTIONS[main_directions(config)],
                "interfaces": list(config.sampler.interfaces),
                "obs_domain_id": options.obs_domain_id,
                "obs_point_id": options.obs_point_id,
            }
        else:
            rule = config.rules[bit]
            row = {
                "exporter": name,
                "match": rule.match,
                "probability": f"{rule.probability}/{PROBABILITY_ALL}",
                "direction": rule.direction,
                "interfaces": list(config.globs(rule)),
                "obs_domain_id": rule.obs_domain_id,
                "obs_point_id": rule.obs_point_id,
            }
        selected = counts.get(key, NOTHING)
        found.append(row | {"samples": selected.samples, "packets": selected.packets})
    return found
