"""GRE that ESP protects, in transport and in tunnel mode: type 5 on the netdev, and where it passes decrypted."""

import pytest

from lib.netns import Namespace
from lib.observed import EGRESS, INGRESS, Observed, observe, tunnel
from lib.tunnelpairs import GRE, HERE, IN, OUT, THERE, Kind, Pair

MODULES = ("esp4", "esp6", "ip_gre", "ip6_gre", "xfrm_user")
IPSEC_GRE = 5
ESP = 50
PAIRS = [
    Pair(Kind("gre", ("gre",), GRE, 4, (7, 8), l3=True), 1),
    Pair(Kind("gretap", ("gretap",), GRE, 4, (0, 0)), 2),
    Pair(Kind("ip6gretap", ("ip6gretap",), GRE, 4, (9, 10), version=6), 3),
]
KEYS = ("enc", "cbc(aes)", f"0x{'11' * 16}", "auth", "hmac(sha256)", f"0x{'22' * 32}")


def protect(mode: str, here: Namespace, there: Namespace) -> None:
    """States and policies for GRE between the ends, on both sides."""
    for version in (4, 6):
        for spi, (source, destination) in enumerate(
            [(HERE[version], THERE[version]), (THERE[version], HERE[version])], 0x1000
        ):
            ends = ("src", source, "dst", destination)
            for namespace in (here, there):
                sends = (namespace is here) == (source == HERE[version])
                namespace.run(
                    *("ip", "xfrm", "state", "add", *ends, "proto", "esp", "spi", hex(spi), "mode", mode, *KEYS)
                )
                template = ("tmpl", *ends, "proto", "esp", "mode", mode)
                namespace.run(
                    *("ip", "xfrm", "policy", "add", *ends, "proto", "gre", "dir", "out" if sends else "in", *template)
                )


@pytest.fixture(scope="module", params=["transport", "tunnel"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def observed(mode: str, tmp_path_factory: pytest.TempPathFactory) -> Observed:
    folder = tmp_path_factory.mktemp(mode)
    places = 2 if mode == "transport" else 3
    return observe(PAIRS, folder, places, lambda here, there: protect(mode, here, there))


def expected(pair: Pair, direction: int) -> dict[str, object]:
    ends = (HERE[pair.kind.version], THERE[pair.kind.version])
    source, destination = ends if direction == EGRESS else ends[::-1]
    return {
        "type": IPSEC_GRE,
        "key": (pair.kind.keys[direction == INGRESS], 4),
        "source": source,
        "destination": destination,
        "protocol": 47,
        "ports": (0, 0),
    }


@pytest.mark.parametrize("direction", [EGRESS, INGRESS], ids=["egress", "ingress"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.kind.name)
def test_on_the_netdev(pair: Pair, direction: int, observed: Observed) -> None:
    record = observed.only(pair.name, direction, pair.ports[direction == INGRESS])
    assert tunnel(record) == expected(pair, direction)
    assert record.get("packetDeltaCount") == (OUT if direction == EGRESS else IN)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.kind.name)
def test_below(pair: Pair, mode: str, observed: Observed) -> None:
    """ESP in both directions; in tunnel mode what was in it passes ingress once more, and no other place."""
    for direction, count in ((EGRESS, OUT), (INGRESS, IN)):
        outer = {f"{end}IPv{pair.kind.version}Address" for end in ("source", "destination")}
        (esp,) = (
            record
            for record in observed.at("a", direction, protocolIdentifier=ESP)
            if all(record.get(name) is not None for name in outer)
        )
        sent = sum(count for other in PAIRS if other.kind.version == pair.kind.version)
        assert (esp.get("packetDeltaCount"), tunnel(esp)) == (sent, {})
        assert observed.at("a", direction, protocolIdentifier=47) == []
    out, back = pair.ports
    assert observed.at("a", EGRESS, destinationTransportPort=out) == []
    decrypted = observed.at("a", INGRESS, destinationTransportPort=back)
    assert [tunnel(record) for record in decrypted] == ([] if mode == "transport" else [expected(pair, INGRESS)])
