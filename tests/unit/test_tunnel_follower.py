"""The tunnel follower at the start: what it waits for, and what it says when that takes too long."""

import asyncio
import logging
from typing import Any

import pytest

from lib.tunnelmaps import GRE, VXLAN
from sampler.daemon.linktable import Link
from sampler.tunnels import follower
from sampler.tunnels.follower import TunnelFollower
from sampler.tunnels.neighbours import Neighbours
from sampler.tunnels.ports import TunnelPorts
from sampler.tunnels.security import Security

LINKS = (Link(4, "vx0", "vxlan", tunnel=VXLAN), Link(5, "g0", "gre", l3=True, tunnel=GRE))
NEIGHBOURS = (
    "vxlan forwarding entries are not read after 0.01 s, sampling begins without them: until they are, packets on "
    'vxlan interfaces without a fixed remote go out without their tunnel and are counted as "remote"'
)
SECURITY = (
    "IPsec policies and states are not read after 0.01 s, sampling begins without them: until they are, GRE under "
    "IPsec is exported as plain GRE"
)


class NoMaps:
    """Kernel maps that take everything."""

    def update(self, *_: Any) -> None:
        pass

    delete = update


class Silent:
    """A netlink socket on which nothing arrives."""

    async def get(self) -> Any:
        await asyncio.Event().wait()
        yield

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("slow", "sentences"),
    [((Neighbours, Security), [NEIGHBOURS, SECURITY]), ((Neighbours,), [NEIGHBOURS]), ((), [])],
)
def test_what_is_not_read_in_time_is_told(
    slow: tuple[type, ...],
    sentences: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def open_(_: Any) -> Any:
        return Silent()

    async def never(_: Any) -> bool:
        await asyncio.Event().wait()
        return False

    async def at_once(_: Any) -> bool:
        return True

    if slow:  # else as long as it takes
        monkeypatch.setattr(follower, "SETTLE_TIMEOUT", 0.01)
    for followed in (Neighbours, Security):
        monkeypatch.setattr(followed, "_open", open_)
        monkeypatch.setattr(followed, "_dump", never if followed in slow else at_once)

    async def run() -> None:
        tunnels = TunnelFollower(NoMaps(), TunnelPorts())  # type: ignore[arg-type]
        tunnels.set_links(LINKS)
        if Security not in slow:
            await tunnels._security.settled()  # however loaded the machine is
        await tunnels.settled()
        await tunnels.close()

    with caplog.at_level(logging.INFO, "sampler"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == sentences
