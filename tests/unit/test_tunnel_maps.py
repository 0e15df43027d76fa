"""Writing tunnel entries to the kernel: what finds no room is counted, told once, and written when there is room."""

import errno
import logging

import pytest

from sampler.tunnels.tunnelmaps import TunnelMaps
from sampler.tunnels.tunneltable import MapChange

MAP = "tunnel_neighbours"


class SmallMaps:
    """Kernel maps with room for two entries."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}

    def update(self, name: str, key: bytes, value: bytes) -> None:
        if len(self.entries) == 2 and key not in self.entries:
            raise OSError(errno.E2BIG, "no room")
        self.entries[key] = value

    def delete(self, name: str, key: bytes) -> None:
        self.entries.pop(key, None)


def put(key: bytes, value: bytes | None = b"v") -> MapChange:
    return MapChange(MAP, key, value)


def test_entries_beyond_the_room(caplog: pytest.LogCaptureFixture) -> None:
    small = SmallMaps()
    maps = TunnelMaps(small)  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        maps.write([put(b"a"), put(b"b"), put(b"c"), put(b"d"), put(b"e")])
        assert maps.refused == 3
        maps.write([put(b"c", None), put(b"a", b"w")])  # c never was there
        assert maps.refused == 2
    assert small.entries == {b"a": b"w", b"b": b"v"}
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "3 tunnel entries find no room in the kernel's maps"
    ]
    maps.write([put(b"a", None)])
    assert maps.refused == 1
    maps.write([put(b"b", None)])
    assert maps.refused == 0
    assert small.entries == {b"d": b"v", b"e": b"v"}
