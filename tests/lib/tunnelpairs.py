"""Tunnel netdevs of every kind between two namespaces, and datagrams through each: what its records have to say.

Fixed ones have their ends and keys as attributes. External ones (collect-metadata mode) take them from the route that
a packet goes by, and say them with each packet that comes.
"""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

from lib.netns import Namespace
from lib.wait import PATIENCE

HERE = {4: "192.0.2.1", 6: "2001:db8::1"}
THERE = {4: "192.0.2.2", 6: "2001:db8::2"}
NOWHERE = {4: "0.0.0.0", 6: "::"}
VXLAN, GRE, GENEVE = 1, 2, 7  # tunnelType
PAYLOAD = b"hello"
OUT, IN = 3, 2  # datagrams that `here` sends and receives through each


@dataclass(frozen=True)
class Kind:
    """A kind of tunnel netdev and what is told of its packets.

    Attributes:
        name: for people.
        link: `ip link` type and attributes, but ends and keys.
        type: tunnelType.
        key_length: octets of tunnelKey.
        keys: of packets that `here` sends and receives.
        version: of the outer IP header.
        port: UDP destination; 0 where there is none.
        l3: no Ethernet header inside.
        external: in collect-metadata mode.
        route: what the route of an external one says beside key and ends.

    """

    name: str
    link: tuple[str, ...]
    type: int
    key_length: int
    keys: tuple[int, int]
    version: int = 4
    port: int = 0
    l3: bool = False
    external: bool = False
    route: tuple[str, ...] = ()

    @property
    def protocol(self) -> int:
        """Of the outer IP header."""
        return 17 if self.port else 47

    @property
    def tells_local(self) -> bool:
        """A geneve netdev has a remote address and no local one."""
        return self.external or self.type != GENEVE

    def words(self, local: str, remote: str, out: int, back: int) -> list[str]:
        """For `ip link add … type`."""
        words = [*self.link]
        if self.port:
            words += ["dstport", str(self.port)]
        if self.external:
            return [*words, "external"]
        if self.type != GENEVE:
            words += ["local", local]
        words += ["remote", remote]
        if self.port:
            return [*words, "id", str(out)]
        return [*words, "okey", str(out), "ikey", str(back)] if out or back else words


def _fixed() -> Iterable[Kind]:
    yield Kind("gre", ("gre",), GRE, 4, (0, 0), l3=True)
    yield Kind("gre with keys", ("gre",), GRE, 4, (0xFFFFFFFF, 9), l3=True)
    yield Kind("gretap", ("gretap",), GRE, 4, (8, 7))
    yield Kind("ip6gre", ("ip6gre",), GRE, 4, (5, 6), version=6, l3=True)
    yield Kind("ip6gretap", ("ip6gretap",), GRE, 4, (0x01020304, 0x01020304), version=6)
    yield Kind("erspan", ("erspan", "seq", "erspan_ver", "1", "erspan", "123"), GRE, 2, (30, 30))
    version_2 = ("erspan_ver", "2", "erspan_dir", "ingress", "erspan_hwid", "17")
    yield Kind("ip6erspan", ("ip6erspan", "seq", *version_2), GRE, 2, (31, 31), version=6)
    yield Kind("geneve", ("geneve",), GENEVE, 3, (5000, 5000), port=6081)
    yield Kind("geneve over IPv6", ("geneve",), GENEVE, 3, (0xFFFFFF, 0xFFFFFF), version=6, port=6099)
    yield Kind("vxlan", ("vxlan",), VXLAN, 3, (5002, 5002), port=4799)
    yield Kind("vxlan over IPv6", ("vxlan",), VXLAN, 3, (5003, 5003), version=6, port=4800)


