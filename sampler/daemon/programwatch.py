"""Looks at the XDP programs of links twice a second: the I/O half of what sampler.daemon.places decides by.

Netlink tells at once of a program that netlink attaches. Of one that a BPF link attaches, replaces or lets go it does
not tell at all. What is seen goes into the link table, as all that is known of links does.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from sampler.daemon.linktable import Change, LinkTable, Looked
from sampler.daemon.places import Places
from sampler.kernel.xdpprograms import NewLinks, XdpPrograms

log = logging.getLogger(__name__)

# Seconds between two looks.
INTERVAL = 0.5
# Links that are looked at, at least, where it cannot be known whether there is a new BPF link: 0.2 ms.
PART = 32
# Looks at all links when there is a new BPF link, which has its number before it is attached.
LOOKS = 3
# Looks from one at all links to the next, whatever is known: the numbers of BPF links begin anew behind 2^31.
ROUND = 20


class Turns:
    """Which links a look is for. Those that have a program are looked at each time: nothing tells that it went."""

    def __init__(self) -> None:
        self._known: list[int] = []  # that were looked at when there was something new last
        self._left = 0  # looks at all that are still to come for that
        self._rest = ROUND
        self._next = 0  # where the next part begins

    def forget(self) -> None:
        """The last look failed: the next one is at all, or at the same part."""
        self._known = []
        self._next = max(0, self._next - PART)

    def take(self, ifindexes: list[int], programs: Collection[int], new: bool | None) -> list[int]:
        """Choose from all of them.

        Args:
            ifindexes: of the links.
            programs: ifindexes of those that have one.
            new: whether there is a new BPF link, None where that cannot be known.

        """
        if new is None:
            if len(ifindexes) <= PART:
                return ifindexes
            every = sorted(ifindexes)
            first, self._next = self._next % len(every), self._next % len(every) + PART
            part = (every + every)[first : first + PART]
            return part + [ifindex for ifindex in every if ifindex in programs and ifindex not in part]
        if new or ifindexes != self._known:
            self._known, self._left = ifindexes, LOOKS
        self._rest -= 1
        if self._left or self._rest <= 0:
            self._left, self._rest = max(0, self._left - 1), ROUND
            return ifindexes
        return [ifindex for ifindex in ifindexes if ifindex in programs] if programs else []


class ProgramWatch:
    """Belongs to the main thread; the kernel is asked on another one, because it may have to wait for its RTNL lock.

    Args:
        table: where links and their programs are known.
        places: is told when the table was right, as far as links are concerned that have a program.
        sampled: gives the numbers of the links to look at.

    """

    def __init__(self, table: LinkTable, places: Places, sampled: Callable[[], list[int]]) -> None:
        self._table = table
        self._places = places
        self._sampled = sampled
        self._programs = XdpPrograms()
        self._new_links = NewLinks()
        self._turns = Turns()
        self._failed = False

    async def follow(self, changed: Callable[[list[Change]], None]) -> None:
        """Look for ever, and tell of each look what it changed in the table. Ends by cancelling."""
        while True:
            # At the same moments as other timers: an idle processor wakes up once for all of them.
            await asyncio.sleep(INTERVAL - asyncio.get_running_loop().time() % INTERVAL)
            began = self._places.now()
            if not self._places.observing or not (sampled := self._sampled()):
                self._places.looked = began
                continue
            before = self._table.programs
            ifindexes = self._turns.take(sampled, before, self._new_links.any())
            changes: list[Change] = []
            if ifindexes:
                try:
                    programs = await asyncio.to_thread(self._programs.read, ifindexes)
                except OSError as error:
                    self._fail(error)
                    self._turns.forget()
                    continue
                self._failed = False
                changes = self._table.apply(Looked(ifindexes, before, programs))
            changed(changes)
            self._places.looked = began

    def look(self, ifindexes: Collection[int]) -> None:
        """Bring the table up to date now."""
        began, before = self._places.now(), self._table.programs
        try:
            self._table.apply(Looked(ifindexes, before, self._programs.read(ifindexes)))
            self._places.looked = began
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Tell of it once; the next look may do."""
        if not self._failed:
            log.warning("the XDP programs of the interfaces cannot be read: %s; tried again", error.strerror or error)
        self._failed = True

    def close(self) -> None:
        """Let go of the socket."""
        self._programs.close()
