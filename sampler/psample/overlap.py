"""Which interfaces both psample and our own programs sample for one exporter: their packets count twice. Pure."""

from collections.abc import Iterable, Mapping

from sampler.daemon.linktable import Link, matches
from sampler.daemon.wanted import DIRECTIONS, Selector
from sampler.psample.options import PsampleSource


def twice(
    seen: Iterable[tuple[int, int, int]],
    sources: Mapping[int, PsampleSource],
    links: Iterable[Link],
    selectors: Iterable[Selector],
) -> list[str]:
    """Give a sentence for each group and interface.

    Args:
        seen: group, ifindex and direction (enum direction) of samples that came.
        sources: by their group.
        links: all that there are.
        selectors: what our programs sample, and for whom.

    """
    ways = {name: directions for directions, name in DIRECTIONS.items()}
    table = {link.ifindex: link for link in links}
    mine = list(selectors)
    found = []
    for group, ifindex, direction in sorted(seen):
        link, source = table.get(ifindex), sources.get(group)
        if link is None or source is None:
            continue
        others = (item for item in mine if item.exporter == source.exporter and direction in ways[item.direction])
        if any(matches(link, item.interfaces) for item in others):
            way = ("ingress", "egress")[direction]
            found.append(
                f"{link.name} ({way}) is sampled by psample group {group} and by xdpfix itself, both for "
                f"{source.exporter}: what both take counts twice; sample it by one, or name another exporter"
            )
    return found
