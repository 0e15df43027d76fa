"""Rows of `xdpfix show rules`: what every exporter takes, by which rule, and how much that was. Pure."""

from collections.abc import Mapping
from typing import Any

from exporter.selector import Selected
from sampler.daemon.wanted import Selector


def rows(selectors: Mapping[Selector, int], counts: Mapping[int, Selected]) -> list[dict[str, Any]]:
    """One row a selector, in the order of `selectors`, which has their ids; `counts` are by id."""
    found = []
    for selector, number in selectors.items():
        selected = counts.get(number, Selected())
        found.append(
            {
                "exporter": selector.exporter,
                "match": selector.match,
                "probability": selector.probability,
                "direction": selector.direction,
                "interfaces": list(selector.interfaces),
                "obs_domain_id": selector.obs_domain_id,
                "obs_point_id": selector.obs_point_id,
                "selector_id": number,
                "samples": selected.samples,
                "packets": selected.packets,
            }
        )
    return found
