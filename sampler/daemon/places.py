"""Where the packets of each link are seen: the hook that is configured, and the XDP program that is there. Pure."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sampler.daemon.linktable import Link
from sampler.kernel.attach import TC, Place
from sampler.kernel.xdpprograms import XdpProgram

INGRESS, EGRESS = 0, 1

# The values of sampler.hook with which foreign XDP programs are observed.
OBSERVING = frozenset({"auto", "observe"})
# A program that changes this often within so many seconds is not followed, until it has been the same for as long. To
# observe one costs the verifier 50 ms and more, and each change a gap.
RESTLESS_CHANGES = 10
RESTLESS_SECONDS = 10.0


@dataclass
class _History:
    program: XdpProgram | None
    changes: deque[float] = field(default_factory=lambda: deque(maxlen=RESTLESS_CHANGES))
    restless: bool = False


def masters(links: Iterable[Link]) -> frozenset[int]:
    """Give the numbers of the links that have members."""
    return frozenset(link.master for link in links if link.master)


class Places:
    """Decides for each link and direction.

    Args:
        own: id of this process's XDP program, which is not foreign; 0: it has none.
        clock: seconds.

    Attributes:
        hook: sampler.hook.
        masters: ifindexes of the links that have members.
        looked: when the links' programs were as the link table says for certain, by the clock.

    """

    def __init__(self, own: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.hook = "auto"
        self.masters: frozenset[int] = frozenset()
        self._own = own
        self._clock = clock
        self.looked = clock()
        self._histories: dict[int, _History] = {}

    def now(self) -> float:
        """The clock's time."""
        return self._clock()

    @property
    def observing(self) -> bool:
        """Foreign programs are observed where there are any."""
        return self.hook in OBSERVING

    def of(self, link: Link, direction: int) -> Place:
        """Give the place of a link's packets of a direction, enum direction."""
        if direction == EGRESS:
            return TC
        if not self.observing:
            return Place(self.hook)
        program = self.foreign(link)
        if self._restless(link.ifindex, program) or program is None:
            return TC
        # A bond, and a netvsc, hand a native program on to their members, whose number its frames then have.
        by_members = program.mode == "native" and link.ifindex in self.masters
        return Place("observe", replace(program, mode="members") if by_members else program)

    def foreign(self, link: Link) -> XdpProgram | None:
        """Somebody else's program on a link, None for none."""
        return link.xdp if link.xdp is not None and link.xdp.id != self._own else None

    def _restless(self, ifindex: int, program: XdpProgram | None) -> bool:
        now, history = self._clock(), self._histories.setdefault(ifindex, _History(program))
        if history.program != program:
            history.program = program
            history.changes.append(now)
        if not history.changes or now - history.changes[-1] >= RESTLESS_SECONDS:
            history.restless = False
        elif len(history.changes) == RESTLESS_CHANGES and now - history.changes[0] < RESTLESS_SECONDS:
            history.restless = True
        return history.restless

    def restless(self, ifindex: int) -> bool:
        """Whether the link's program changes too often to be followed."""
        history = self._histories.get(ifindex)
        return history is not None and history.restless

    def calmed(self) -> bool:
        """Whether a program that was not followed has been the same for long enough."""
        now = self._clock()
        return any(
            history.restless and now - history.changes[-1] >= RESTLESS_SECONDS for history in self._histories.values()
        )

    @property
    def age(self) -> float:
        """For how long at most a link's program can have been another one than the table says, in seconds."""
        return self._clock() - self.looked

    def forget(self, ifindex: int) -> None:
        """A link is gone: another one may have its number soon."""
        self._histories.pop(ifindex, None)
