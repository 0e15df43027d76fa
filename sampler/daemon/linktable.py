"""The links of one network namespace, as a pure reducer: events in, changes out; no I/O.

sampler.daemon.links feeds it from netlink; the service attaches and detaches by the changes.
"""

import fnmatch
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sampler.kernel.xdpprograms import XdpProgram
from sampler.tunnels.tunnel import Tunnel

# Link kinds (IFLA_INFO_KIND) whose packets travel inside packets of another interface.
TUNNEL_KINDS = frozenset(
    {"vxlan", "geneve", "bareudp", "wireguard", "xfrm", "vti", "vti6", "ipip", "sit", "ip6tnl"}
    | {"gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan"}
)
# Link kinds whose members pass packets on to each other.
BRIDGE_KINDS = frozenset({"bridge", "openvswitch"})


@dataclass(frozen=True)
class Link:
    """One network interface as netlink describes it.

    Attributes:
        ifindex: its number in this namespace.
        name: IFLA_IFNAME.
        kind: IFLA_INFO_KIND ("veth", "vlan", "vxlan", …); empty for hardware and loopback.
        up: administratively up.
        l3: its frames have no Ethernet header.
        loopback: it is lo.
        physical: it has a device behind it (IFLA_PARENT_DEV_NAME).
        master: ifindex of the bridge or bond that it is a member of; 0 for none.
        lower: ifindex of the link it is made on, or a veth's peer (IFLA_LINK, or a tunnel's own attribute); 0 for none.
        lower_elsewhere: `lower` is a number of another namespace (IFLA_LINK_NETNSID).
        mtu: octets.
        xdp: the XDP program attached, whosoever; None for none.
        alias: IFLA_IFALIAS, what people call it; empty for none.
        tunnel: what its packets look like underneath, for the kinds of sampler.tunnels.kinds; None for all others.

    """

    ifindex: int
    name: str
    kind: str = ""
    up: bool = False
    l3: bool = False
    loopback: bool = False
    physical: bool = False
    master: int = 0
    lower: int = 0
    lower_elsewhere: bool = False
    mtu: int = 0
    xdp: XdpProgram | None = None
    alias: str = ""
    tunnel: Tunnel | None = None

    @property
    def bare(self) -> bool:
        """A tunnel netdev whose packets come without their outer headers.

        All do but gre for any remote, or for a multicast group: there the outer header takes
        the place of Ethernet's (ipgre_header_ops in the kernel), and is seen as on the underlay.
        """
        tunnel = self.tunnel
        if tunnel is None or self.kind != "gre" or tunnel.external:
            return tunnel is not None
        return tunnel.remote is not None and not tunnel.remote.is_multicast


@dataclass(frozen=True)
class Seen:
    """Event: the link exists, and this is what it is now (RTM_NEWLINK)."""

    link: Link


@dataclass(frozen=True)
class Removed:
    """Event: the link is no longer in this namespace (RTM_DELLINK); `moved`: it lives on in another."""

    ifindex: int
    moved: bool = False


@dataclass(frozen=True)
class Dumped:
    """Event: these links are all that there are (a dump, at the start or after lost messages)."""

    links: tuple[Link, ...]


@dataclass(frozen=True)
class Looked:
    """Event: these are the XDP programs of the links now, of which netlink does not tell when BPF links attach them.

    Attributes:
        links: ifindexes of those that were looked at.
        before: what the table said of programs when the look began (LinkTable.programs). Where it says something else
            by now, a message has come meanwhile and is the newer one.
        programs: by ifindex, of those that have one.

    """

    links: Collection[int]
    before: Mapping[int, XdpProgram]
    programs: Mapping[int, XdpProgram]


Event = Seen | Removed | Dumped | Looked


@dataclass(frozen=True)
class Appeared:
    """A link that was not there before."""

    link: Link


@dataclass(frozen=True)
class Gone:
    """A link that is no longer there; as it was last known."""

    link: Link


@dataclass(frozen=True)
class Moved(Gone):
    """A link that is gone because it moved to another namespace: its tcx and XDP links went with it."""


@dataclass(frozen=True)
class Changed:
    """A link that is there as before, with other properties."""

    link: Link
    before: Link


@dataclass(frozen=True)
class Renamed(Changed):
    """A link with another name (and perhaps other properties): globs are to be matched anew."""


Change = Appeared | Gone | Changed


