"""The exporters of a running service: which there are, what they know of each generation, who takes over from whom.

The main thread calls this; what touches an exporter is handed to the data thread, which owns them all.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from exporter.cache import KNOWN_GENERATIONS, LASTING_FIRST
from exporter.exporter import FORCED_END, Exporter, check
from exporter.options import ExporterOptions, Target
from exporter.selector import Selected, Selector
from exporter.status import Metering
from sampler.config import MAIN
from sampler.daemon import wanted
from sampler.daemon.datapath import Datapath
from sampler.daemon.selectorids import SelectorIds
from sampler.kernel.selection import Selection

NS_PER_S = 10**9
# The default cache is flushed within a second; all together are paced within this. Detaching from a thousand
# interfaces takes half a minute before it: the unit's TimeoutStopSec is for both.
FLUSH_SECONDS = 45
# An exporter that a reload takes away: so long the others wait.
LEAVE_SECONDS = 1
GENERATION_MAX = LASTING_FIRST - 1  # of those that a cache forgets when newer ones come

# What a generation is: the gate's probability, and the selectors of each exporter by name.
Taken = tuple[Fraction, Mapping[str, tuple[Selector, ...]]]


class Exporters:
    """All exporters, by name in `sinks`.

    Args:
        watch: gives the target of an exporter that has none: our own collector.

    Attributes:
        sinks: by name; the data thread's.
        selectors: those of now, in the order of the configuration, with the ids that they have in options data.

    """

    def __init__(self, watch: Callable[[], Target]) -> None:
        self.sinks: dict[str, Exporter] = {}
        self.selectors: dict[wanted.Selector, int] = {}
        self._watch = watch
        self._datapath: Datapath | None = None
        self._generations: dict[int, Taken] = {}  # the one of now last
        self._obs_point_ids: list[tuple[int, int]] = []
        self._ids = SelectorIds()
        self._left: dict[int, Selected] = {}  # what exporters that left had counted, by the selector's id
        self._interfaces: list[tuple[int, str, str]] = []
        self._metering = Metering()

    def run_on(self, datapath: Datapath) -> None:
        """From now on exporters are touched on this thread only."""
        self._datapath = datapath

    def _settle(self, function: Callable[[], None]) -> None:
        if self._datapath is None:
            function()
        else:
            self._datapath.settle(function)

    def _pause(self, seconds: float) -> None:
        """Between the bursts of a flush."""
        (time.sleep if self._datapath is None else self._datapath.rest)(seconds)

    def make(
        self, options: Mapping[str, ExporterOptions], others: Mapping[str, ExporterOptions] | None = None
    ) -> dict[str, Exporter]:
        """Make exporters that know all generations, in whose time they took nothing.

        ExporterError, OSError, ImportError: none is made, or those that are there cannot have the options `others`.
        """
        others = others or {}
        for mine in (*options.values(), *others.values()):
            check(mine)
        for mine in others.values():
            self._targeted(mine)  # here, since it may fail
        made = {}
        with contextlib.ExitStack() as stack:
            for name, mine in options.items():
                made[name] = stack.enter_context(Exporter(self._targeted(mine), pause=self._pause))
                made[name].set_interfaces(self._interfaces)
                made[name].set_metering(self._metering)
                for generation, (gate, selectors) in self._generations.items():
                    made[name].set_weight(generation, gate, selectors.get(name, ()))
            stack.pop_all()
        return made

    def _targeted(self, options: ExporterOptions) -> ExporterOptions:
        return options if options.targets else replace(options, targets=(self._watch(),))

    def join(self, made: Mapping[str, Exporter], changed: Mapping[str, ExporterOptions]) -> None:
        """Let new exporters begin, and others go on with other options. What was sampled before is counted before."""
        targeted = {name: self._targeted(options) for name, options in changed.items()}

        def run() -> None:
            now = time.monotonic_ns()
            if self._datapath is not None:
                self._datapath.drain()
            for name, options in targeted.items():
                rows = self.sinks[name].reconfigure(options, now)
                if self._datapath is not None:
                    self._datapath.retire_targets(name, rows)
            for name, exporter in made.items():
                if name == MAIN:
                    exporter.set_obs_point_ids(self._obs_point_ids)
                if self._datapath is not None:
                    self._datapath.welcome(name)
                self.sinks[name] = exporter
            if self._datapath is not None:
                self._datapath.share_endpoints()

        self._settle(run)

    def leave(self, names: Iterable[str]) -> None:
        """End exporters that no generation of now takes for: count what was sampled for them, flush, close."""
        gone = list(names)

        def run() -> None:
            assert self._datapath is not None
            self._datapath.drain()
            for name in gone:
                _end(self.sinks[name], LEAVE_SECONDS * NS_PER_S)
                for number, selected in self.sinks[name].selected().items():
                    self._left[number] = self._left.get(number, Selected()) + selected
            self._datapath.retire({name: self.sinks[name] for name in gone})
            for name in gone:
                self.sinks.pop(name).close()

        if gone:
            self._settle(run)

    def tell(self, takers: Iterable[wanted.Selector], selection: Selection) -> int:
        """Number a new generation, and tell every exporter of it before a sample carries the number.

        Args:
            takers: who takes what, by the rules of the selection.
            selection: with which chances.

        """
        generation = next(reversed(self._generations), 0) % GENERATION_MAX + 1
        by_identity = {taker.identity: taker for taker in takers}
        ids = self._ids.begin(by_identity)
        self.selectors = {taker: ids[identity] for identity, taker in by_identity.items()}
        by_name: dict[str, tuple[Selector, ...]] = {}
        for taker, number in self.selectors.items():
            thinning = selection.main_thinning if taker.rule is None else selection.thinnings[taker.rule]
            assert thinning is not None
            selector = Selector(number, taker.rule, thinning, taker.obs_domain_id, taker.obs_point_id)
            by_name[taker.exporter] = (*by_name.get(taker.exporter, ()), selector)
        gate = selection.gate or Fraction(1)  # where nobody takes anything, no sample asks for a weight
        self._generations[generation] = gate, by_name
        known = self._ids.known
        while len(self._generations) > KNOWN_GENERATIONS:
            del self._generations[next(iter(self._generations))]

        def run() -> None:
            # So that no sample waits longer than its generation is known, however often there is a new one.
            if self._datapath is not None:
                self._datapath.drain()
            self._left = {number: selected for number, selected in self._left.items() if number in known}
            for name, sink in self.sinks.items():
                sink.set_weight(generation, gate, by_name.get(name, ()))

        self._settle(run)
        return generation

    def selected(self) -> dict[int, Selected]:
        """On the data thread: what the selectors took, by their ids, whoever their exporter was."""
        totals = dict(self._left)
        for sink in self.sinks.values():
            for number, selected in sink.selected().items():
                totals[number] = totals.get(number, Selected()) + selected
        return totals

    def set_obs_point_ids(self, pairs: list[tuple[int, int]]) -> None:
        """Give interfaces points of their own, (ifindex, observationPointId), in the main exporter's flows to come."""
        if pairs == self._obs_point_ids:
            return
        self._obs_point_ids = pairs

        def run() -> None:
            if MAIN in self.sinks:
                self.sinks[MAIN].set_obs_point_ids(pairs)

        self._settle(run)

    def set_interfaces(self, names: list[tuple[int, str, str]]) -> None:
        """Tell how interfaces are called, (ifindex, name, description), for options data. Does not wait."""
        if names == self._interfaces:
            return
        self._interfaces = names

        def run() -> None:
            for sink in self.sinks.values():
                sink.set_interfaces(names)

        if self._datapath is None:
            run()
        else:
            self._datapath.call(run)

    def set_metering(self, metering: Metering) -> None:
        """Tell what the gates have counted, for options data. Does not wait."""
        self._metering = metering

        def run() -> None:
            for sink in self.sinks.values():
                sink.set_metering(metering)

        if self._datapath is not None:
            self._datapath.call(run)

    def flush(self) -> None:
        """On the data thread, as its last act: every flow goes out with "forced end"."""
        deadline = time.monotonic_ns() + FLUSH_SECONDS * NS_PER_S
        for place, sink in enumerate(self.sinks.values()):
            _end(sink, max(deadline - time.monotonic_ns(), 0) // (len(self.sinks) - place))
            sink.close()


def _end(sink: Exporter, duration_ns: int) -> None:
    now = time.monotonic_ns()
    sink.tick(now)
    sink.flush(FORCED_END, now, now + duration_ns)
