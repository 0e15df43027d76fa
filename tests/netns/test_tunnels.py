"""Tunnel netdevs followed in real namespaces: what links, forwarding databases and IPsec leave in the kernel's maps.

Where the kernel has GRE, each namespace has its gre0 and the like beside the netdevs of the test.
"""

import asyncio
import json
import os
import socket

import pytest

from lib.followed import Followed, end, inside, padded
from lib.netns import Namespace
from lib.tunnelmaps import GRE, Kernel, number
from lib.wait import PATIENCE
from sampler._native import lib
from sampler.daemon.linktable import Link
from sampler.kernel.maps import Maps
from sampler.tunnels.follower import TunnelFollower
from sampler.tunnels.neighbourtable import UNKNOWN_MAC
from sampler.tunnels.ports import TunnelPorts

SMALL_BUFFER = 2048
MAC = bytes.fromhex("020000000001")


def fdb(namespace: Namespace, *words: str) -> None:
    namespace.run("bridge", "fdb", *words)


def greet(namespace: Namespace, address: str) -> None:
    """Send a datagram: the kernel asks who has the address first, and learns from the answer."""
    with namespace.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", (address, 9))


def test_a_fixed_remote(namespace: Namespace) -> None:
    async def scenario() -> None:
        async with Followed() as followed:
            vx0 = namespace.add(
                *("vx0", "vxlan", "id", "5000", "dstport", "4799", "local", "192.0.2.1", "remote", "192.0.2.2")
            )
            vx6 = namespace.add("vx6", "vxlan", "id", "6", "dstport", "4789", "remote", "2001:db8::2")
            kernel = await followed.until(lambda kernel: len(kernel.neighbours()) == 2)
            port = kernel.port(vx0)
            assert (bytes(port.local), bytes(port.remote)) == (padded("192.0.2.1"), padded("192.0.2.2"))
            assert (number(port, "key_in"), number(port, "key_out"), number(port, "port")) == (5000, 5000, 4799)
            assert (port.type, port.key_length, port.protocol) == (lib.TUNNEL_VXLAN, 3, 17)
            assert port.flags == lib.TUNNEL_PORT_NEIGHBOURS
            assert (kernel.port(vx6).local_version, kernel.port(vx6).remote_version) == (0, 6)
            # The kernel puts a link's remote into its database.
            assert kernel.neighbours() == {
                (vx0, 5000, UNKNOWN_MAC): end("192.0.2.2"),
                (vx6, 6, UNKNOWN_MAC): end("2001:db8::2"),
            }
            assert kernel.types()[4799] == lib.TUNNEL_VXLAN

    inside(namespace, scenario)


def test_external_mode(namespace: Namespace) -> None:
    """The set-up of EVPN with one device: a VNI for each entry."""

    async def scenario() -> None:
        async with Followed() as followed:
            vx0 = namespace.add("vx0", "vxlan", "external", "dstport", "4789", "local", "192.0.2.1", "nolearning")
            gpe = namespace.add("gpe0", "vxlan", "external", "gpe", "dstport", "4790")
            fdb(namespace, "add", "02:00:00:00:00:01", "dev", "vx0", "dst", "192.0.2.7", "src_vni", "100")
            fdb(namespace, "add", "02:00:00:00:00:01", "dev", "vx0", "dst", "192.0.2.8", "src_vni", "200", "vni", "201")
            kernel = await followed.until(lambda kernel: len(kernel.neighbours()) == 2)
            assert kernel.neighbours() == {
                (vx0, 100, MAC): end("192.0.2.7"),
                (vx0, 200, MAC): end("192.0.2.8", vni=201),
            }
            external = lib.TUNNEL_PORT_EXTERNAL
            assert kernel.port(vx0).flags == external | lib.TUNNEL_PORT_NEIGHBOURS
            assert bytes(kernel.port(vx0).local) == padded("192.0.2.1")
            assert kernel.port(gpe).flags == external
            assert kernel.types()[4790] == lib.TUNNEL_VXLAN

    inside(namespace, scenario)


