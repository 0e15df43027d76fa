"""Keeps the sources as the configuration, the links and the kernel's module want them. Belongs to the main thread.

psample is loaded by its first user, which may come later, and unloaded after the last one; with it go the numbers that
sockets are joined by. So the family is looked for again and again, at no cost where no source is configured.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from sampler.daemon.datapath import Datapath
from sampler.daemon.linktable import Link, LinkTable
from sampler.daemon.losslog import LossLog
from sampler.daemon.wanted import Selector
from sampler.psample.options import PsampleSource
from sampler.psample.overlap import twice
from sampler.psample.source import Family, Source, find_family

log = logging.getLogger(__name__)

NOT_LOADED = (
    "psample: this kernel has not loaded its module: samples are taken as soon as Open vSwitch, tc or a driver uses it"
)
ADVICE = {
    "lost_socket": "their socket had no room: raise receive_buffer of the [[psample]] table, or sample less",
    "lost_kernel": "the kernel could not put their messages together, its own log says so, too",
    "lost_combinations": "too many combinations of rate, observation domain and point for one exporter",
    "lost_malformed": "messages of psample that cannot be read",
}


class PsampleFollower:
    """The sources of a running service."""

    def __init__(self, datapath: Datapath) -> None:
        self._datapath = datapath
        self._options: dict[int, PsampleSource] = {}
        self._links: tuple[Link, ...] = ()
        self._types: bytes | None = None
        self._prepared: tuple[tuple[Link, ...], bytes | None] = (), None
        self._tunnels = True
        self._family: Family | None = None
        self._connected: set[int] = set()
        self._told: set[str] = set()
        self._losses = LossLog(ADVICE, "samples of psample")

    def configure(self, sources: Iterable[PsampleSource], tunnels: bool) -> None:
        """Go by other sources; those that are the same go on. `tunnels`: packets are described by what they carry."""
        wanted = {source.group: source for source in sources}
        self._tunnels = tunnels
        removed = [group for group, options in self._options.items() if wanted.get(group) != options]
        added = [Source(options) for group, options in wanted.items() if self._options.get(group) != options]
        self._options = wanted
        if removed or added:
            self._connected -= set(removed)
            self._datapath.settle(lambda: self._datapath.psample.change(removed, added))
            self._prepared = (), None
        self.set_links(self._links, self._types)
        self.look()

    def set_links(self, links: Sequence[Link], types: bytes | None) -> None:
        """Take in all links, and the octets of all ports (sampler.tunnels.ports.port_types)."""
        self._links, self._types = tuple(links), types
        now = self._links, self._types if self._tunnels else None
        if not self._options or now == self._prepared:
            return
        self._prepared = now

        def prepare() -> None:
            for source in self._datapath.psample.sources:
                source.set_links(now[0])
                source.set_ports(now[1])

        self._datapath.settle(prepare)

    def look(self) -> None:
        """Look for the family, and join it anew where it has other numbers; tell of losses. Each second."""
        if not self._options:
            return
        try:
            family = find_family()
        except OSError as error:
            self._tell(f"psample: generic netlink cannot be asked: {error.strerror}; no sample of psample is taken")
            return
        if family != self._family:
            self._join(self._connected if family is None else self._options, family)
        elif family is not None:
            self._join([group for group in self._options if group not in self._connected], family)
        self._family = family
        if family is None:
            self._tell(NOT_LOADED)
        else:
            self._told.discard(NOT_LOADED)
        self._losses.check(self._datapath.psample.lost, time.monotonic())

    def _join(self, groups: Iterable[int], family: Family | None) -> None:
        """Let these sources receive by the family, or, where there is none, not any more."""
        chosen = list(groups)
        if not chosen:
            return
        refused = self._datapath.settle(lambda: self._datapath.psample.connect(chosen, family))
        for sentence in refused.values():
            self._tell(sentence)
        joined = [group for group in chosen if family is not None and group not in refused]
        self._connected = self._connected - set(chosen) | set(joined)
        if joined:
            log.info("psample: samples of group %s are taken", ", ".join(map(str, joined)))

    def tell_twice(self, table: LinkTable, selectors: Mapping[Selector, int]) -> None:
        """Warn of interfaces that both psample and our programs sample for one exporter, of each once."""
        if not self._datapath.psample.seen:
            return
        for sentence in twice(self._datapath.psample.seen, self._options, table.links, selectors):
            self._tell(sentence)

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            log.warning("%s", sentence)
