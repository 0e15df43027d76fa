"""Looks at the XDP programs of links twice a second: the I/O half of what sampler.daemon.places decides by.

Netlink tells at once of a program that netlink attaches. Of one that a BPF link attaches, replaces or lets go it does
not tell at all. What is seen goes into the link table, as all that is known of links does.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from sampler.daemon.linktable import Change, LinkTable, Looked
from sampler.daemon.places import Places
from sampler.kernel.xdpprograms import XdpPrograms

log = logging.getLogger(__name__)

# Seconds between two looks. For 256 links one takes 0.8 ms.
INTERVAL = 0.5


class ProgramWatch:
    """Belongs to the main thread; the kernel is asked on another one, because it may have to wait for its RTNL lock.

    Args:
        table: where links and their programs are known.
        places: is told when the table was right.
        sampled: gives the numbers of the links to look at.

    """

    def __init__(self, table: LinkTable, places: Places, sampled: Callable[[], Collection[int]]) -> None:
        self._table = table
        self._places = places
        self._sampled = sampled
        self._programs = XdpPrograms()
        self._failed = False

    async def follow(self, changed: Callable[[list[Change]], None]) -> None:
        """Look for ever, and tell of each look what it changed in the table. Ends by cancelling."""
        while True:
            await asyncio.sleep(INTERVAL)
            ifindexes, began = self._sampled(), self._places.now()
            if not self._places.observing or not ifindexes:
                self._places.looked = began
                continue
            before = self._table.programs
            try:
                programs = await asyncio.to_thread(self._programs.read, ifindexes)
            except OSError as error:
                self._fail(error)
                continue
            self._failed = False
            changed(self._table.apply(Looked(ifindexes, before, programs)))
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
