"""The table of tunnel netdevs: what the kernel side is to be told, and what people see. Pure: no I/O.

Links, forwarding databases, IPsec and the configuration go in; what differs from what was
told before comes out, as entries of the maps of bpf/maps.h. Whatever way led there, the
maps end up as for a table that was given the last state at once.
"""

import itertools
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from sampler.daemon.linktable import Link
from sampler.tunnels.neighbourtable import UNKNOWN_MAC, Dumped, NeighbourEvent, NeighbourTable, Place, Remote
from sampler.tunnels.ports import TunnelPorts, listed, port_types
from sampler.tunnels.securitytable import Flow, Pair, SecurityEvent, SecurityTable
from sampler.tunnels.tunnel import PROTOCOL_GRE, PROTOCOL_UDP, Address, Tunnel, TunnelType

# struct tunnel_port, tunnel_neighbour_key and tunnel_neighbour of bpf/state.def.h. tests/unit holds them to it.
PORT = struct.Struct(">16s16sQQHBBBBBB")
IFINDEX, REST_OF_KEY = struct.Struct("=I"), struct.Struct(">I6sH")
NEIGHBOUR = struct.Struct(">16sIHBx")
# struct port_tunnels: eight ports an entry.
PORTS_AN_ENTRY = 8
FLAG_EXTERNAL, FLAG_NEIGHBOURS = 1, 2  # enum tunnel_port_flag

# GRE kinds that carry packets, which IPsec may protect; erspan carries copies.
IPSEC_KINDS = ("gre", "gretap", "ip6gre", "ip6gretap")


@dataclass(frozen=True)
class MapChange:
    """An entry of a kernel map that is to be written, or without value to be taken out."""

    map: str
    key: bytes
    value: bytes | None


