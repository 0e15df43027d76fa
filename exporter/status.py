"""What an exporter knows of itself, put together as figures for its options data."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from exporter.cache import Cache
from exporter.options import RAW, ExporterOptions
from exporter.optionsdata import figures
from exporter.optionsdata.figures import Estimate, Figures, Interface, Loss
from exporter.selector import Selected, Selector

MAIN_SELECTOR = 1  # selectorId (302) of the main selector; those of rules are numbered behind it


def _told(gate: Fraction, selectors: Iterable[Selector]) -> tuple[figures.Selector, ...]:
    """The selectors behind a gate of this probability as options data tells of them."""
    told = [
        figures.Selector(
            id=MAIN_SELECTOR if item.rule is None else MAIN_SELECTOR + 1 + item.rule,
            domain=item.obs_domain_id,
            point=item.obs_point_id,
            probability=gate * item.thinning,
        )
        for item in selectors
    ]
    return tuple(sorted(told, key=lambda item: item.id))


@dataclass(frozen=True)
class Metering:
    """What the sampler has done since it began, in wire packets: at its gates, taken there, and lost since.

    `observed` is None where not all of them are the main selector's.
    """

    observed: int | None = 0
    selected: int = 0
    ignored: int = 0


class Status:
    """Filled by the exporter and those who drive it. Times in seconds since 1970.

    Args:
        options: of the exporter.
        cache: whose selectors' counts are told.
        process: exportingProcessId (144).

    Attributes:
        began: when the counting of losses began; 0: not yet.
        domain: the main observation domain: of the main selector, or of the first rule.

    """

    def __init__(self, options: ExporterOptions, cache: Cache, process: int = 1) -> None:
        self.options = options
        self._cache = cache
        self.began = 0
        self.domain = options.obs_domain_id
        self.process = process
        self.interfaces: tuple[Interface, ...] = ()
        self._metering: Metering | None = None
        self._ignored = Loss()
        self._selectors: tuple[figures.Selector, ...] = ()
        self._selected: dict[tuple[int, int | None], Selected] = {}
        self._past: dict[int | None, Selected] = {}  # in generations that are known no more

    def set_interfaces(self, interfaces: Iterable[tuple[int, str, str]]) -> bool:
        """Take (ifindex, name, description) of every interface; whether anything is other than before."""
        before = self.interfaces
        self.interfaces = tuple(Interface(*interface) for interface in sorted(interfaces))
        return self.interfaces != before

    def set_metering(self, metering: Metering) -> None:
        """Take what the sampler counted."""
        self._metering = metering

    def look(self, time: int) -> None:
        """Look at `time` how many packets were lost on their way to a flow, since the beginning."""
        self.began = self.began or time
        cache, before = self._cache.stats(), self._ignored
        packets = cache["lost_generation"] + cache["lost_memory"]
        packets += self._metering.ignored if self._metering else 0
        if packets > before.packets:
            self._ignored = Loss(0, packets, 0, before.first if before.packets else time, time)

    def _ignored_with_octets(self) -> Loss:
        """Nobody reads what is lost: its octets are estimated by the mean of the packets that were counted."""
        counted = sum((self._counted(selector.id) for selector in self._selectors), Selected())
        mean = counted.octets_estimate / counted.packets_estimate if counted.packets_estimate else 0
        return replace(self._ignored, octets=round(self._ignored.packets * mean))

    def set_selectors(self, gate: Fraction, selectors: Iterable[Selector]) -> bool:
        """Take the selectors of now, behind a gate of this probability; whether anything is other than before."""
        told = _told(gate, selectors)
        if not told or told == self._selectors:  # none: this exporter takes nothing any more
            return False
        self._selectors, self.domain = told, told[0].domain
        return True

    def count(self) -> None:
        """Take what each selector has counted, before the cache forgets a generation."""
        selected = self._cache.selected()
        for key in self._selected.keys() - selected.keys():
            rule = key[1]
            self._past[rule] = self._past.get(rule, Selected()) + self._selected[key]
        self._selected = selected

    def _counted(self, number: int) -> Selected:
        """What the selector of this id counted in all generations."""
        rule = None if number == MAIN_SELECTOR else number - MAIN_SELECTOR - 1
        counted = [item for (_, which), item in self._selected.items() if which == rule]
        return sum(counted, self._past.get(rule, Selected()))

    def changes_interval(self, gate: Fraction, selectors: Iterable[Selector]) -> bool:
        """Whether by these selectors collectors are to multiply otherwise in a domain that is in use."""
        before, after = self._intervals(self._selectors), self._intervals(_told(gate, selectors))
        return any(before[domain] != after[domain] for domain in before.keys() & after.keys())

    def _intervals(self, selectors: Iterable[figures.Selector]) -> dict[int, int]:
        """SamplingInterval (34) by observation domain."""
        raw = self.options.counts == RAW
        return {selector.domain: round(1 / selector.probability) if raw else 1 for selector in selectors}

    def _observed(self, selector: figures.Selector) -> figures.Selector:
        """Add what it counted, and to the main one what the gates did, for it takes all that they take."""
        counted = self._counted(selector.id)
        selector = replace(
            selector,
            packets=Estimate(counted.packets_estimate, counted.packets_variance),
            octets=Estimate(counted.octets_estimate, counted.octets_variance),
        )
        if selector.id != MAIN_SELECTOR or self._metering is None or self._metering.observed is None:
            return selector
        return replace(selector, observed=self._metering.observed, selected=self._metering.selected)

    def figures(self) -> Figures:
        """Make the snapshot."""
        self.count()
        options = self.options
        return Figures(
            domain=self.domain,
            began=self.began,
            exporting_process=self.process,
            interval=self._intervals(self._selectors),
            interfaces=self.interfaces,
            selectors=tuple(map(self._observed, self._selectors)),
            ignored=self._ignored_with_octets(),
            announce_selector=options.announce_selector,
            everything=options.options_data,
        )