def test_static_entries_and_flood_lists(namespace: Namespace) -> None:
    async def scenario() -> None:
        vx0 = namespace.add("vx0", "vxlan", "id", "7", "dstport", "4789", "nolearning")
        fdb(namespace, "add", "02:00:00:00:00:01", "dev", "vx0", "dst", "192.0.2.7")
        async with Followed() as followed:
            known = {(vx0, 7, MAC): end("192.0.2.7")}
            assert followed.kernel().neighbours() == known  # there before us
            fdb(namespace, "append", "00:00:00:00:00:00", "dev", "vx0", "dst", "192.0.2.8")
            flood = {(vx0, 7, UNKNOWN_MAC): end("192.0.2.8")}
            await followed.until(lambda kernel: kernel.neighbours() == known | flood)
            fdb(namespace, "append", "00:00:00:00:00:00", "dev", "vx0", "dst", "192.0.2.9")
            await followed.until(lambda kernel: kernel.neighbours() == known)
            fdb(namespace, "del", "00:00:00:00:00:00", "dev", "vx0", "dst", "192.0.2.9")
            await followed.until(lambda kernel: kernel.neighbours() == known | flood)
            fdb(namespace, "replace", "02:00:00:00:00:01", "dev", "vx0", "dst", "192.0.2.3", "port", "99", "vni", "8")
            known = {(vx0, 7, MAC): end("192.0.2.3", vni=8, port=99)}
            await followed.until(lambda kernel: kernel.neighbours() == known | flood)
            namespace.run("ip", "nexthop", "add", "id", "1", "via", "192.0.2.4", "fdb")
            namespace.run("ip", "nexthop", "add", "id", "2", "group", "1", "fdb")
            fdb(namespace, "del", "02:00:00:00:00:01", "dev", "vx0")
            fdb(namespace, "add", "02:00:00:00:00:01", "dev", "vx0", "nhid", "2")
            await followed.until(lambda kernel: kernel.neighbours() == flood)
            fdb(namespace, "del", "00:00:00:00:00:00", "dev", "vx0", "dst", "192.0.2.8")
            await followed.until(lambda kernel: kernel.neighbours() == {})
            assert followed.tunnels.stats()["neighbour_resyncs"] == 0

    inside(namespace, scenario)


def test_what_is_learned(pair: tuple[Namespace, Namespace]) -> None:
    """And what that says of the link's own remote: a second end, and packets may be from either."""
    here, there = pair
    third = "02:00:00:00:03:03"
    vxlan = ("vxlan", "id", "7", "dstport", "4789")
    vx0 = here.add("vx0", *vxlan, "local", "192.0.2.1", "remote", "192.0.2.2", address="198.51.100.1/24")
    there.add("vx0", *vxlan, "local", "192.0.2.2", "remote", "192.0.2.1", address="198.51.100.2/24")
    (link,) = json.loads(there.run("ip", "-json", "link", "show", "dev", "vx0").stdout)
    mac = bytes.fromhex(link["address"].replace(":", ""))

    async def scenario() -> None:
        async with Followed() as followed:
            greet(here, "198.51.100.2")
            kernel = await followed.until(lambda kernel: (vx0, 7, mac) in kernel.neighbours())
            assert kernel.neighbours() == {(vx0, 7, UNKNOWN_MAC): end("192.0.2.2"), (vx0, 7, mac): end("192.0.2.2")}
            assert kernel.port(vx0).remote_version == 4
            fdb(here, "add", third, "dev", "vx0", "dst", "192.0.2.3")
            await followed.until(lambda kernel: kernel.port(vx0).remote_version == 0)
            fdb(here, "del", third, "dev", "vx0")
            await followed.until(lambda kernel: kernel.port(vx0).remote_version == 4)

    inside(here, scenario)


def test_a_multicast_group_is_where_packets_go(namespace: Namespace) -> None:
    async def scenario() -> None:
        async with Followed() as followed:
            namespace.add("d0", "bridge", address="192.0.2.1/24")
            vx0 = namespace.add("vx0", "vxlan", "id", "7", "dstport", "4789", "group", "233.252.0.1", "dev", "d0")
            kernel = await followed.until(lambda kernel: kernel.neighbours())
            assert kernel.neighbours() == {(vx0, 7, UNKNOWN_MAC): end("233.252.0.1")}
            assert kernel.port(vx0).remote_version == 0

    inside(namespace, scenario)


