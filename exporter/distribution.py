"""Who gets which record: every collector, the first that works, or one of them by the flow's hash."""

import hashlib
import logging
from collections.abc import Sequence

from exporter._native import ffi, lib
from exporter.collectors import Collector
from exporter.options import BALANCE, FAILOVER

log = logging.getLogger(__name__)

# Flows, how many, and who gets them.
Part = tuple["ffi.CData", int, list[Collector]]


class Replicate:
    """Everybody gets everything; what a collector loses is lost to it."""

    returns = False  # what a collector fails to send is no other's

    def parts(self, flows: "ffi.CData", count: int, collectors: Sequence[Collector], now_ns: int) -> list[Part]:
        """Share out ended flows, a struct flow *[]."""
        return [(flows, count, list(collectors))]

    def settle(self, collectors: Sequence[Collector], now_ns: int) -> None:
        """See to what failures have left behind. To be called after each sending."""


class _Choice(Replicate):
    """Each record goes to one collector; what that fails to send goes to another one."""

    returns = True

    def settle(self, collectors: Sequence[Collector], now_ns: int) -> None:
        """Give them to another collector, to the same one where there is no other, or up."""
        for collector in collectors:
            if not collector.leftovers:
                continue
            heirs = [heir for heir in collectors if heir.connected]
            heirs.sort(key=lambda heir: (heir is collector, not heir.is_well(now_ns)))
            if not heirs:
                collector.leftovers.abandon()
                continue
            for message in collector.leftovers.release():
                heirs[0].adopt(message, now_ns)


class Failover(_Choice):
    """The first collector that works gets everything; an earlier one gets it back when it has been well for a while."""

    def __init__(self) -> None:
        self._active: Collector | None = None

    def parts(self, flows: "ffi.CData", count: int, collectors: Sequence[Collector], now_ns: int) -> list[Part]:
        """All to the active one."""
        active = self._choose(collectors, now_ns)
        return [(flows, count, [active] if active is not None else [])]

    def settle(self, collectors: Sequence[Collector], now_ns: int) -> None:
        """Look at every tick who is active, so that a change does not wait for flows."""
        super().settle(collectors, now_ns)
        self._choose(collectors, now_ns)

    def _choose(self, collectors: Sequence[Collector], now_ns: int) -> Collector | None:
        """Return the one that gets the records; None without targets."""
        active = next(iter(_best(collectors, now_ns)), None)
        if active is not self._active:
            if self._active is not None and active is not None:
                log.warning("collector %s gets the records now, %s no more", active.target, self._active.target)
            self._active = active
        for collector in collectors:
            collector.standby = collector is not active
        return active


class Balance(_Choice):
    """Each flow has its collector, by its hash; when one comes or goes, only that one's share moves."""

    def __init__(self, room: int) -> None:
        self._ordered = ffi.new("struct flow *[]", room)
        self._counts = ffi.new("unsigned int[]", lib.SHARE_BUCKETS)
        self._shares = ffi.new("__u8[]", lib.SHARE_BUCKETS)
        self._shared: list[Collector] = []

    def parts(self, flows: "ffi.CData", count: int, collectors: Sequence[Collector], now_ns: int) -> list[Part]:
        """A part for each that takes a share."""
        sharing = _best(collectors, now_ns)
        if not sharing:
            return [(flows, count, [])]
        if sharing != self._shared:
            self._shared = sharing
            names = [str(target.target) for target in sharing]
            for bucket in range(lib.SHARE_BUCKETS):
                self._shares[bucket] = _highest(names, bucket)
        lib.share_flows(flows, count, self._shares, len(sharing), self._ordered, self._counts)
        parts: list[Part] = []
        start = 0
        for i, target in enumerate(sharing):
            if self._counts[i]:
                parts.append((self._ordered + start, self._counts[i], [target]))
            start += self._counts[i]
        return parts


def _highest(names: Sequence[str], bucket: int) -> int:
    """Rendezvous: the name whose hash with the bucket is the highest, so that others' buckets stay when one goes."""
    scores = [hashlib.blake2b(f"{bucket} {name}".encode(), digest_size=8).digest() for name in names]
    return scores.index(max(scores))


def _best(collectors: Sequence[Collector], now_ns: int) -> list[Collector]:
    """Those that are well; where none is, those that are connected; else all."""
    return (
        [collector for collector in collectors if collector.is_well(now_ns)]
        or [collector for collector in collectors if collector.connected]
        or list(collectors)
    )


def make_distribution(mode: str, room: int) -> Replicate:
    """Make the distribution of this targets_mode, for up to `room` flows at once."""
    if mode == FAILOVER:
        return Failover()
    return Balance(room) if mode == BALANCE else Replicate()
