"""Real tunnel netdevs of every kind, fixed and in collect-metadata mode: packets there and below become records.

One xdpfix samples all netdevs of a group and the veth below them; a test looks at the records of one netdev.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from exporter.decoder import Record
from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.tunnelpairs import EXTERNAL, EXTERNAL_L3, FIXED, HERE, IN, NOWHERE, OUT, PAYLOAD, THERE, Pair
from lib.wait import wait_until

MODULES = ("geneve", "ip_gre", "ip6_gre", "vxlan")

CONFIG = """
[sampler]
interfaces = ["a", "t*"]
[exporter]
targets = ["{target}"]
sampling = 1
"""
INGRESS, EGRESS = 0, 1
GROUPS = [[Pair(kind, number) for number, kind in enumerate(kinds, 1)] for kinds in (FIXED, EXTERNAL, EXTERNAL_L3)]


@dataclass(frozen=True)
class Observed:
    """What one xdpfix exported, and the interfaces where it looked."""

    records: list[Record]
    ifindex: dict[str, int]
    tunnels: dict[str, dict[str, Any]]

    def only(self, name: str, direction: int, port: int) -> Record:
        """The one record of datagrams to a port, as they passed an interface."""
        element = "ingressInterface" if direction == INGRESS else "egressInterface"
        found = [
            record
            for record in self.records
            if record.get("flowDirection") == direction
            and record.get(element) == self.ifindex[name]
            and record.get("destinationTransportPort") == port
        ]
        assert len(found) == 1, f"{name}, direction {direction}, port {port}: {found}"
        return found[0]


@pytest.fixture(scope="module")
def observed_groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Observed]]:
    yield {}


@pytest.fixture
def observed(pair: Pair, observed_groups: dict[int, Observed], tmp_path_factory: pytest.TempPathFactory) -> Observed:
    (number,) = (number for number, pairs in enumerate(GROUPS) if any(pair is other for other in pairs))
    if number not in observed_groups:
        observed_groups[number] = observe(GROUPS[number], tmp_path_factory)
    return observed_groups[number]


def observe(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Observed:
    with Namespace() as here, Namespace() as there:
        veth(here, "a", f"{HERE[4]}/24", there, "b", f"{THERE[4]}/24")
        for namespace, name, address in ((here, "a", HERE[6]), (there, "b", THERE[6])):
            namespace.up(name, f"{address}/64")
        for pair in pairs:
            pair.make(here, there)
        ifindex = {name: here.ifindex(name) for name in ("a", *(pair.name for pair in pairs))}
        with Sink(here) as sink:
            folder = tmp_path_factory.mktemp("observed")
            with Daemon(here, folder, CONFIG.format(target=sink.target)).wait_ready() as daemon:
                shown = {row["name"]: row for row in daemon.show("tunnels")["netdevs"]}
                for pair in pairs:
                    pair.talk(here, there)
                # At the netdev and at the veth; beside them pass ARP and ND of the ends.
                due = 2 * len(pairs) * (OUT + IN)
                wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) >= due)
                wait_until(lambda: daemon.show("stats")["ring"]["pending"] == 0)
                assert daemon.show("stats")["errors"] == []
                assert daemon.stop() == 0
                assert "Traceback" not in daemon.text()
            ports = {port for pair in pairs for port in pair.ports}

            def arrived() -> int:
                return sum(record.get("destinationTransportPort") in ports for record in list(sink.records))

            wait_until(lambda: arrived() >= 4 * len(pairs), what="a record a netdev, place and direction")
            return Observed(list(sink.records), ifindex, shown)


def tunnel(record: Record) -> dict[str, Any]:
    """All that a record says of the tunnel; empty without one."""
    if record.get("tunnelType") is None:
        return {}
    key = record.get("tunnelKey")
    assert isinstance(key, bytes)
    names = {4: "tunnel{}IPv4Address", 6: "UNTUNNELED_IPV6_{}_ADDR"}
    (version,) = (version for version in names if record.get(names[version].format(*SIDES[version][:1])) is not None)
    source, destination = (str(record.get(names[version].format(side))) for side in SIDES[version])
    return {
        "type": record.get("tunnelType"),
        "key": (int.from_bytes(key, "big"), len(key)),
        "source": source,
        "destination": destination,
        "protocol": record.get("tunnelProtocolIdentifier"),
        "ports": (record.get("tunnelSourceTransportPort"), record.get("tunnelDestinationTransportPort")),
    }


SIDES = {4: ("Source", "Destination"), 6: ("SRC", "DST")}
PAIRS = [pair for pairs in GROUPS for pair in pairs]


@pytest.mark.parametrize("direction", [EGRESS, INGRESS], ids=["egress", "ingress"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.kind.name)
def test_on_the_netdev_and_below(pair: Pair, direction: int, observed: Observed) -> None:
    kind, port = pair.kind, pair.ports[direction == INGRESS]
    packets, inner = (OUT, pair.inner) if direction == EGRESS else (IN, pair.inner[::-1])
    here, there = HERE[kind.version], THERE[kind.version]
    above, below = (observed.only(name, direction, port) for name in (pair.name, "a"))
    for record in (above, below):
        assert (str(record.get("sourceIPv4Address")), str(record.get("destinationIPv4Address"))) == inner
        assert record.get("sourceTransportPort") == port
        assert record.get("packetDeltaCount") == packets
        assert record.get("octetDeltaCount") == packets * (28 + len(PAYLOAD))
        assert record.get("ethernetHeaderLength") == (0 if kind.l3 else 14)
        assert record.get("ethernetType") == 0x0800
        assert (record.get("sourceMacAddress") == "00:00:00:00:00:00") == kind.l3
    expected = {
        "type": kind.type,
        "key": (kind.keys[direction == INGRESS], kind.key_length),
        "source": here if direction == EGRESS else there,
        "destination": there if direction == EGRESS else here,
        "protocol": kind.protocol,
    }
    on_the_wire = tunnel(below)
    source_port, destination_port = on_the_wire.pop("ports")
    assert on_the_wire == expected
    assert (source_port > 0, destination_port) == (bool(kind.port), kind.port)
    if not kind.tells_local:
        expected["source" if direction == EGRESS else "destination"] = NOWHERE[kind.version]
    assert tunnel(above) == expected | {"ports": (0, kind.port)}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.kind.name)
def test_shown(pair: Pair, observed: Observed) -> None:
    row, kind = observed.tunnels[pair.name], pair.kind
    assert (row["external"], row["sampled"], row["port"] or 0) == (kind.external, True, kind.port)
    if not kind.external:
        assert (row["key_out"], row["key_in"]) == kind.keys
        assert row["remote"] == THERE[kind.version]
