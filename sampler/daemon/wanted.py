"""What a configuration wants of the links that there are now: rules for the kernel, interfaces to attach to. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from sampler.config import MAIN, Config
from sampler.daemon.linktable import Link, matches
from sampler.daemon.places import EGRESS, INGRESS
from sampler.kernel.selection import KernelRule, Selection
from sampler.rules.match import Match, compile_match, interfaces
from sampler.rules.rule import PROBABILITY_ALL, RULES_MAX

# How directions are called, by enum direction.
DIRECTIONS = {frozenset((0,)): "ingress", frozenset((1,)): "egress", frozenset((0, 1)): "both", frozenset(): "none"}


@dataclass(frozen=True)
class Selector:
    """Who takes packets, as the configuration says: an exporter by a rule of its, or the main exporter.

    Attributes:
        exporter: its name.
        rule: the rule's place, a bit of meta.rules; None: the main selector.
        match: which packets, as written; "": all.
        probability: how many of them, as written: "1/400", "655/65535".
        direction: "ingress", "egress", "both"; "none" is the main exporter's that samples neither.
        interfaces: globs; empty: physical ones.
        obs_domain_id: observationDomainId of the flows.
        obs_point_id: observationPointId of the flows.
        copy: how many before it are the same.

    """

    exporter: str
    rule: int | None
    match: str
    probability: str
    direction: str
    interfaces: tuple[str, ...]
    obs_domain_id: int
    obs_point_id: int
    copy: int = 0

    @property
    def identity(self) -> "Selector":
        """What it is known by wherever its rule stands: all but the place."""
        return replace(self, rule=None)


@dataclass(frozen=True)
class Wanted:
    """All that makes a generation: where two are equal, one generation serves both.

    Attributes:
        main: what the main exporter takes; None: there is none.
        rules: what the flow rules take, by their bit of meta.rules.
        selectors: who takes it.
        budget: samples a CPU and second; 0: no limit.
        tunnels: packets are described by what tunnels carry.
        routes: somebody's records say where packets leave this host.

    """

    main: KernelRule | None
    rules: tuple[KernelRule, ...]
    selectors: tuple[Selector, ...]
    budget: int
    tunnels: bool
    routes: bool

    @property
    def main_selector(self) -> Selector | None:
        """The main exporter's; None: there is none."""
        return next((selector for selector in self.selectors if selector.rule is None), None)

    def selection(self) -> Selection:
        """What the kernel is told. ValueError: it has no room for that."""
        return Selection(self.main, self.rules, self.budget, self.tunnels, self.routes)


def wanted(config: Config, links: Iterable[Link]) -> tuple[Wanted, dict[Link, frozenset[int]]]:
    """Give what is to be taken, and the directions (enum direction) in which each link is sampled at all."""
    table = list(links)
    numbers = {link.name: link.ifindex for link in table}
    directions: dict[Link, frozenset[int]] = {}
    chosen = [(main_directions(config), config.sampler.interfaces)] if config.has_main else []
    chosen += [(frozenset(rule.directions), config.globs(rule)) for rule in config.rules]
    # Of many rules most have the same globs: each list is asked once, at each of a thousand links that come.
    by_globs: dict[tuple[str, ...], frozenset[int]] = {}
    for globs in dict.fromkeys(globs for _, globs in chosen):
        mine = [link for link in table if matches(link, globs)]
        by_globs[globs] = frozenset(link.ifindex for link in mine)
        ways = frozenset[int]().union(*(ways for ways, others in chosen if others == globs))
        for link in mine if ways else ():
            directions[link] = directions.get(link, frozenset()) | ways
    found = [(ways, by_globs[globs] if ways else frozenset()) for ways, globs in chosen]
    all_ = frozenset(link.ifindex for link in directions)
    # Where all take part, none is named: then a link that comes or goes needs no new generation.
    everywhere = [(ways, None if ifindexes == all_ else ifindexes) for ways, ifindexes in found]
    main = None
    if config.has_main:
        main = KernelRule(None, Fraction(1, config.exporter.sampling), *everywhere.pop(0))
    rules = tuple(
        KernelRule(_compiled(rule.match, numbers), rule.rate, *where)
        for rule, where in zip(config.rules, everywhere, strict=True)
    )
    options = config.exporter
    routes = any(item.profile == "full" for item in config.exporters.values())
    budget, tunnels = config.sampler.sample_budget, options.enable_tunnel_sampling
    return Wanted(main, rules, _selectors(config), budget, tunnels, routes), directions


@lru_cache(maxsize=RULES_MAX)
def _everywhere_alike(text: str) -> Match | None:
    """Compile a match that is the same whatever links there are; None where it names an interface."""
    return None if interfaces(text) else compile_match(text, lambda _: None)


def _compiled(text: str, numbers: Mapping[str, int]) -> Match:
    return _everywhere_alike(text) or compile_match(text, numbers.get)


def main_directions(config: Config) -> frozenset[int]:
    """The directions in which the main exporter samples, as enum direction."""
    options = config.exporter
    ways = ((INGRESS, options.enable_input_sampling), (EGRESS, options.enable_output_sampling))
    return frozenset(direction for direction, enabled in ways if enabled)


def _selectors(config: Config) -> tuple[Selector, ...]:
    main = config.exporter
    direction, globs = DIRECTIONS[main_directions(config)], config.sampler.interfaces
    ids = main.obs_domain_id, main.obs_point_id
    found = [Selector(MAIN, None, "", f"1/{main.sampling}", direction, globs, *ids)] if config.has_main else []
    names = [exporter.name for exporter in config.flow_exporters for _ in exporter.rules]
    times: Counter[Selector] = Counter()
    for bit, (name, rule) in enumerate(zip(names, config.rules, strict=True)):
        probability, ids = f"{rule.probability}/{PROBABILITY_ALL}", (rule.obs_domain_id, rule.obs_point_id)
        selector = Selector(name, bit, rule.match, probability, rule.direction, config.globs(rule), *ids)
        found.append(replace(selector, copy=times[selector.identity]))
        times[selector.identity] += 1
    return tuple(found)


def missing(config: Config, links: Iterable[Link]) -> Mapping[str, str]:
    """Give the interfaces that no link has and a rule's in_port names, with the first such match."""
    names = {link.name for link in links}
    found: dict[str, str] = {}
    for rule in config.rules:
        for name in interfaces(rule.match):
            if name not in names:
                found.setdefault(name, rule.match)
    return found
