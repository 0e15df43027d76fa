"""One xdpfix that samples tunnel netdevs (lib.tunnelpairs) and the veth below them: its records, by place and port."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.decoder import Record
from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.tunnelpairs import HERE, IN, OUT, THERE, Pair
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["a", "t*"]
[exporter]
targets = ["{target}"]
sampling = 1
"""
INGRESS, EGRESS = 0, 1
ADDRESSES = {
    4: ("tunnelSourceIPv4Address", "tunnelDestinationIPv4Address"),
    6: ("UNTUNNELED_IPV6_SRC_ADDR", "UNTUNNELED_IPV6_DST_ADDR"),
}


@dataclass(frozen=True)
class Observed:
    """What one xdpfix exported.

    Attributes:
        records: all.
        ifindex: of the sampled interfaces, by name.
        netdevs: what `xdpfix show tunnels` has of each, by name.

    """

    records: list[Record]
    ifindex: dict[str, int]
    netdevs: dict[str, dict[str, Any]]

    def at(self, name: str, direction: int, **having: object) -> list[Record]:
        """Records of an interface and direction whose elements have the values given."""
        wanted = {
            "flowDirection": direction,
            "ingressInterface" if direction == INGRESS else "egressInterface": self.ifindex[name],
            **having,
        }
        return [record for record in self.records if all(record.get(key) == value for key, value in wanted.items())]

    def only(self, name: str, direction: int, port: int) -> Record:
        """The one record of datagrams to a port, as they passed an interface."""
        found = self.at(name, direction, destinationTransportPort=port)
        assert len(found) == 1, f"{name}, direction {direction}, port {port}: {found}"
        return found[0]


def observe(
    pairs: Sequence[Pair],
    folder: Path,
    places: int,
    prepare: Callable[[Namespace, Namespace], None] = lambda here, there: None,
) -> Observed:
    """Make two namespaces and the tunnels between them, sample on one side, talk, and give what was exported.

    Args:
        pairs: the tunnels.
        folder: for the daemon.
        places: how many records the datagrams of a tunnel make, one for each place and direction they are seen in.
        prepare: called with both namespaces before the tunnels are made.

    """
    ports = {port for pair in pairs for port in pair.ports}
    with Namespace() as here, Namespace() as there:
        veth(here, "a", f"{HERE[4]}/24", there, "b", f"{THERE[4]}/24")
        here.up("a", f"{HERE[6]}/64")
        there.up("b", f"{THERE[6]}/64")
        prepare(here, there)
        for pair in pairs:
            pair.make(here, there)
        ifindex = {name: here.ifindex(name) for name in ("a", *(pair.name for pair in pairs))}
        with Sink(here) as sink:

            def arrived() -> int:
                return sum(record.get("destinationTransportPort") in ports for record in list(sink.records))

            with Daemon(here, folder, CONFIG.format(target=sink.target)).wait_ready() as daemon:
                netdevs = {row["name"]: row for row in daemon.show("tunnels")["netdevs"]}
                for pair in pairs:
                    pair.talk(here, there)
                # At the netdev and at the veth; beside them pass ARP and ND of the ends.
                due = 2 * len(pairs) * (OUT + IN)
                wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) >= due)
                wait_until(lambda: daemon.show("stats")["ring"]["pending"] == 0)
                assert daemon.show("stats")["errors"] == []
                assert daemon.stop() == 0
                assert "Traceback" not in daemon.text()
            wait_until(lambda: arrived() >= places * len(pairs), what=f"{places} records a tunnel")
            return Observed(list(sink.records), ifindex, netdevs)


def tunnel(record: Record) -> dict[str, Any]:
    """All that a record says of the tunnel; empty without one."""
    if record.get("tunnelType") is None:
        return {}
    key = record.get("tunnelKey")
    assert isinstance(key, bytes)
    (addresses,) = (names for names in ADDRESSES.values() if record.get(names[0]) is not None)
    source, destination = (str(record.get(name)) for name in addresses)
    return {
        "type": record.get("tunnelType"),
        "key": (int.from_bytes(key, "big"), len(key)),
        "source": source,
        "destination": destination,
        "protocol": record.get("tunnelProtocolIdentifier"),
        "ports": (record.get("tunnelSourceTransportPort"), record.get("tunnelDestinationTransportPort")),
    }
