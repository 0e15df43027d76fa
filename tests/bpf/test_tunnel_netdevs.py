"""Packets of tunnel netdevs in the kernel: their tunnel by the maps, at tc and XDP under both loaders.

Metadata comes with real devices only: tests/netns/test_tunnel_records.py and tests/modules have these.
"""

import socket
import sys
from collections.abc import Iterator

import pytest

from lib.frames import FRAMES
from lib.testrun import IFINDEX, Kernel, octets
from sampler._native import ffi, lib
from sampler.captures.parser import parse

FRAME = FRAMES["ipv4 tcp"]  # from 02:…:02 to 02:…:01
PROGRAMS = {"sample_xdp": 0, "sample_tc_ingress": 0, "sample_tc_egress": 1}
LOCAL, REMOTE, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.3"
FAR = {0: FRAME[6:12], 1: FRAME[:6]}  # the MAC address of the far side, by direction
VNI = 5000


def padded(address: str) -> bytes:
    return socket.inet_aton(address).ljust(16, b"\0")


def be64(number: int) -> int:
    return int.from_bytes(number.to_bytes(8, "big"), sys.byteorder)


def describe(kernel: Kernel, remote: str | None = REMOTE, local: str | None = LOCAL, flags: int = 0) -> None:
    """Say what the netdev's link says."""
    port = ffi.new("struct tunnel_port *")
    for name, address in (("local", local), ("remote", remote)):
        if address:
            setattr(port, name, padded(address))
            setattr(port, f"{name}_version", 4)
    port.key_in = port.key_out = be64(VNI)
    port.port, port.type, port.key_length = socket.htons(4789), lib.TUNNEL_VXLAN, 3
    port.protocol, port.flags = 17, flags
    kernel.maps.update("tunnel_ports", IFINDEX, port)


def place(mac: bytes) -> bytes:
    key = ffi.new("struct tunnel_neighbour_key *", (IFINDEX, socket.htonl(VNI), mac, 0))
    return bytes(ffi.buffer(key))


@pytest.fixture
def netdev(kernel: Kernel) -> Iterator[Kernel]:
    for direction in (0, 1):
        kernel.gates.close(IFINDEX, direction)
        kernel.gates.open(IFINDEX, direction, tunnel=True)
    yield kernel
    kernel.maps.delete("tunnel_ports", IFINDEX)
    for mac in (*FAR.values(), bytes(6)):
        kernel.maps.delete("tunnel_neighbours", place(mac))
    for direction in (0, 1):
        kernel.gates.close(IFINDEX, direction)


def neighbour(kernel: Kernel, mac: bytes, remote: str, vni: int = 0, port: int = 0) -> None:
    value = ffi.new("struct tunnel_neighbour *", (padded(remote), socket.htonl(vni), socket.htons(port), 4, 0))
    kernel.maps.update("tunnel_neighbours", place(mac), value)


def ends(sample, direction: int) -> tuple[bytes, bytes]:
    """Local and remote address: the outer source and destination of what leaves."""
    found = bytes(sample.key.tunnel.src_addr), bytes(sample.key.tunnel.dst_addr)
    return found if direction else found[::-1]


@pytest.mark.parametrize("program", PROGRAMS)
def test_by_the_link(netdev, program):
    describe(netdev)
    sample = netdev.sample(program, FRAME)
    tunnel = sample.key.tunnel
    assert ends(sample, PROGRAMS[program]) == (padded(LOCAL), padded(REMOTE))
    assert (tunnel.type, tunnel.key_length, tunnel.key, tunnel.protocol) == (lib.TUNNEL_VXLAN, 3, be64(VNI), 17)
    assert (tunnel.ip_version, tunnel.src_port, socket.ntohs(tunnel.dst_port)) == (4, 0, 4789)
    ffi.memmove(ffi.addressof(sample.key, "tunnel"), bytes(48), 48)
    assert octets(sample) == octets(parse(FRAME))


@pytest.mark.parametrize("program", PROGRAMS)
def test_by_the_forwarding_database(netdev, program):
    """The far side's address decides, before the link's own remote."""
    direction = PROGRAMS[program]
    describe(netdev, flags=lib.TUNNEL_PORT_NEIGHBOURS)
    neighbour(netdev, FAR[1 - direction], "192.0.2.99")
    assert ends(netdev.sample(program, FRAME), direction) == (padded(LOCAL), padded(REMOTE))
    neighbour(netdev, FAR[direction], OTHER, vni=7, port=4790)
    sample = netdev.sample(program, FRAME)
    assert ends(sample, direction) == (padded(LOCAL), padded(OTHER))
    # Another VNI or port is that of what is sent there.
    assert sample.key.tunnel.key == be64(7 if direction else VNI)
    assert socket.ntohs(sample.key.tunnel.dst_port) == (4790 if direction else 4789)


@pytest.mark.parametrize("program", PROGRAMS)
def test_unknown_addresses_go_where_all_of_them_go(netdev, program):
    direction = PROGRAMS[program]
    describe(netdev, remote=None, flags=lib.TUNNEL_PORT_NEIGHBOURS)
    neighbour(netdev, bytes(6), OTHER)
    sample = netdev.sample(program, FRAME)
    if direction:
        assert ends(sample, direction) == (padded(LOCAL), padded(OTHER))
    else:
        assert (sample.key.tunnel.type, sample.meta.tunnel_miss) == (0, lib.TUNNEL_MISS_REMOTE)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("known", ["nothing", "no remote", "metadata that is not there"])
def test_without_a_remote_there_is_no_tunnel(netdev, program, known):
    """The packet as it is, and one more under the cause's name."""
    if known != "nothing":
        flags = lib.TUNNEL_PORT_EXTERNAL if known.startswith("metadata") else lib.TUNNEL_PORT_NEIGHBOURS
        describe(netdev, remote=None, flags=flags)
    before, _ = netdev.gates.counters()
    sample = netdev.sample(program, FRAME)
    plain = parse(FRAME)
    plain.meta.tunnel_miss = lib.TUNNEL_MISS_REMOTE
    assert octets(sample) == octets(plain)
    assert netdev.gates.counters()[0]["tunnel_remote"] == before["tunnel_remote"] + 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_unknown_local_address_is_zero(netdev, program):
    describe(netdev, local=None)
    assert ends(netdev.sample(program, FRAME), PROGRAMS[program]) == (bytes(16), padded(REMOTE))