class LinkTable:
    """Keeps the links by ifindex. Not thread-safe: it belongs to the thread that reads netlink."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._programs: dict[int, XdpProgram] = {}

    @property
    def links(self) -> tuple[Link, ...]:
        """All links, by ifindex."""
        return tuple(self._links[ifindex] for ifindex in sorted(self._links))

    @property
    def programs(self) -> dict[int, XdpProgram]:
        """The XDP programs of links, by ifindex, of those that have one."""
        return dict(self._programs)

    def get(self, ifindex: int) -> Link | None:
        """Give the link of that number."""
        return self._links.get(ifindex)

    def apply(self, event: Event) -> list[Change]:
        """Take the event in; give what it changed, which is nothing for what was known already."""
        if isinstance(event, Seen):
            return self._see(event.link)
        if isinstance(event, Removed):
            return self._remove(event.ifindex, event.moved)
        if isinstance(event, Looked):
            return self._look(event)
        there = {link.ifindex for link in event.links}
        changes: list[Change] = []
        for ifindex in sorted(self._links.keys() - there):
            changes += self._remove(ifindex, moved=False)
        for link in event.links:
            changes += self._see(link)
        return changes

    def _see(self, link: Link) -> list[Change]:
        before = self._links.get(link.ifindex)
        self._links[link.ifindex] = link
        if link.xdp is not None:
            self._programs[link.ifindex] = link.xdp
        else:
            self._programs.pop(link.ifindex, None)
        if before is None:
            return [Appeared(link)]
        if before == link:
            return []
        if before.kind != link.kind or before.physical != link.physical:
            # A number used again, its removal lost among the messages: another link.
            return [Gone(before), Appeared(link)]
        return [Renamed(link, before) if before.name != link.name else Changed(link, before)]

    def _look(self, event: Looked) -> list[Change]:
        changes: list[Change] = []
        looked = set(event.links)
        for ifindex in sorted((event.before.keys() | event.programs.keys()) & looked):
            link, now, before = self._links.get(ifindex), event.programs.get(ifindex), event.before.get(ifindex)
            if now != before and link is not None and link.xdp == before:
                changes += self._see(replace(link, xdp=now))
        return changes

    def _remove(self, ifindex: int, moved: bool) -> list[Change]:
        link = self._links.pop(ifindex, None)
        self._programs.pop(ifindex, None)
        if link is None:
            return []
        return [Moved(link) if moved else Gone(link)]


def matches(link: Link, globs: Sequence[str]) -> bool:
    """Whether the link is to be sampled: by its name, or without globs if it is physical."""
    if not globs:
        return link.physical
    return any(_matches(link.name, glob) for glob in globs)


def _matches(name: str, glob: str) -> bool:
    """A name with brackets or a star in it, given as it is, means that interface too."""
    return name == glob or fnmatch.fnmatchcase(name, glob)


def unmatched(links: Iterable[Link], globs: Sequence[str]) -> list[str]:
    """Give those of the globs that no link matches."""
    names = [link.name for link in links]
    return [glob for glob in globs if not any(_matches(name, glob) for name in names)]


def overlaps(links: Iterable[Link], sampled: Iterable[int]) -> list[str]:
    """Say which of the sampled interfaces (ifindexes) carry the same packets, a sentence a pair.

    One above the other counts, over any number of links between: a vlan or macvlan and
    the link below, a bridge or bond and its members, a tunnel and its underlay. So do the
    two ends of a veth. Two members of one bridge do not: there a packet comes in by one
    and goes out by the other.
    """
    table = {link.ifindex: link for link in links}
    direct = _directly_below(table)
    wanted = {ifindex: table[ifindex] for ifindex in sorted(set(sampled)) if ifindex in table}
    # By pair, the lower number first. Each link is asked for its few others: of a thousand links most have no part
    # in each other.
    found: dict[tuple[int, int], str] = {}
    for upper in wanted.values():
        for other, sentence in _carriers(upper, wanted, _below(upper.ifindex, direct)):
            found.setdefault(_pair(upper, other), sentence)
    # Last: where a tunnel is a member of the other, or below it, that was said.
    for upper, other in _perhaps(wanted.values(), table):
        sentence = f"{upper.name} ({upper.kind}) may carry its packets over {other.name}"
        found.setdefault(_pair(upper, other), sentence)
    return [f"{found[pair]}: their packets are counted twice; sample one of them" for pair in sorted(found)]


def _pair(one: Link, other: Link) -> tuple[int, int]:
    return min(one.ifindex, other.ifindex), max(one.ifindex, other.ifindex)


def _carriers(upper: Link, wanted: dict[int, Link], below: set[int]) -> Iterator[tuple[Link, str]]:
    """Give those of the wanted links that carry all packets of this one, and the sentence that says it."""
    peer = wanted.get(upper.lower) if upper.kind == "veth" and not upper.lower_elsewhere else None
    if peer is not None and peer.kind == "veth":
        yield peer, f"{upper.name} and {peer.name} are the two ends of one veth"
    for ifindex in below & wanted.keys():
        other = wanted[ifindex]
        if upper.ifindex == other.master:
            yield other, f"{other.name} is a member of {upper.name} ({upper.kind or 'its master'})"
        else:
            yield other, f"{upper.name} ({upper.kind or 'link'}) carries its packets over {other.name}"


def _perhaps(wanted: Iterable[Link], table: dict[int, Link]) -> Iterator[tuple[Link, Link]]:
    """Give tunnels whose underlay the routes alone tell, each with every link that may be it.

    That has an address of this host, as members of a bridge have not: their bridge has it.
    Hardware is the way out of its bridge, though, unless the tunnel is a member beside it.
    """
    links = list(wanted)
    tunnels = [link for link in links if link.kind in TUNNEL_KINDS and not link.lower and not link.lower_elsewhere]
    members = {link.ifindex for link in links if link.master in table and table[link.master].kind in BRIDGE_KINDS}
    underlays = [
        link
        for link in links
        if link.kind not in TUNNEL_KINDS and not link.loopback and (link.physical or link.ifindex not in members)
    ]
    for upper, other in itertools.product(tunnels, underlays):
        if upper.ifindex not in members or upper.master != other.master:
            yield upper, other


def _directly_below(table: dict[int, Link]) -> dict[int, set[int]]:
    direct: dict[int, set[int]] = {ifindex: set() for ifindex in table}
    for link in table.values():
        if link.master in direct:
            direct[link.master].add(link.ifindex)
        if link.lower in direct and not link.lower_elsewhere and link.kind != "veth":
            direct[link.ifindex].add(link.lower)
    return direct


def _below(ifindex: int, direct: dict[int, set[int]]) -> set[int]:
    """Give all links that the packets of this one also pass, further down."""
    found: set[int] = set()
    todo = [ifindex]
    while todo:
        new = direct[todo.pop()] - found
        todo += new
        found |= new
    return found - {ifindex}
