"""The forwarding databases of vxlan netdevs, as a pure reducer: events in, changed places out; no I/O.

sampler.tunnels.neighbours feeds it from netlink; sampler.tunnels.tunneltable makes map entries of it.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

UNKNOWN_MAC = bytes(6)

Place: TypeAlias = tuple[int, bytes]
"""Where an inner packet goes: NDA_SRC_VNI (0: the link's own) and MAC address, all zero for those that are unknown."""


@dataclass(frozen=True, slots=True)
class Remote:
    """One tunnel end behind which a MAC address is.

    Attributes:
        address: 4 or 16 octets; none where the kernel spreads packets over a nexthop group.
        vni: NDA_VNI where it is not the link's, else 0.
        port: NDA_PORT where it is not the link's, else 0.
        group: NDA_NH_ID. The kernel takes groups only, and what they hold is not followed: EVPN has one where several
            ends are one Ethernet segment, any of which may get a packet.

    """

    address: bytes
    vni: int = 0
    port: int = 0
    group: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a forwarding database."""

    ifindex: int
    place: Place
    remote: Remote


@dataclass(frozen=True)
class Added:
    """Event: the entry is there now (RTM_NEWNEIGH)."""

    entry: Entry


@dataclass(frozen=True)
class Deleted:
    """Event: the entry is gone (RTM_DELNEIGH)."""

    entry: Entry


@dataclass(frozen=True)
class Dumped:
    """Event: these are all entries of this netdev."""

    ifindex: int
    entries: tuple[Entry, ...]


NeighbourEvent: TypeAlias = Added | Deleted | Dumped


class _Database:
    """The forwarding database of one netdev: remotes by place, and how often each address is among them."""

    def __init__(self) -> None:
        self.places: dict[Place, frozenset[Remote]] = {}
        self.addresses: Counter[bytes] = Counter()

    def put(self, place: Place, remotes: frozenset[Remote]) -> None:
        for remote in self.places.pop(place, ()):
            self.addresses[remote.address] -= 1
            if not self.addresses[remote.address]:
                del self.addresses[remote.address]
        if remotes:
            self.places[place] = remotes
            self.addresses.update(remote.address for remote in remotes)


class NeighbourTable:
    """Keeps the forwarding databases by ifindex. Not thread-safe."""

    def __init__(self) -> None:
        self._databases: dict[int, _Database] = {}

    def apply(self, event: NeighbourEvent) -> tuple[int, set[Place]]:
        """Take the event in; give the netdev and those of its places that changed."""
        if isinstance(event, Dumped):
            return event.ifindex, self._replace(event)
        entry = event.entry
        database = self._databases.setdefault(entry.ifindex, _Database())
        before = database.places.get(entry.place, frozenset())
        if isinstance(event, Deleted):
            after = before - {entry.remote}
        else:
            # The kernel keeps several remotes of group and unknown addresses only. Of another it keeps one, and tells
            # of the new one alone when it changes (`bridge fdb replace`, or a host that was learned elsewhere).
            after = before | {entry.remote} if _floods(entry.place[1]) else frozenset({entry.remote})
        if after == before:
            return entry.ifindex, set()
        database.put(entry.place, after)
        return entry.ifindex, {entry.place}

    def _replace(self, event: Dumped) -> set[Place]:
        before = self._databases.get(event.ifindex, _Database()).places
        remotes: dict[Place, set[Remote]] = {}
        for entry in event.entries:
            remotes.setdefault(entry.place, set()).add(entry.remote)
        database = self._databases[event.ifindex] = _Database()
        for place, found in remotes.items():
            database.put(place, frozenset(found))
        return {place for place in before.keys() | remotes.keys() if before.get(place) != database.places.get(place)}

    def forget(self, ifindex: int) -> None:
        """Drop the database of a netdev that is gone."""
        self._databases.pop(ifindex, None)

    def places(self, ifindex: int) -> list[Place]:
        """Give the places that the netdev's database has entries for."""
        return list(self._databases[ifindex].places) if ifindex in self._databases else []

    def remote(self, ifindex: int, place: Place) -> Remote | None:
        """Give the one end behind which the place is; None where it is unknown, or more than one may get a packet."""
        database = self._databases.get(ifindex)
        remotes = database.places.get(place, frozenset()) if database is not None else frozenset()
        if len(remotes) != 1:
            return None
        (remote,) = remotes
        return remote if remote.address else None

    def only(self, ifindex: int, address: bytes) -> bool:
        """Whether no entry of the netdev leads anywhere else than to this address."""
        database = self._databases.get(ifindex)
        return database is None or database.addresses.keys() <= {address}


def _floods(mac: bytes) -> bool:
    return bool(mac[0] & 1) or mac == UNKNOWN_MAC
