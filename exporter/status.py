"""What an exporter knows of itself, put together as figures for its options data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from exporter.cache import LASTING_FIRST, Cache
from exporter.options import RAW, ExporterOptions
from exporter.optionsdata import figures
from exporter.optionsdata.figures import Estimate, Figures, Interface, Loss
from exporter.selector import Selected, Selector
from exporter.selectorcounts import SelectorCounts


def _told(gate: Fraction, selectors: Iterable[Selector]) -> tuple[figures.Selector, ...]:
    """The selectors behind a gate of this probability as options data tells of them, in the order of their rules."""
    ordered = sorted(selectors, key=lambda item: -1 if item.rule is None else item.rule)
    return tuple(
        figures.Selector(
            id=item.id, domain=item.obs_domain_id, point=item.obs_point_id, probability=gate * item.thinning
        )
        for item in ordered
    )


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

    Attributes:
        began: when the counting of losses began; 0: not yet.
        domain: the main observation domain: of the main selector, or of the first rule.

    """

    def __init__(self, options: ExporterOptions, cache: Cache) -> None:
        self.options = options
        self._cache = cache
        self.began = 0
        self.domain = options.obs_domain_id
        self.interfaces: tuple[Interface, ...] = ()
        self._metering: Metering | None = None
        self._ignored = Loss()
        self._selectors: tuple[figures.Selector, ...] = ()
        self._lasting: dict[int, tuple[figures.Selector, ...]] = {}  # those of generations that stay, among these
        self._passing: tuple[figures.Selector, ...] = ()  # the others
        self._main: int | None = None  # the id of the main one of them
        # What the gates had done when that began; None: they did something since that was not for it.
        self._before: Metering | None = Metering()
        self._counts = SelectorCounts()

    def set_interfaces(self, interfaces: Iterable[tuple[int, str, str]]) -> bool:
        """Take (ifindex, name, description) of every interface; whether anything is other than before."""
        before = self.interfaces
        self.interfaces = tuple(Interface(*interface) for interface in sorted(interfaces))
        return self.interfaces != before

    def set_metering(self, metering: Metering) -> None:
        """Take what the sampler counted."""
        self._metering = metering
        if metering.observed is None:
            self._before = None

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
        counted = sum(self._counts.totals().values(), Selected())
        mean = counted.octets_estimate / counted.packets_estimate if counted.packets_estimate else 0
        return replace(self._ignored, octets=round(self._ignored.packets * mean))

    def set_selectors(self, generation: int, gate: Fraction, selectors: Sequence[Selector]) -> bool:
        """Take the selectors of now, behind a gate of this probability; whether anything is other than before."""
        told = _told(gate, selectors)
        before = self._selectors
        ended = generation < LASTING_FIRST or len(told) < self.lasting(generation)
        if generation >= LASTING_FIRST:
            self._lasting[generation] = told
        elif told:  # none: this exporter takes nothing any more
            self._passing = told
            self._begin_main(selectors)
        self._selectors = self._with_lasting(self._passing)
        changed = self._selectors != before
        if changed and self._selectors:
            self.domain = self._selectors[0].domain
        if ended:  # lasting generations get thousands of selectors, one by one
            self.count()
            self._counts.keep(selector.id for selector in self._selectors)
        return changed

    def lasting(self, generation: int) -> int:
        """How many selectors this lasting generation has."""
        return len(self._lasting.get(generation, ()))

    def _begin_main(self, selectors: Iterable[Selector]) -> None:
        """Count anew what the gates do where the main selector is another one."""
        main = next((item.id for item in selectors if item.rule is None), None)
        if main != self._main:
            before = self._metering or Metering()
            self._main, self._before = main, None if before.observed is None else before

    def count(self) -> None:
        """Take what each selector has counted, before the cache forgets a generation."""
        self._counts.take(self._cache.selected())

    def selected(self) -> dict[int, Selected]:
        """What each selector counted in all generations, by id, as long as a generation that is known has it."""
        self.count()
        return self._counts.totals()

    def _with_lasting(self, passing: tuple[figures.Selector, ...]) -> tuple[figures.Selector, ...]:
        return passing + tuple(selector for told in self._lasting.values() for selector in told)

    def changes_interval(self, generation: int, gate: Fraction, selectors: Sequence[Selector]) -> bool:
        """Whether by these selectors collectors are to multiply otherwise in a domain that is in use."""
        if self.options.counts != RAW:
            return False
        told = _told(gate, selectors)
        before = self._intervals(self._selectors)
        after = self._intervals(told if generation >= LASTING_FIRST else self._with_lasting(told))
        return any(before[domain] != after[domain] for domain in before.keys() & after.keys())

    def _intervals(self, selectors: Iterable[figures.Selector]) -> dict[int, int]:
        """SamplingInterval (34) by observation domain."""
        raw = self.options.counts == RAW
        return {selector.domain: round(1 / selector.probability) if raw else 1 for selector in selectors}

    def _with_counts(self, selector: figures.Selector, counted: Selected) -> figures.Selector:
        """Add what it counted, and to the main one what the gates did, for it takes all that they take."""
        selector = replace(
            selector,
            packets=Estimate(counted.packets_estimate, counted.packets_variance),
            octets=Estimate(counted.octets_estimate, counted.octets_variance),
        )
        now, before = self._metering, self._before
        if selector.id != self._main or now is None or before is None:
            return selector
        assert now.observed is not None and before.observed is not None
        return replace(selector, observed=now.observed - before.observed, selected=now.selected - before.selected)

    def figures(self) -> Figures:
        """Make the snapshot."""
        options, selected = self.options, self.selected()
        return Figures(
            domain=self.domain,
            began=self.began,
            interval=self._intervals(self._selectors),
            interfaces=self.interfaces,
            selectors=tuple(self._with_counts(item, selected.get(item.id, Selected())) for item in self._selectors),
            ignored=self._ignored_with_octets(),
            announce_selector=options.announce_selector,
            everything=options.options_data,
        )