def test_changes_of_the_link(namespace: Namespace) -> None:
    async def scenario() -> None:
        async with Followed() as followed:
            vxlan = ("vxlan", "dstport", "4799", "remote", "192.0.2.2")
            vx0 = namespace.add("vx0", *vxlan, "id", "7")
            await followed.until(lambda kernel: list(kernel.neighbours()) == [(vx0, 7, UNKNOWN_MAC)])
            namespace.run("ip", "link", "set", "vx0", "type", "vxlan", "remote", "192.0.2.9", "local", "192.0.2.1")
            kernel = await followed.until(lambda kernel: bytes(kernel.port(vx0).remote) == padded("192.0.2.9"))
            assert bytes(kernel.port(vx0).local) == padded("192.0.2.1")
            await followed.until(lambda kernel: list(kernel.neighbours().values()) == [end("192.0.2.9")])

            namespace.run("ip", "link", "set", "vx0", "down")
            namespace.run("ip", "link", "set", "vx0", "name", "other")
            await followed.until(lambda _: "other" in [row["name"] for row in followed.tunnels.table.rows()])
            assert vx0 in followed.kernel().ports()

            # Another VNI: another link, here even with the same number.
            namespace.run("ip", "link", "del", "other")
            namespace.run("ip", "link", "add", "vx0", "index", str(vx0), "type", *vxlan, "id", "8")
            await followed.until(lambda kernel: list(kernel.neighbours()) == [(vx0, 8, UNKNOWN_MAC)])
            assert number(followed.kernel().port(vx0), "key_in") == 8

            namespace.run("ip", "link", "del", "vx0")
            kernel = await followed.until(lambda kernel: vx0 not in kernel.ports())
            assert kernel.neighbours() == {}
            assert kernel.types()[4799] == 0
            assert kernel.types()[4789] == lib.TUNNEL_VXLAN  # configured

    inside(namespace, scenario)


def test_a_netdev_that_moves_takes_its_entries_along(namespace: Namespace) -> None:
    async def scenario() -> None:
        with Namespace() as other:
            async with Followed() as followed:
                vx0 = namespace.add("vx0", "vxlan", "id", "7", "dstport", "4799", "remote", "192.0.2.2")
                fdb(namespace, "add", "02:00:00:00:00:01", "dev", "vx0", "dst", "192.0.2.7")
                kernel = await followed.until(lambda kernel: len(kernel.neighbours()) == 2)
                before = kernel.neighbours()
                namespace.move("vx0", other)
                kernel = await followed.until(lambda kernel: vx0 not in kernel.ports())
                assert kernel.neighbours() == {}
                other.run("ip", "link", "set", "vx0", "netns", f"/proc/self/fd/{namespace.fd}", pass_fds=[namespace.fd])
                assert namespace.ifindex("vx0") == vx0
                # Nothing tells of the entries: they were there when it came.
                await followed.until(lambda kernel: kernel.neighbours() == before)

                other.add("vx1", "vxlan", "id", "8", "dstport", "4798")
                other.move("vx1", namespace)
                vx1 = namespace.ifindex("vx1")
                kernel = await followed.until(lambda kernel: {vx0, vx1} <= kernel.ports())
                assert kernel.types()[4799] == lib.TUNNEL_VXLAN
                assert kernel.types()[4798] == 0  # its underlay is in the other namespace still

    inside(namespace, scenario)


