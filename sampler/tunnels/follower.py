"""Keeps the kernel side's tunnel maps as links, forwarding databases and IPsec are: the wiring of this package.

Belongs to the main thread. The service tells it the links and the configuration; the rest
it follows itself, in tasks that run while there is a netdev that they matter to.
"""

import asyncio
import logging
from collections.abc import Iterable

from sampler.daemon.linktable import Link
from sampler.kernel.maps import Maps
from sampler.tunnels.neighbours import Neighbours
from sampler.tunnels.ports import TunnelPorts
from sampler.tunnels.security import Security
from sampler.tunnels.subscription import RECEIVE_BUFFER
from sampler.tunnels.tunnelmaps import TunnelMaps
from sampler.tunnels.tunneltable import TunnelTable

log = logging.getLogger(__name__)

# Seconds that the start waits for forwarding databases to be read.
SETTLE_TIMEOUT = 5.0


class TunnelFollower:
    """The tunnel netdevs of this namespace, known to the kernel side.

    Args:
        maps: where the kernel side looks.
        ports: what is configured.
        receive_buffer: octets of netlink messages that may wait.

    """

    def __init__(self, maps: Maps, ports: TunnelPorts, receive_buffer: int = RECEIVE_BUFFER) -> None:
        self.table = TunnelTable(ports)
        self._maps = TunnelMaps(maps)
        self._neighbours = Neighbours(self.table.apply_neighbours, self._write, receive_buffer)
        self._security = Security(self.table.apply_security, self._write, receive_buffer)
        self._write()

    def set_ports(self, ports: TunnelPorts) -> None:
        """Take other configured ports in."""
        self.table.set_ports(ports)
        self._write()

    def set_links(self, links: Iterable[Link]) -> None:
        """Take all links in. When this returns, the kernel knows the tunnel netdevs among them."""
        changed = self.table.set_links(links)
        self._write()
        # A netdev that is new here may have brought its entries along from another namespace.
        self._neighbours.follow(self.table.forwarding, changed)
        self._security.follow(self.table.may_be_protected)

    async def settled(self) -> None:
        """Wait until what belongs to the links is known too, but not for long: what is not is told."""
        reading = asyncio.gather(self._neighbours.settled(), self._security.settled())
        try:
            await asyncio.wait_for(reading, SETTLE_TIMEOUT)
        except TimeoutError:
            for late in (self._neighbours, self._security):
                if not late.known:
                    log.warning(
                        "%s are not read after %g s, sampling begins without them: until they are, %s",
                        late.what,
                        SETTLE_TIMEOUT,
                        late.consequence,
                    )

    async def close(self) -> None:
        """End the tasks. The maps stay as they are."""
        await self._neighbours.close()
        await self._security.close()

    def stats(self) -> dict[str, int]:
        """Figures for `xdpfix show stats`."""
        return self.table.counts | {
            "refused": self._maps.refused,
            "neighbour_resyncs": self._neighbours.resyncs,
            "security_resyncs": self._security.resyncs,
        }

    def _write(self) -> None:
        self._maps.write(self.table.changes())
