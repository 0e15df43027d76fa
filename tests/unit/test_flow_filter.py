"""Filters and orders of `xdpfix show flows` and `top`, over rows as the daemon makes them."""

from typing import Any

import pytest

from sampler.control.flowfilter import ordered, parse
from sampler.errors import ConfigError

TCP: dict[str, Any] = {
    "interface": "eth0",
    "direction": "in",
    "source": "192.0.2.1",
    "destination": "2001:db8::1",
    "protocol": 6,
    "source_port": 443,
    "destination_port": 50000,
    "packets": 10,
    "octets": 9000,
    "vlan": [100],
    "tcp_flags": "SA",
}
ARP: dict[str, Any] = {
    "interface": "vnet3",
    "direction": "out",
    "source": "00:00:5e:00:53:01",
    "destination": "ff:ff:ff:ff:ff:ff",
    "protocol": None,
    "packets": 2,
    "octets": 84,
    "vlan": None,
    "tcp_flags": "",
    "tunnel": "vxlan",
    "tunnel_key": 7,
    "tunnel_source": "203.0.113.9",
    "verdict": "drop",
    "dropped_packets": 2,
}
ROWS = {"tcp": TCP, "arp": ARP}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", "tcp arp"),
        ("source=192.0.2.0/24", "tcp"),
        ("source=192.0.2.1", "tcp"),
        ("source=00:00:5E:00:53:01", "arp"),
        ("address=2001:db8::/32", "tcp"),
        ("address!=2001:db8::/32", "arp"),
        ("port=443", "tcp"),
        ("port!=443", "arp"),
        ("port>=50000", "tcp"),
        ("packets>2", "tcp"),
        ("packets>=2 packets<10", "arp"),
        ("octets<=84", "arp"),
        ("protocol=tcp", "tcp"),
        ("protocol=6", "tcp"),
        ("protocol!=udp", "tcp arp"),
        ("vlan=100", "tcp"),
        ("tcp_flags~a", "tcp"),
        ("interface=ETH0", "tcp"),
        ("interface~net", "arp"),
        ("direction=out", "arp"),
        ("tunnel=vxlan tunnel_key=7", "arp"),
        ("verdict=drop dropped_packets>1", "arp"),
        ("verdict!=drop", "tcp"),
        ("dropped_packets<1", ""),
        # Words alone: what is typed into `top`.
        ("443", "tcp"),
        ("192.0.2.0/28", "tcp"),
        ("203.0.113.9", "arp"),
        ("tcp", "tcp"),
        ("udp", ""),
        ("vnet", "arp"),
        ("53:01", "arp"),
        ("VXLAN", "arp"),
        ("drop", "arp"),
        ("tcp 443 eth0", "tcp"),
        ("tcp vnet", ""),
    ],
)
def test_filter(text: str, kept: str) -> None:
    predicate = parse(text)
    assert [name for name, row in ROWS.items() if predicate(row)] == kept.split()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("sorce=1", "filter sorce=1: flows have no column of that name; did you mean source?"),
        ("x=1", "flows have no column of that name; there are exporter, interface"),
        ("port=http", "filter port=http: 'http' is no number"),
        ("source>1", "filter source>1: source is no number; take =, != or ~"),
        ("source=192.0.2.0/64", "'192.0.2.0/64' is no prefix"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert sentence in str(caught.value)


def test_order() -> None:
    assert ordered([ARP, TCP], "packets") == [TCP, ARP]
    assert ordered([TCP, ARP], "source") == [ARP, TCP]
    assert ordered([ARP, TCP], "source_port") == [TCP, ARP]  # what has no port comes last
    assert ordered([TCP, ARP], "tunnel") == [ARP, TCP]
    with pytest.raises(ConfigError, match=r"sort packet: .* did you mean packets"):
        ordered([], "packet")
