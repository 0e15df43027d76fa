"""What an exporter knows of itself, put together as figures for its options data."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from exporter.options import ExporterOptions
from exporter.optionsdata import figures
from exporter.optionsdata.figures import Figures, Interface, Loss
from exporter.selector import Selector

RAW = "raw"
MAIN_SELECTOR = 1  # selectorId (302) of the main selector; those of rules are numbered behind it


def _number(rule: int | None) -> int:
    return MAIN_SELECTOR if rule is None else MAIN_SELECTOR + 1 + rule


@dataclass(frozen=True)
class Metering:
    """What the sampler has done since it began, in wire packets: at its gates, taken there, and lost since."""

    observed: int = 0
    selected: int = 0
    ignored: int = 0


class Status:
    """Filled by the exporter and those who drive it. Times in seconds since 1970.

    Args:
        options: of the exporter.
        process: exportingProcessId (144).

    Attributes:
        began: when the counting of losses began; 0: not yet.
        domain: the main observation domain: of the main selector, or of the first rule.

    """

    def __init__(self, options: ExporterOptions, process: int = 1) -> None:
        self.options = options
        self.began = 0
        self.domain = options.obs_domain_id
        self.process = process
        self.interfaces: tuple[Interface, ...] = ()
        self._metering: Metering | None = None
        self._ignored = Loss()
        self._selectors: tuple[figures.Selector, ...] = ()

    def set_interfaces(self, interfaces: Iterable[tuple[int, str, str]]) -> bool:
        """Take (ifindex, name, description) of every interface; whether anything is other than before."""
        before = self.interfaces
        self.interfaces = tuple(Interface(*interface) for interface in sorted(interfaces))
        return self.interfaces != before

    def set_metering(self, metering: Metering) -> None:
        """Take what the sampler counted."""
        self._metering = metering

    def set_ignored(self, packets: int, octets: int, time: int) -> None:
        """Take how much was lost until `time` on its way to a flow, since the beginning."""
        before = self._ignored
        if packets > before.packets:
            first = before.first if before.packets else time
            self._ignored = Loss(0, packets, octets, first, time)

    def set_selectors(self, gate: Fraction, selectors: Iterable[Selector]) -> bool:
        """Take the selectors of now, behind a gate of this probability; whether anything is other than before."""
        before = self._selectors
        self._selectors = tuple(
            figures.Selector(
                id=_number(selector.rule),
                domain=selector.obs_domain_id,
                point=selector.obs_point_id,
                probability=gate * selector.thinning,
            )
            for selector in sorted(selectors, key=lambda selector: _number(selector.rule))
        )
        if self._selectors:
            self.domain = self._selectors[0].domain
        return self._selectors != before

    def _observed(self, selector: figures.Selector) -> figures.Selector:
        """Add what is known of a selector: of the main one what the gates counted, for it takes all that they take."""
        if selector.id != MAIN_SELECTOR or self._metering is None:
            return selector
        return replace(selector, observed=self._metering.observed, selected=self._metering.selected)

    def interval(self, probability: Fraction) -> int:
        """Return samplingInterval (34): by what collectors are to multiply counters of this sampling."""
        return round(1 / probability) if self.options.counts == RAW else 1

    @property
    def ignored_packets(self) -> int:
        """Packets that the sampler lost, as far as it told."""
        return self._metering.ignored if self._metering else 0

    def figures(self) -> Figures:
        """Make the snapshot."""
        options = self.options
        return Figures(
            domain=self.domain,
            began=self.began,
            exporting_process=self.process,
            interval={selector.domain: self.interval(selector.probability) for selector in self._selectors},
            interfaces=self.interfaces,
            selectors=tuple(map(self._observed, self._selectors)),
            ignored=self._ignored,
            announce_selector=options.announce_selector,
            everything=options.options_data,
        )