class TunnelTable:
    """The tunnel netdevs of this namespace. Not thread-safe.

    Args:
        ports: what is configured.

    """

    def __init__(self, ports: TunnelPorts) -> None:
        self._ports = ports
        self._links: dict[int, Link] = {}
        self._flows: dict[int, tuple[Flow, Flow]] = {}  # of netdevs that IPsec may protect: sent, received
        self._between: dict[Pair, set[int]] = {}
        self._neighbours = NeighbourTable()
        self._security = SecurityTable()
        # What was given out, by netdev; and of which netdevs and places it may be out of date (None: all places).
        self._told_ports: dict[int, bytes] = {}
        self._told_neighbours: dict[int, dict[bytes, bytes]] = {}
        self._told_types = bytes(1 << 16)
        self._dirty: dict[int, set[Place] | None] = {}
        self._types = port_types(ports)

    @property
    def links(self) -> tuple[Link, ...]:
        """The tunnel netdevs, by ifindex."""
        return tuple(self._links[ifindex] for ifindex in sorted(self._links))

    def set_ports(self, ports: TunnelPorts) -> None:
        """Take the configured ports in."""
        self._ports = ports
        self._find_types()

    def set_links(self, links: Iterable[Link]) -> set[int]:
        """Take in all links that there are. Gives the netdevs whose tunnel is new or another than before."""
        now = {link.ifindex: link for link in links if link.tunnel is not None}
        for ifindex in self._links.keys() - now.keys():
            self._neighbours.forget(ifindex)
            self._dirty[ifindex] = None
        changed = set()
        for ifindex, link in now.items():
            before = self._links.get(ifindex)
            if before == link:
                continue
            if before is None or before.tunnel != link.tunnel:
                changed.add(ifindex)
            if before is None or (before.tunnel, before.l3) != (link.tunnel, link.l3):
                self._dirty[ifindex] = None
            else:
                # Of all else (MTU, name, up …) no place depends: there may be a hundred thousand.
                self._dirty.setdefault(ifindex, set())
        self._links = now
        self._find_types()
        self._find_flows()
        return changed

    def apply_neighbours(self, event: NeighbourEvent) -> None:
        """Take an event of the forwarding databases in. Those of netdevs that are not there are left out."""
        if (event.ifindex if isinstance(event, Dumped) else event.entry.ifindex) not in self._links:
            return
        ifindex, places = self._neighbours.apply(event)
        if places:
            dirty = self._dirty.setdefault(ifindex, set())
            if dirty is not None:
                dirty |= places

    def apply_security(self, event: SecurityEvent) -> None:
        """Take an event of IPsec in."""
        touched = self._security.apply(event)
        pairs = self._between.keys() if touched is None else touched
        for ifindex in itertools.chain.from_iterable(self._between.get(pair, ()) for pair in pairs):
            self._dirty.setdefault(ifindex, set())

    @property
    def forwarding(self) -> frozenset[int]:
        """The netdevs that have a forwarding database."""
        return frozenset(ifindex for ifindex, link in self._links.items() if link.tunnel and link.tunnel.forwarding)

    @property
    def may_be_protected(self) -> bool:
        """Whether there is a netdev for which IPsec matters."""
        return bool(self._flows)

    def changes(self) -> list[MapChange]:
        """Give what the kernel is to be told since the last call: first netdevs and ports, then neighbours."""
        changes = self._type_changes()
        behind: list[MapChange] = []
        for ifindex, places in self._dirty.items():
            changes += self._port_changes(ifindex)
            behind += self._neighbour_changes(ifindex, places)
        self._dirty = {}
        return changes + behind

    def _find_types(self) -> None:
        # A netdev that was moved here has its underlay where it came from: its port means nothing on ours.
        here = (link for link in self.links if not link.lower_elsewhere)
        tunnels = (link.tunnel for link in here if link.tunnel is not None)
        ports = [(tunnel.port, tunnel.type) for tunnel in tunnels if tunnel.protocol == PROTOCOL_UDP and tunnel.port]
        self._types = port_types(self._ports, ports)

    def _find_flows(self) -> None:
        found = ((ifindex, _flows(link)) for ifindex, link in self._links.items())
        self._flows = {ifindex: flows for ifindex, flows in found if flows is not None}
        self._between = {}
        for ifindex, flows in self._flows.items():
            for flow in flows:
                self._between.setdefault(flow.pair, set()).add(ifindex)

    def _type_changes(self) -> list[MapChange]:
        told, self._told_types = self._told_types, self._types
        if told == self._types:
            return []
        return [
            MapChange("port_tunnels", IFINDEX.pack(port // PORTS_AN_ENTRY), self._types[port : port + PORTS_AN_ENTRY])
            for port in range(0, len(told), PORTS_AN_ENTRY)
            if told[port : port + PORTS_AN_ENTRY] != self._types[port : port + PORTS_AN_ENTRY]
        ]

    def _port_changes(self, ifindex: int) -> list[MapChange]:
        link = self._links.get(ifindex)
        value = self._port(link) if link is not None else None
        if self._told_ports.get(ifindex) == value:
            return []
        if value is None:
            del self._told_ports[ifindex]
        else:
            self._told_ports[ifindex] = value
        return [MapChange("tunnel_ports", IFINDEX.pack(ifindex), value)]

    def _neighbour_changes(self, ifindex: int, places: set[Place] | None) -> list[MapChange]:
        told = self._told_neighbours.setdefault(ifindex, {})
        link = self._links.get(ifindex)
        wanted: dict[bytes, bytes | None] = dict.fromkeys(told) if places is None else {}
        if link is not None:
            known = [*self._neighbours.places(ifindex), (0, UNKNOWN_MAC)] if places is None else places
            wanted |= dict(self._neighbour(link, place) for place in known)
        changes = [
            MapChange("tunnel_neighbours", key, value) for key, value in wanted.items() if told.get(key) != value
        ]
        for change in changes:
            if change.value is None:
                del told[change.key]
            else:
                told[change.key] = change.value
        if not told:
            del self._told_neighbours[ifindex]
        return changes

    def _port(self, link: Link) -> bytes:
        tunnel = link.tunnel
        assert tunnel is not None
        remote = self._fixed_remote(link.ifindex, tunnel)
        return PORT.pack(
            _octets(tunnel.local),
            _octets(remote),
            tunnel.key_in,
            tunnel.key_out,
            tunnel.port,
            self._type(link, tunnel),
            tunnel.key_length,
            tunnel.protocol,
            tunnel.local.version if tunnel.local is not None else 0,
            remote.version if remote is not None else 0,
            FLAG_EXTERNAL * tunnel.external | FLAG_NEIGHBOURS * (tunnel.forwarding or _group(link) is not None),
        )

    def _fixed_remote(self, ifindex: int, tunnel: Tunnel) -> Address | None:
        """Give the one end that all packets of the netdev come from and go to, whatever their MAC address.

        A multicast group is none: packets go there, and come from its members. Nor is the
        remote of a vxlan link once its database knows another end: a packet with an unknown
        source may have come from either. Where unknown ones go to is an entry of the
        database.
        """
        remote = tunnel.remote
        if remote is None or remote.is_multicast or tunnel.external:
            return None
        if tunnel.forwarding and not self._neighbours.only(ifindex, remote.packed):
            return None
        return remote

    def _type(self, link: Link, tunnel: Tunnel) -> TunnelType:
        flows = self._flows.get(link.ifindex)
        return TunnelType.IPSEC_GRE if flows is not None and self._security.protects(*flows) else tunnel.type

    def _neighbour(self, link: Link, place: Place) -> tuple[bytes, bytes | None]:
        """Give the key of a place in the kernel's map, and what it is to hold."""
        tunnel = link.tunnel
        assert tunnel is not None
        vni, mac = place
        remote = self._neighbours.remote(link.ifindex, place) if tunnel.forwarding else None
        if vni and not tunnel.external:
            remote = None  # the kernel looks at NDA_SRC_VNI in external mode only
        group = _group(link)
        if remote is None and group is not None and place == (0, UNKNOWN_MAC):
            remote = Remote(group.packed)
        key = IFINDEX.pack(link.ifindex) + REST_OF_KEY.pack(vni or tunnel.key_out, mac, 0)
        if remote is None:
            return key, None
        return key, NEIGHBOUR.pack(remote.address, remote.vni, remote.port, 4 if len(remote.address) == 4 else 6)

    @property
    def counts(self) -> dict[str, int]:
        """How many netdevs and places the kernel has been told of, for `xdpfix show stats`."""
        return {
            "netdevs": len(self._told_ports),
            "neighbours": sum(len(told) for told in self._told_neighbours.values()),
        }

    @property
    def port_types(self) -> bytes:
        """The octet of every port: see sampler.tunnels.ports.port_types."""
        return self._types

    @property
    def ports(self) -> dict[str, list[int]]:
        """The ports that the parser takes for tunnels, by kind."""
        return listed(self._types)

    def rows(self) -> list[dict[str, object]]:
        """One dict a tunnel netdev, for `xdpfix show tunnels`."""
        return [self._row(link, link.tunnel) for link in self.links if link.tunnel is not None]

    def _row(self, link: Link, tunnel: Tunnel) -> dict[str, object]:
        return {
            "ifindex": link.ifindex,
            "name": link.name,
            "kind": link.kind,
            "type": self._type(link, tunnel).name.lower(),
            "key_length": tunnel.key_length,
            "external": tunnel.external,
            "key_in": None if tunnel.external else tunnel.key_in,
            "key_out": None if tunnel.external else tunnel.key_out,
            "local": str(tunnel.local) if tunnel.local is not None else None,
            "remote": str(tunnel.remote) if tunnel.remote is not None else None,
            "port": tunnel.port or None,
            "neighbours": len(self._told_neighbours.get(link.ifindex, ())),
        }


def _octets(address: Address | None) -> bytes:
    return address.packed if address is not None else b""


def _group(link: Link) -> Address | None:
    """Give the multicast group that a netdev without forwarding database sends its frames to: a gretap over one.

    The place of unknown addresses says it, for at egress alone the kernel side looks there. A gre
    netdev over a group carries IP, without addresses to look for: its remote is not told.
    """
    tunnel = link.tunnel
    if tunnel is None or tunnel.forwarding or tunnel.external or link.l3:
        return None
    return tunnel.remote if tunnel.remote is not None and tunnel.remote.is_multicast else None


def _flows(link: Link) -> tuple[Flow, Flow] | None:
    """Give what a GRE netdev between two fixed ends sends and receives, which IPsec may protect; else None."""
    tunnel = link.tunnel
    if tunnel is None or link.kind not in IPSEC_KINDS or tunnel.protocol != PROTOCOL_GRE or tunnel.external:
        return None
    local, remote = tunnel.local, tunnel.remote
    if local is None or remote is None or remote.is_multicast:
        return None
    lower = 0 if link.lower_elsewhere else link.lower
    return Flow((local, remote), tunnel.key_out, lower), Flow((remote, local), tunnel.key_in, lower)
