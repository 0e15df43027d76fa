"""Tunnel netdevs of every kind, and IPsec over GRE, followed into the kernel's maps."""

from typing import Any

import pytest

from lib.followed import Followed, inside, padded
from lib.netns import Namespace
from lib.tunnelmaps import Kernel, number
from sampler._native import lib

MODULES = ("geneve", "ip_gre", "ip6_gre", "esp4")

V4 = ("local", "192.0.2.1", "remote", "192.0.2.2")
V6 = ("local", "2001:db8::1", "remote", "2001:db8::2")
ENDS4 = (padded("192.0.2.1"), 4, padded("192.0.2.2"), 4)
ENDS6 = (padded("2001:db8::1"), 6, padded("2001:db8::2"), 6)
NONE = (bytes(16), 0, bytes(16), 0)
GRE = (lib.TUNNEL_GRE, 4, 47)
ERSPAN = (lib.TUNNEL_GRE, 2, 47)
GENEVE = (lib.TUNNEL_GENEVE, 3, 17)
EXTERNAL = lib.TUNNEL_PORT_EXTERNAL

# What a link is made with; type, key length and protocol; ends; keys in and out; port; flags.
KINDS: dict[str, tuple[tuple[str, ...], Any, Any, tuple[int, int], int, int]] = {
    "geneve": (
        ("geneve", "id", "5000", "remote", "192.0.2.2", "dstport", "6099"),
        *(GENEVE, (bytes(16), 0, padded("192.0.2.2"), 4), (5000, 5000), 6099, 0),
    ),
    "geneve6": (
        ("geneve", "id", "16777215", "remote", "2001:db8::2"),
        *(GENEVE, (bytes(16), 0, padded("2001:db8::2"), 6), (0xFFFFFF, 0xFFFFFF), 6081, 0),
    ),
    "geneve external": (("geneve", "external", "dstport", "6099"), GENEVE, NONE, (0, 0), 6099, EXTERNAL),
    "gre": (("gre", *V4, "ikey", "7", "okey", "8"), GRE, ENDS4, (7, 8), 0, 0),
    "gretap": (("gretap", *V4), GRE, ENDS4, (0, 0), 0, 0),
    "gretap external": (("gretap", "external"), GRE, NONE, (0, 0), 0, EXTERNAL),
    "ip6gre": (("ip6gre", *V6, "key", "16909060"), GRE, ENDS6, (0x01020304, 0x01020304), 0, 0),
    "ip6gretap": (("ip6gretap", *V6, "key", "99"), GRE, ENDS6, (99, 99), 0, 0),
    "ip6gretap external": (("ip6gretap", "external"), GRE, NONE, (0, 0), 0, EXTERNAL),
    "erspan": (("erspan", "seq", "key", "30", *V4, "erspan_ver", "1", "erspan", "123"), ERSPAN, ENDS4, (30, 30), 0, 0),
    "erspan external": (("erspan", "external"), ERSPAN, NONE, (0, 0), 0, EXTERNAL),
    "ip6erspan": (
        ("ip6erspan", "seq", "key", "31", *V6, "erspan_ver", "2", "erspan_dir", "ingress", "erspan_hwid", "17"),
        *(ERSPAN, ENDS6, (31, 31), 0, 0),
    ),
}


def described(kernel: Kernel, ifindex: int) -> tuple[Any, ...]:
    port = kernel.port(ifindex)
    return (
        (port.type, port.key_length, port.protocol),
        (bytes(port.local), port.local_version, bytes(port.remote), port.remote_version),
        (number(port, "key_in"), number(port, "key_out")),
        number(port, "port"),
        port.flags,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str) -> None:
    words, *expected = KINDS[kind]

    async def scenario() -> None:
        async with Followed() as followed:
            ifindex = namespace.add("t0", *words)
            kernel = await followed.until(lambda kernel: ifindex in kernel.ports())
            assert described(kernel, ifindex) == tuple(expected)
            port = expected[3]
            assert isinstance(port, int)
            assert not port or kernel.types()[port] == lib.TUNNEL_GENEVE
            namespace.run("ip", "link", "del", "t0")
            await followed.until(lambda kernel: ifindex not in kernel.ports())

    with Namespace() as namespace:
        inside(namespace, scenario)


