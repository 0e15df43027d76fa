"""Real tunnel netdevs of every kind, fixed and in collect-metadata mode: packets there and below become records.

One xdpfix samples all netdevs of a group and the veth below them; a test looks at the records of one netdev.
"""

import pytest

from lib.observed import EGRESS, INGRESS, Observed, observe, tunnel
from lib.tunnelpairs import EXTERNAL, EXTERNAL_L3, FIXED, HERE, IN, NOWHERE, OUT, PAYLOAD, THERE, Pair

MODULES = ("geneve", "ip_gre", "ip6_gre", "vxlan")
GROUPS = [[Pair(kind, number) for number, kind in enumerate(kinds, 1)] for kinds in (FIXED, EXTERNAL, EXTERNAL_L3)]
PAIRS = [pair for pairs in GROUPS for pair in pairs]


@pytest.fixture(scope="module")
def groups() -> dict[int, Observed]:
    """What was observed already, by the group's place in GROUPS."""
    return {}


@pytest.fixture
def observed(pair: Pair, groups: dict[int, Observed], tmp_path_factory: pytest.TempPathFactory) -> Observed:
    (number,) = (number for number, pairs in enumerate(GROUPS) if any(pair is other for other in pairs))
    if number not in groups:
        groups[number] = observe(GROUPS[number], tmp_path_factory.mktemp("observed"), places=4)
    return groups[number]


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
    row, kind = observed.netdevs[pair.name], pair.kind
    assert (row["external"], row["sampled"], row["port"] or 0) == (kind.external, True, kind.port)
    if not kind.external:
        assert (row["key_out"], row["key_in"]) == kind.keys
        assert row["remote"] == THERE[kind.version]
