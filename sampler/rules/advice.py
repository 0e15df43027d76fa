"""What `xdpfix check` says of flow rules: where they would sample, at which cost, and what may be counted twice."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from sampler.config import Config
from sampler.daemon.linktable import Link, matches
from sampler.rules.match import Match, compile_match, interfaces
from sampler.rules.rule import PROBABILITY_ALL, FlowExporter, FlowRule

WAYS = {"ingress": "in", "egress": "out", "both": "in and out"}


def lines(config: Config, links: Sequence[Link]) -> list[str]:
    """Give every flow exporter and rule in a sentence."""
    found = []
    for exporter in config.flow_exporters:
        found.append(f"{exporter.name}: collectors {', '.join(map(str, exporter.options.targets))}")
        for place, rule in enumerate(exporter.rules, 1):
            here = ", ".join(sorted(_names(config, rule, links))) or "no interface that is here now"
            found.append(
                f"{exporter.name}, rule {place}: {rule.match or 'every packet'}, {_share(rule)} of them, "
                f"{WAYS[rule.direction]}, on {here}"
            )
    return found


def warnings(config: Config, links: Sequence[Link]) -> list[str]:
    """Give what is allowed but surprises: sentences."""
    found = []
    names = {link.name for link in links}
    for exporter in config.flow_exporters:
        path = f"flow_exporter {exporter.collector_set_id}"
        if not exporter.rules and all(source.exporter != exporter.name for source in config.psample):
            found.append(f"{path}: no rule, nothing is sampled for it: add [[flow_exporter.sample]] below it")
        for place, rule in enumerate(exporter.rules, 1):
            where = f"{path}: rule {place}"
            here = sorted(_names(config, rule, links))
            if not here:
                found.append(f"{where}: none of its interfaces is here now: it samples when one comes")
            elif rule.probability == PROBABILITY_ALL:
                found.append(
                    f"{where}: probability = {rule.probability}: every packet ({WAYS[rule.direction]}) of "
                    f"{', '.join(here)} pays for parsing, also those that do not match; a busy host wants "
                    f"{PROBABILITY_ALL // 100} (one in 100) or less"
                )
            found += [
                f"{where}: match: in_port={name}: no interface is called so now: it matches nothing until one comes"
                for name in interfaces(rule.match)
                if name not in names
            ]
        found += _twice(config, exporter, links)
    return found


def _twice(config: Config, exporter: FlowExporter, links: Sequence[Link]) -> Iterator[str]:
    """Two rules whose records say the same domain and point, and that may take the same packet."""
    # in_port by numbers of our own: two names are two interfaces, whether they are here or not.
    numbers: dict[str, int] = {}
    compiled = [_compiled(rule, numbers) for rule in exporter.rules]
    for (one, first), (other, second) in combinations(enumerate(exporter.rules), 2):
        same = (first.obs_domain_id, first.obs_point_id) == (second.obs_domain_id, second.obs_point_id)
        ways = set(first.directions) & set(second.directions)
        mine, theirs = _names(config, first, links), _names(config, second, links)
        apart = mine and theirs and not mine & theirs
        if same and ways and not apart and compiled[one].overlaps(compiled[other]):
            yield (
                f"flow_exporter {exporter.collector_set_id}: rules {one + 1} and {other + 1} may take the same packet: "
                "it is counted for both, as by two sample actions of Open vSwitch; give them different obs_point_id, "
                "or matches that exclude each other"
            )


def _compiled(rule: FlowRule, numbers: dict[str, int]) -> Match:
    return compile_match(rule.match, lambda name: numbers.setdefault(name, len(numbers) + 1))


def _names(config: Config, rule: FlowRule, links: Sequence[Link]) -> set[str]:
    return {link.name for link in links if matches(link, config.globs(rule))}


def _share(rule: FlowRule) -> str:
    """Say the probability in percent, exact at its ends: 100 % is every packet."""
    if rule.probability == PROBABILITY_ALL:
        return "100 %"
    return f"{100 * rule.probability / PROBABILITY_ALL:.5g} %"
