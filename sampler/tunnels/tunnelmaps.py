"""Writes what sampler.tunnels.tunneltable says into the kernel maps, and keeps account of what has no room there."""

import logging
from collections.abc import Iterable

from sampler.kernel.maps import Maps
from sampler.tunnels.tunneltable import MapChange

log = logging.getLogger(__name__)


class TunnelMaps:
    """The maps port_tunnels, tunnel_ports and tunnel_neighbours."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._refused: dict[tuple[str, bytes], bytes | None] = {}

    @property
    def refused(self) -> int:
        """Entries that the kernel has no room for."""
        return len(self._refused)

    def write(self, changes: Iterable[MapChange]) -> None:
        """Write them. What the kernel refuses is tried again the next time, for something else may have gone."""
        before = len(self._refused)
        for change in changes:
            self._refused.pop((change.map, change.key), None)
            self._put(change.map, change.key, change.value)
        if before:
            for (name, key), value in list(self._refused.items()):
                if not self._put(name, key, value):
                    break
                del self._refused[name, key]
        elif self._refused:
            log.warning(
                "%d tunnel entries find no room in the kernel's maps: packets of those tunnel ends go out without "
                "their tunnel; `xdpfix show stats` counts the entries",
                len(self._refused),
            )

    def _put(self, name: str, key: bytes, value: bytes | None) -> bool:
        try:
            if value is None:
                self._maps.delete(name, key)
            else:
                self._maps.update(name, key, value)
        except OSError:
            self._refused[name, key] = value
            return False
        return True