def test_arp_and_bridges_do_not_burden_it(namespace: Namespace) -> None:
    """Thousands of neighbours of other kinds, and room for two messages: none is lost, for none is kept."""
    hosts = range(2000)

    async def scenario() -> None:
        bridge = namespace.add("br0", "bridge", address="198.51.100.1/16")
        vx0 = namespace.add("vx0", "vxlan", "id", "7", "dstport", "4789", "remote", "192.0.2.2")
        namespace.run("ip", "link", "set", "vx0", "master", "br0")
        assert bridge
        async with Followed(receive_buffer=SMALL_BUFFER) as followed:
            known = followed.kernel().neighbours()
            addresses = [f"198.51.{host >> 8}.{host & 255}" for host in range(300, 300 + len(hosts))]
            macs = [f"02:01:00:00:{host >> 8:02x}:{host & 255:02x}" for host in hosts]
            lines = [f"neigh add {a} lladdr {m} dev br0" for a, m in zip(addresses, macs, strict=True)]
            namespace.run("ip", "-batch", "-", input="\n".join(lines))
            namespace.run("bridge", "-batch", "-", input="\n".join(f"fdb add {mac} dev vx0 master" for mac in macs))
            fdb(namespace, "add", "02:00:00:00:00:01", "dev", "vx0", "dst", "192.0.2.7")
            await followed.until(lambda kernel: kernel.neighbours() == known | {(vx0, 7, MAC): end("192.0.2.7")})
            assert followed.tunnels.stats()["neighbour_resyncs"] == 0

    inside(namespace, scenario)


def test_a_flood_beyond_the_socket_ends_in_the_truth(namespace: Namespace) -> None:
    """The event loop stands still while thousands of messages meet a socket of 2 KiB."""

    async def scenario() -> None:
        vx0 = namespace.add("vx0", "vxlan", "id", "7", "dstport", "4789")
        async with Followed(receive_buffer=SMALL_BUFFER) as followed:
            macs = [f"02:00:00:00:{host >> 8:02x}:{host & 255:02x}" for host in range(3000)]
            lines = [f"fdb add {mac} dev vx0 dst 192.0.2.7" for mac in macs]
            lines += [f"fdb del {mac} dev vx0" for mac in macs[:-10]]
            lines += [f"fdb replace {mac} dev vx0 dst 192.0.2.8" for mac in macs[-5:]]
            namespace.run("bridge", "-batch", "-", input="\n".join(lines))
            place = {mac: (vx0, 7, bytes.fromhex(mac.replace(":", ""))) for mac in macs}
            expected = {place[mac]: end("192.0.2.7") for mac in macs[-10:-5]}
            expected |= {place[mac]: end("192.0.2.8") for mac in macs[-5:]}
            await followed.until(lambda kernel: kernel.neighbours() == expected)
            assert followed.tunnels.stats()["neighbour_resyncs"] >= 1
            fdb(namespace, "add", "02:01:00:00:00:01", "dev", "vx0", "dst", "192.0.2.9")
            await followed.until(lambda kernel: len(kernel.neighbours()) == len(expected) + 1)

    inside(namespace, scenario)


def test_ten_thousand_entries(namespace: Namespace) -> None:
    """As events, then as a dump."""
    count = 10_000

    async def scenario() -> None:
        namespace.add("vx0", "vxlan", "id", "7", "dstport", "4789")
        async with Followed() as followed:
            lines = [
                f"fdb add 02:00:00:00:{host >> 8:02x}:{host & 255:02x} dev vx0 dst 192.0.2.7" for host in range(count)
            ]
            await asyncio.to_thread(namespace.run, "bridge", "-batch", "-", input="\n".join(lines))
            # The kernel's map is read once: bpftool writes out 10 000 entries.
            await followed.until(lambda _: followed.tunnels.table.counts["neighbours"] == count, timeout=60)
        async with Followed() as followed:
            # The start does not wait for all of them on a loaded machine.
            await followed.until(lambda _: followed.tunnels.table.counts["neighbours"] == count, timeout=60)
            assert len(followed.kernel().neighbours()) == count

    inside(namespace, scenario)


def test_descriptors_are_there_only_while_there_is_a_vxlan_netdev(namespace: Namespace) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    async def scenario() -> None:
        async with Followed() as followed:
            before = descriptors()
            for _ in range(5):
                namespace.add("vx0", "vxlan", "id", "7", "dstport", "4789", "remote", "192.0.2.2")
                await followed.until(lambda kernel: kernel.neighbours())
                assert descriptors() > before
                namespace.run("ip", "link", "del", "vx0")
                await followed.until(lambda kernel: descriptors() == before)

    inside(namespace, scenario)


