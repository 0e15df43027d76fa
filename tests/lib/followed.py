"""Tunnel netdevs of a namespace, followed into kernel maps that this process holds, as the service does it."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, Self

from lib.netns import Namespace
from lib.tunnelmaps import Kernel
from lib.wait import PATIENCE
from sampler.daemon.links import Links
from sampler.kernel.maps import Maps
from sampler.tunnels.follower import TunnelFollower
from sampler.tunnels.ports import TunnelPorts
from sampler.tunnels.subscription import RECEIVE_BUFFER


class Followed:
    """Follows the current namespace into kernel maps of its own, as the service does."""

    def __init__(self, receive_buffer: int = RECEIVE_BUFFER) -> None:
        self._receive_buffer = receive_buffer
        self._maps = Maps()
        self._links = Links()

    async def __aenter__(self) -> Self:
        self.tunnels = TunnelFollower(self._maps, TunnelPorts(), self._receive_buffer)
        seen = asyncio.Event()
        self._task = asyncio.create_task(self._follow(seen))
        await seen.wait()
        await self.tunnels.settled()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.tunnels.close()
        self._maps.close()

    async def _follow(self, seen: asyncio.Event) -> None:
        async for _ in self._links.changes():
            self.tunnels.set_links(self._links.table.links)
            seen.set()

    def kernel(self) -> Kernel:
        """The maps as they are now, read by bpftool."""
        return Kernel(os.getpid())

    async def until(self, condition: Callable[[Kernel], Any], timeout: float = 10) -> Kernel:
        """Give the kernel's maps once the condition holds of them."""

        async def poll() -> Kernel:
            while not condition(kernel := self.kernel()):
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.01)
            return kernel

        try:
            return await asyncio.wait_for(poll(), timeout * PATIENCE)
        except TimeoutError:
            raise AssertionError(f"{self.tunnels.table.rows()}, {self.kernel().neighbours()}") from None


def inside(namespace: Namespace, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in the namespace."""
    with namespace.enter():
        asyncio.run(scenario())


def padded(address: str) -> bytes:
    """An address as the maps hold it."""
    return ip_address(address).packed.ljust(16, b"\0")


def end(address: str, vni: int = 0, port: int = 0) -> tuple[bytes, int, int, int]:
    """A remote as Kernel.neighbours gives it."""
    return padded(address), vni, port, ip_address(address).version
