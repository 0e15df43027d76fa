"""The kernel's tunnel maps as a tunnel table's changes leave them, and tunnels to fill it with."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from lib.kernel import map_entries
from sampler._native import ffi, lib
from sampler.tunnels import tunneltable
from sampler.tunnels.securitytable import POLICY_OUT, Policy, PolicySeen, Selector
from sampler.tunnels.tunnel import Tunnel, TunnelType
from sampler.tunnels.tunneltable import MapChange

LOCAL, REMOTE, OTHER = (ip_address(f"192.0.2.{host}") for host in (1, 9, 7))
GROUP = ip_address("233.252.0.1")
REMOTE6 = ip_address("2001:db8::9")
MAC = bytes.fromhex("020000000001")

VXLAN = Tunnel(TunnelType.VXLAN, 3, 17, key_in=5000, key_out=5000, local=LOCAL, port=4799, forwarding=True)
EXTERNAL = replace(VXLAN, key_in=0, key_out=0, external=True)
GRE = Tunnel(TunnelType.GRE, 4, 47, key_in=7, key_out=8, local=LOCAL, remote=REMOTE)
GENEVE = Tunnel(TunnelType.GENEVE, 3, 17, key_in=9, key_out=9, remote=REMOTE6, port=6081)


class _Held(dict[str, dict[bytes, bytes]]):
    """The maps that a process holds, each read when it is first looked at."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __missing__(self, name: str) -> dict[bytes, bytes]:
        self[name] = map_entries(self._pid, name)
        return self[name]


class Kernel:
    """The kernel's maps, as the changes leave them, or as a process that holds them has them."""

    def __init__(self, pid: int | None = None) -> None:
        self.maps = _Held(pid) if pid else {"port_tunnels": {}, "tunnel_ports": {}, "tunnel_neighbours": {}}

    def write(self, changes: Iterable[MapChange]) -> None:
        """Take changes in, each of which must be one."""
        for change in changes:
            if change.value is None:
                del self.maps[change.map][change.key]  # what is not there cannot be taken out
            else:
                assert self.maps[change.map].get(change.key) != change.value, "told twice"
                self.maps[change.map][change.key] = change.value

    def ports(self) -> set[int]:
        """The netdevs that it knows."""
        return {tunneltable.IFINDEX.unpack(key)[0] for key in self.maps["tunnel_ports"]}

    def port(self, ifindex: int) -> Any:
        """What it knows of a netdev, a struct tunnel_port."""
        return ffi.from_buffer("struct tunnel_port *", self.maps["tunnel_ports"][tunneltable.IFINDEX.pack(ifindex)])

    def neighbours(self) -> dict[tuple[int, int, bytes], tuple[bytes, int, int, int]]:
        """By netdev, VNI and MAC address: the remote, VNI, port and version."""
        found = {}
        for key, value in self.maps["tunnel_neighbours"].items():
            place = ffi.from_buffer("struct tunnel_neighbour_key *", key)
            remote = ffi.from_buffer("struct tunnel_neighbour *", value)
            found[place.ifindex, number(place, "vni"), bytes(place.mac)] = (
                bytes(remote.remote),
                number(remote, "vni"),
                number(remote, "port"),
                remote.version,
            )
        return found

    def types(self) -> bytes:
        """The octet of each port."""
        entries = self.maps["port_tunnels"]
        return b"".join(entries.get(tunneltable.IFINDEX.pack(entry), bytes(8)) for entry in range(lib.PORT_ENTRIES))


def number(struct: Any, field: str) -> int:
    """A field in network byte order."""
    return int.from_bytes(ffi.buffer(ffi.addressof(struct, field)), "big")


def ipsec(**options: Any) -> PolicySeen:
    """The event of a policy that protects GRE from LOCAL to REMOTE."""
    selector = Selector(ip_network("192.0.2.1/32"), ip_network("192.0.2.9/32"), 47, **options)
    return PolicySeen(Policy(1, POLICY_OUT, selector, required=True))
