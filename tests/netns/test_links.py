"""Following real links by netlink, in a namespace: every kind of change, and a flood that netlink cannot hold."""

import asyncio
import socket
from pathlib import Path

from pyroute2 import AsyncIPRoute

from lib.netns import Namespace
from lib.wait import PATIENCE
from sampler.daemon.links import Links, dump
from sampler.daemon.linktable import Appeared, Changed, Gone, Moved, Renamed, overlaps


class Follower:
    """Follows the links of the current namespace and keeps what it was told."""

    def __init__(self, **options):
        self.links = Links(**options)
        self.seen = []
        self._task = None

    async def __aenter__(self):
        self._task = asyncio.create_task(self._follow())
        await self.told(lambda change: isinstance(change, Appeared) and change.link.name == "lo")
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self):
        async for change in self.links.changes():
            self.seen.append(change)

    async def until(self, condition, timeout=10):
        async def poll():
            while not condition():
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.005)

        await asyncio.wait_for(poll(), timeout * PATIENCE)

    async def told(self, predicate):
        await self.until(lambda: any(predicate(change) for change in self.seen))
        return next(change for change in self.seen if predicate(change))

    async def told_of(self, kind, name):
        return await self.told(lambda change: type(change) is kind and change.link.name == name)


def test_links_come_change_and_go(namespace):
    async def scenario():
        async with Follower() as follower:
            namespace.run("ip", "link", "add", "xf0", "type", "veth", "peer", "name", "xf1")
            appeared = await follower.told_of(Appeared, "xf0")
            assert appeared.link.kind == "veth"
            assert not appeared.link.up
            namespace.run("ip", "link", "set", "xf0", "up")
            await follower.told(lambda change: type(change) is Changed and change.link.up)
            namespace.run("ip", "link", "set", "xf0", "down")
            namespace.run("ip", "link", "set", "xf0", "name", "xf7")
            renamed = await follower.told_of(Renamed, "xf7")
            assert renamed.before.name == "xf0"
            namespace.run("ip", "link", "del", "xf7")
            await follower.told_of(Gone, "xf7")
            await follower.told_of(Gone, "xf1")
            assert follower.links.resyncs == 0
            assert [link.name for link in follower.links.table.links] == ["lo"]

    with namespace.enter():
        asyncio.run(scenario())


def test_leaving_a_bridge_is_not_going_away(namespace):
    async def scenario():
        async with Follower() as follower:
            namespace.add("br0", "bridge")
            namespace.add("xf0", "veth", "peer", "name", "xf1")
            namespace.run("ip", "link", "set", "xf0", "master", "br0")
            await follower.told(lambda change: change.link.name == "xf0" and change.link.master)
            links = follower.links.table.links
            assert any("xf0 is a member of br0" in line for line in overlaps(links, [link.ifindex for link in links]))
            namespace.run("ip", "link", "set", "xf0", "nomaster")
            await follower.until(lambda: not any(link.master for link in follower.links.table.links))
            assert not any(isinstance(change, Gone) for change in follower.seen)

    with namespace.enter():
        asyncio.run(scenario())


def test_a_link_that_moves_to_another_namespace(namespace):
    async def scenario():
        with Namespace() as other:
            async with Follower() as follower:
                namespace.add("xf0", "veth", "peer", "name", "xf1")
                await follower.told_of(Appeared, "xf0")
                namespace.move("xf0", other)
                await follower.told_of(Moved, "xf0")

    with namespace.enter():
        asyncio.run(scenario())


def test_only_its_own_namespace(namespace):
    async def scenario():
        with Namespace() as other:
            async with Follower() as follower:
                other.add("xf5", "bridge")
                namespace.add("xf0", "bridge")
                await follower.told_of(Appeared, "xf0")
                assert not any(change.link.name == "xf5" for change in follower.seen)

    with namespace.enter():
        asyncio.run(scenario())


def test_a_flood_beyond_the_socket_ends_in_the_truth(namespace):
    """The event loop stands still while hundreds of messages meet a socket of 2 KiB: ENOBUFS is certain."""
    pairs = 100
    batch = "".join(f"link add a{number} type veth peer name b{number}\n" for number in range(pairs))
    batch += "".join(f"link del a{number}\n" for number in range(pairs - 1))

    async def scenario():
        async with Follower(receive_buffer=2048) as follower:
            namespace.run("ip", "-batch", "-", input=batch)  # blocks the loop on purpose
            last = f"a{pairs - 1}"
            await follower.told_of(Appeared, last)
            assert follower.links.resyncs >= 1
            namespace.run("ip", "link", "add", "after", "type", "bridge")
            await follower.told_of(Appeared, "after")
            await follower.until(lambda: {link.name for link in follower.links.table.links} == expected(last))
            assert set(follower.links.table.links) == set(await dump())

    def expected(last):
        return {"lo", last, last.replace("a", "b"), "after"}

    with namespace.enter():
        asyncio.run(scenario())


def test_messages_may_wait_beyond_what_the_host_allows_everyone(namespace, monkeypatch):
    """net.core.rmem_max is some 200 KiB by default, which hundreds of links at once fill; it is the host's to set."""
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text())
    opened = []

    class Recorded(AsyncIPRoute):
        def __init__(self, **options):
            super().__init__(**options)
            opened.append(self)

    async def scenario():
        async with Follower(receive_buffer=2 * limit):
            # The kernel doubles what it is asked for, and cuts a plain request to the limit first.
            assert opened[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 4 * limit

    monkeypatch.setattr("sampler.daemon.links.AsyncIPRoute", Recorded)
    with namespace.enter():
        asyncio.run(scenario())


def test_vlan_and_tunnel_attributes(namespace):
    namespace.add("xf0", "veth", "peer", "name", "xf1")
    namespace.run("ip", "link", "add", "vx0", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "xf0")
    namespace.run("ip", "link", "add", "vx1", "type", "vxlan", "external", "dstport", "4790")
    with namespace.enter():
        links = {link.name: link for link in asyncio.run(dump())}
    assert links["lo"].loopback
    assert not links["lo"].l3
    assert links["vx0"].lower == links["xf0"].ifindex
    assert links["vx1"].lower == 0
    assert links["xf0"].lower == links["xf1"].ifindex
    assert links["xf0"].mtu == 1500
    assert not any(link.physical for link in links.values())


def test_resyncs_leave_no_descriptor(namespace):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    batch = "".join(f"link set lo mtu {60000 + number}\n" for number in range(60))

    async def scenario():
        async with Follower(receive_buffer=2048) as follower:
            before = descriptors()
            for round_ in range(1, 21):
                namespace.run("ip", "-batch", "-", input=batch)
                await follower.until(lambda round_=round_: follower.links.resyncs >= round_)
                # Back in its loop, with a socket that hears: each change below is told.
                namespace.run("ip", "link", "set", "lo", "mtu", str(1500 + round_))
                await follower.told(lambda change, round_=round_: change.link.mtu == 1500 + round_)
            await follower.until(lambda: descriptors() == before)

    with namespace.enter():
        asyncio.run(scenario())