def test_changes_of_gre_and_geneve() -> None:
    async def scenario() -> None:
        async with Followed() as followed:
            g0 = namespace.add("g0", "gretap", *V4, "key", "7")
            gn0 = namespace.add("gn0", "geneve", "id", "5000", "remote", "192.0.2.2")
            await followed.until(lambda kernel: {g0, gn0} <= kernel.ports())
            namespace.run("ip", "link", "set", "g0", "type", "gretap", "remote", "192.0.2.3", "okey", "9")
            kernel = await followed.until(lambda kernel: number(kernel.port(g0), "key_out") == 9)
            assert bytes(kernel.port(g0).remote) == padded("192.0.2.3")
            namespace.run("ip", "link", "set", "gn0", "type", "geneve", "id", "5000", "remote", "192.0.2.4")
            await followed.until(lambda kernel: bytes(kernel.port(gn0).remote) == padded("192.0.2.4"))

    with Namespace() as namespace:
        inside(namespace, scenario)


HERE, THERE = "192.0.2.1", "192.0.2.2"
OUT = ("src", HERE, "dst", THERE)
BACK = ("src", THERE, "dst", HERE)
KEY = ("enc", "aes", "0x000102030405060708090a0b0c0d0e0f", "auth", "sha1", "0x00")


def test_ipsec() -> None:
    """Policies and states, one after the other, as an administrator or a daemon for key exchange would."""

    def xfrm(*words: str) -> None:
        namespace.run("ip", "xfrm", *words)

    def state(*words: str, spi: str = "0x1001", ends: tuple[str, ...] = BACK) -> None:
        xfrm("state", "add", *ends, "proto", "esp", "spi", spi, "mode", "transport", *words, *KEY)

    async def scenario() -> None:
        async with Followed() as followed:
            g0 = namespace.add("g0", "gre", *V4)

            async def until(kind: int) -> None:
                await followed.until(lambda kernel: g0 in kernel.ports() and kernel.port(g0).type == kind, timeout=60)

            await until(lib.TUNNEL_GRE)
            # A state names GRE: what comes by it is GRE in IPsec. In the other direction only a policy sends into it.
            state("sel", "proto", "gre")
            await until(lib.TUNNEL_IPSEC_GRE)
            xfrm("state", "delete", *BACK, "proto", "esp", "spi", "0x1001")
            await until(lib.TUNNEL_GRE)
            # A state of nobody's protocol, explained by a policy for TCP.
            template = ("tmpl", *BACK, "proto", "esp", "mode", "transport")
            xfrm("policy", "add", *BACK, "proto", "tcp", "dir", "in", *template)
            state()
            state(spi="0x1002", ends=OUT)
            xfrm("policy", "add", *OUT, "proto", "gre", "dir", "out", "action", "block")  # a mark in the sequence
            assert followed.kernel().port(g0).type == lib.TUNNEL_GRE
            xfrm("policy", "delete", *OUT, "proto", "gre", "dir", "out")
            # The policy goes: now the state may carry anything.
            xfrm("policy", "delete", *BACK, "proto", "tcp", "dir", "in")
            await until(lib.TUNNEL_IPSEC_GRE)
            xfrm("state", "flush", "proto", "ah")
            xfrm("state", "flush", "proto", "esp")
            await until(lib.TUNNEL_GRE)
            # A state whose time is up.
            state("limit", "time-hard", "1")
            await until(lib.TUNNEL_IPSEC_GRE)
            await until(lib.TUNNEL_GRE)
            # And the usual case.
            xfrm("policy", "add", *OUT, "proto", "gre", "dir", "out", "tmpl", *OUT, "proto", "esp", "mode", "transport")
            await until(lib.TUNNEL_IPSEC_GRE)
            assert followed.tunnels.stats()["security_resyncs"] == 0

    with Namespace() as namespace:
        inside(namespace, scenario)