@pytest.fixture
def gre() -> tuple[Link, ...]:
    """A GRE netdev, which kernels of tests need not have: IPsec follows it all the same."""
    return (Link(5, "g0", "gretap", tunnel=GRE),)


POLICY = ("src", "192.0.2.1/32", "dst", "192.0.2.9/32")
TEMPLATE = ("dir", "out", "tmpl", "proto", "esp", "mode", "transport")


def test_ipsec_is_followed(namespace: Namespace, gre: tuple[Link, ...]) -> None:
    def policy(*words: str) -> None:
        namespace.run("ip", "xfrm", "policy", *words)

    async def scenario() -> None:
        with Maps() as maps:
            tunnels = TunnelFollower(maps, TunnelPorts())

            async def until(kind: int) -> None:
                async def poll() -> None:
                    while Kernel(os.getpid()).port(5).type != kind:
                        await asyncio.sleep(0.01)

                await asyncio.wait_for(poll(), 10 * PATIENCE)

            policy("add", *POLICY, "proto", "tcp", *TEMPLATE)
            tunnels.set_links(gre)
            await tunnels.settled()
            await until(lib.TUNNEL_GRE)
            policy("add", *POLICY, "proto", "gre", *TEMPLATE)
            await until(lib.TUNNEL_IPSEC_GRE)
            policy("update", *POLICY, "proto", "gre", "dir", "out", "action", "block")
            await until(lib.TUNNEL_GRE)
            policy("update", *POLICY, "proto", "gre", *TEMPLATE)
            await until(lib.TUNNEL_IPSEC_GRE)
            policy("delete", *POLICY, "proto", "gre", "dir", "out")
            await until(lib.TUNNEL_GRE)
            policy("add", "src", "192.0.2.0/24", "dst", "0.0.0.0/0", *TEMPLATE, "limit", "time-hard", "1")
            await until(lib.TUNNEL_IPSEC_GRE)
            await until(lib.TUNNEL_GRE)  # its time was up
            policy("add", "src", "192.0.2.0/24", "dst", "0.0.0.0/0", *TEMPLATE)
            await until(lib.TUNNEL_IPSEC_GRE)
            policy("flush")
            await until(lib.TUNNEL_GRE)
            assert tunnels.stats()["security_resyncs"] == 0
            # Where there is no GRE netdev nothing is followed; what happened meanwhile is dumped.
            tunnels.set_links(())
            policy("add", *POLICY, "proto", "gre", *TEMPLATE)
            tunnels.set_links(gre)
            await until(lib.TUNNEL_IPSEC_GRE)
            await tunnels.close()

    inside(namespace, scenario)


def test_a_place_held_for_a_key_exchange_protects_nothing(namespace: Namespace, gre: tuple[Link, ...]) -> None:
    async def scenario() -> None:
        with Maps() as maps:
            tunnels = TunnelFollower(maps, TunnelPorts())
            ends = ("src", "192.0.2.9", "dst", "192.0.2.1", "proto", "esp", "mode", "transport")
            namespace.run("ip", "xfrm", "state", "allocspi", *ends, "reqid", "5", "min", "0x100", "max", "0x200")
            tunnels.set_links(gre)
            await tunnels.settled()
            assert Kernel(os.getpid()).port(5).type == lib.TUNNEL_GRE
            await tunnels.close()

    inside(namespace, scenario)


def test_only_its_own_namespace(pair: tuple[Namespace, Namespace]) -> None:
    here, there = pair

    async def scenario() -> None:
        async with Followed() as followed:
            before = followed.kernel().ports()
            there.add("vx9", "vxlan", "id", "9", "dstport", "4799", "remote", "192.0.2.1")
            vx0 = here.add("vx0", "vxlan", "id", "7", "dstport", "4789")
            kernel = await followed.until(lambda kernel: vx0 in kernel.ports())
            assert kernel.ports() == before | {vx0}
            assert kernel.types()[4799] == 0

    inside(here, scenario)
