"""Tun and tap devices: links without Ethernet header, and guests that send super-packets."""

import socket
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import udp_frame
from lib.tun import IFF_NAPI, IFF_TAP, IFF_TUN, IFF_VNET_HDR, VNET_GSO_TCPV4, VNET_GSO_TCPV6, Tun, vnet_header
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = ["{name}"]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = 1
"""
ETHERNET = 14
NO_MAC = "00:00:00:00:00:00"
PAYLOAD = 100


@pytest.mark.parametrize("hook", ["tc", "xdp-generic"])
def test_no_ethernet_header(namespace: Namespace, tmp_path: Path, hook: str) -> None:
    """IPv4 and IPv6 in and out of a tun device: header length 0, no MAC addresses, the right ethertype."""
    with Tun(namespace, "tun0", IFF_TUN) as tun, Sink(namespace) as sink:
        namespace.run("ip", "address", "add", "192.0.2.1/24", "dev", "tun0")
        namespace.run("ip", "address", "add", "2001:db8::1/64", "dev", "tun0", "nodad")
        config = CONFIG.format(name="tun0", hook=hook, target=sink.target)
        with Daemon(namespace, tmp_path, config).wait_ready() as daemon:
            for _ in range(10):
                tun.write(udp_frame(payload=PAYLOAD)[ETHERNET:])
                tun.write(udp_frame("2001:db8::2", "2001:db8::9", payload=PAYLOAD)[ETHERNET:])
            for family, address in ((socket.AF_INET, "192.0.2.2"), (socket.AF_INET6, "2001:db8::2")):
                with namespace.enter(), socket.socket(family, socket.SOCK_DGRAM) as sock:
                    for _ in range(5):
                        sock.sendto(bytes(PAYLOAD), (address, 53))

            def passed() -> bool:
                (row,) = daemon.show("interfaces")
                return row["packets_in"] >= 20 and row["packets_out"] >= 10

            wait_until(passed)
        for direction, count in ((0, 10), (1, 5)):
            for ethertype, octets in ((0x0800, 20), (0x86DD, 40)):
                key = {"flowDirection": direction, "ethernetType": ethertype, "destinationTransportPort": 53}
                wait_until(lambda key=key, count=count: sink.total(**key) == count, what=str(key))
                assert sink.total("octetDeltaCount", **key) == count * (octets + 8 + PAYLOAD)
                assert sink.total("layer2OctetDeltaCount", **key) == count * (octets + 8 + PAYLOAD)
        for record in sink.records:
            assert record.get("ethernetHeaderLength") == 0
            assert record.get("sourceMacAddress") == record.get("destinationMacAddress") == NO_MAC
            assert record.get("vlanId") is None


@pytest.mark.parametrize("napi", [0, IFF_NAPI], ids=["", "napi"])
@pytest.mark.parametrize("version", [4, 6])
def test_super_packets_of_a_guest(namespace: Namespace, tmp_path: Path, version: int, napi: int) -> None:
    """What a guest sends with TSO through its tap has a segment size, no count: it is exact all the same."""
    ip = IP(src="192.0.2.2", dst="192.0.2.1") if version == 4 else IPv6(src="2001:db8::2", dst="2001:db8::1")
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    ip_octets = 20 if version == 4 else 40
    headers = ip_octets + 32
    frame = bytes(Ether(src="02:00:00:00:00:02") / ip / TCP(sport=1, dport=2, flags="PA", options=options))
    size, counts = 1000, (1, 5, 45)
    with Tun(namespace, "tap0", IFF_TAP | IFF_VNET_HDR | napi) as tap, Sink(namespace) as sink:
        config = CONFIG.format(name="tap0", hook="tc", target=sink.target)
        with Daemon(namespace, tmp_path, config).wait_ready() as daemon:
            gso_type = VNET_GSO_TCPV4 if version == 4 else VNET_GSO_TCPV6
            header = vnet_header(size, ETHERNET + headers, ip_octets, gso_type)
            for count in counts:
                payload = count * size
                whole = bytearray(frame + bytes(payload))
                # The IP header's length is of the super-packet, as the guest's kernel writes it.
                at = ETHERNET + (2 if version == 4 else 4)
                length = headers + payload - (0 if version == 4 else ip_octets)
                whole[at : at + 2] = length.to_bytes(2, "big")
                tap.write(header, bytes(whole))
            wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] >= sum(counts))
            assert daemon.show("interfaces")[0]["packets_in"] == sum(counts)
        key = {"sourceTransportPort": 1, "destinationTransportPort": 2}
        wait_until(lambda: sink.total(**key) > 0)
        assert sink.total(**key) == sum(counts)
        assert sink.total("octetDeltaCount", **key) == sum(counts) * (headers + size)
        assert sink.total("layer2OctetDeltaCount", **key) == sum(counts) * (ETHERNET + headers + size)
        assert {record.get("maximumIpTotalLength") for record in sink.records} == {headers + size}