def _external() -> Iterable[Kind]:
    def external(name: str, kind: int, length: int, keys: tuple[int, int], **more: object) -> Kind:
        return Kind(f"{name}, external", (name,), kind, length, keys, external=True, **more)  # type: ignore[arg-type]

    yield external("gre", GRE, 4, (0x01020304, 0x05060708), l3=True, route=("key",))
    yield external("gretap", GRE, 4, (21, 22), route=("key",))
    yield external("ip6gretap", GRE, 4, (23, 24), version=6, route=("key",))
    yield external("erspan", GRE, 2, (25, 26), route=("key", "seq", "erspan_opts", "1:123:0:0"))
    yield external("geneve", GENEVE, 3, (27, 28), port=6081)
    yield external("vxlan", VXLAN, 3, (29, 30), port=4799)


FIXED = tuple(_fixed())
EXTERNAL = tuple(_external())
# There is one external netdev of GRE over IPv6 a namespace.
EXTERNAL_L3 = (
    Kind("ip6gre, external", ("ip6gre",), GRE, 4, (31, 32), version=6, l3=True, external=True, route=("key",)),
)


@dataclass(frozen=True)
class Pair:
    """A tunnel between `here` and `there`, and the addresses inside."""

    kind: Kind
    number: int

    @property
    def name(self) -> str:
        """Of the netdev, in both namespaces."""
        return f"t{self.number}"

    @property
    def inner(self) -> tuple[str, str]:
        """Addresses of `here` and `there` inside."""
        return f"198.51.100.{2 * self.number}", f"198.51.100.{2 * self.number + 1}"

    @property
    def ports(self) -> tuple[int, int]:
        """Destination ports of what `here` sends and receives."""
        return 1000 + self.number, 2000 + self.number

    def make(self, here: Namespace, there: Namespace) -> None:
        """Make the netdevs, addresses and routes."""
        ends = (HERE[self.kind.version], THERE[self.kind.version])
        self._make(here, ends, self.kind.keys, self.inner)
        self._make(there, ends[::-1], self.kind.keys[::-1], self.inner[::-1])

    def _make(self, namespace: Namespace, ends: tuple[str, str], keys: tuple[int, int], inner: tuple[str, str]) -> None:
        words = self.kind.words(*ends, *keys)
        namespace.run("ip", "link", "add", "name", self.name, "type", *words)
        namespace.run("ip", "link", "set", "dev", self.name, "addrgenmode", "none")
        if not self.kind.l3:
            namespace.run("ip", "link", "set", "dev", self.name, "address", self._mac(inner[0]))
        namespace.up(self.name, f"{inner[0]}/32")
        route = []
        if self.kind.external:
            family = "ip" if self.kind.version == 4 else "ip6"
            route = ["encap", family, "id", str(keys[0]), "src", ends[0], "dst", ends[1], *self.kind.route]
        namespace.run("ip", "route", "add", f"{inner[1]}/32", *route, "dev", self.name, "src", inner[0])
        if not self.kind.l3:  # no ARP
            neighbour = ("lladdr", self._mac(inner[1]), "nud", "permanent", "dev", self.name)
            namespace.run("ip", "neigh", "replace", inner[1], *neighbour)

    @staticmethod
    def _mac(address: str) -> str:
        return f"02:00:00:00:00:{int(address.rpartition('.')[2]):02x}"

    def talk(self, here: Namespace, there: Namespace) -> None:
        """Send OUT datagrams from `here` to `there` and IN back, and see them arrive."""
        ends = ((here, self.inner[0]), (there, self.inner[1]))
        for (sender, source), (receiver, to), port, count in (
            (*ends, self.ports[0], OUT),
            (*ends[::-1], self.ports[1], IN),
        ):
            # Received, or there would be ICMP messages.
            with _bound(receiver, to, port) as end, _bound(sender, source, port) as sock:
                end.settimeout(15 * PATIENCE)
                for _ in range(count):
                    sock.sendto(PAYLOAD, (to, port))
                assert [end.recv(100) for _ in range(count)] == [PAYLOAD] * count


def _bound(namespace: Namespace, address: str, port: int) -> socket.socket:
    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        return sock

    return namespace.call(make)
