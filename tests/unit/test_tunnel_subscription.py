"""A netlink subscription whose socket fails: what is tried again, what is told, and what is given up quietly."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from sampler.tunnels import subscription
from sampler.tunnels.subscription import Subscription


class Socket:
    """Gives messages; an exception among them is raised. Then it is silent."""

    def __init__(self, messages: tuple[Any, ...] = ()) -> None:
        self._messages = list(messages)
        self.closed = False

    async def get(self) -> AsyncIterator[Any]:
        while self._messages:
            message = self._messages.pop(0)
            if isinstance(message, Exception):
                raise message
            yield message
        await asyncio.Event().wait()

    def close(self) -> None:
        self.closed = True


class Numbers(Subscription):
    """Follows numbers; `openings` are the sockets, or errors, of one opening after the other."""

    what = "numbers"
    consequence = "sums are wrong"

    def __init__(self, *openings: Socket | Exception) -> None:
        super().__init__(lambda: self.told.append(list(self.taken)))
        self._openings = list(openings)
        self._dumped = False
        self.taken: list[Any] = []
        self.told: list[list[Any]] = []

    async def _open(self) -> Any:
        opening = self._openings.pop(0)
        if isinstance(opening, Exception):
            raise opening
        return opening

    async def _dump(self) -> bool:
        if self._dumped:
            return False
        self._dumped = True
        self.taken.append("dump")
        return True

    def _forget(self) -> None:
        self._dumped = False

    def _take(self, message: Any) -> None:
        self.taken.append(message)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "RETRY_DELAY", 0)


def follow(numbers: Numbers, taken: list[Any]) -> None:
    """Follow until these were taken."""

    async def run() -> None:
        numbers.start()
        await numbers.settled()

        async def poll() -> None:
            while numbers.told[-1:] != [taken]:
                await asyncio.sleep(0)

        await asyncio.wait_for(poll(), 10)
        await numbers.close()

    asyncio.run(run())


def test_dumped_after_the_subscription_and_then_told() -> None:
    numbers = Numbers(Socket((1, 2, 3)))
    follow(numbers, ["dump", 1, 2, 3])
    assert numbers.told[0] == ["dump"]
    assert numbers.resyncs == 0


def test_lost_messages_are_dumped_anew(caplog: pytest.LogCaptureFixture) -> None:
    first = Socket((1, OSError(errno.ENOBUFS, "No buffer space available")))
    numbers = Numbers(first, OSError(errno.ENOMEM, "Cannot allocate memory"), Socket((2,)))
    follow(numbers, ["dump", 1, "dump", 2])
    assert numbers.resyncs == 2
    assert first.closed
    assert "netlink lost messages of numbers" in caplog.text


def test_a_passing_error_at_the_start_is_no_end() -> None:
    numbers = Numbers(NetlinkError(errno.EBUSY), Socket((1,)))
    follow(numbers, ["dump", 1])


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EPERM, "numbers cannot be followed: [Errno 1] refused; sums are wrong"),
        (errno.EPROTONOSUPPORT, None),  # a kernel without it
    ],
)
def test_what_cannot_be_opened_is_told_once_or_not_at_all(
    code: int, sentence: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        numbers.start()
        await asyncio.wait_for(numbers.settled(), 10)
        numbers.start()  # more netdevs of the kind: not tried again
        await asyncio.wait_for(numbers.settled(), 10)
        await numbers.close()

    numbers = Numbers(OSError(code, "refused"))
    with caplog.at_level(logging.INFO, "sampler"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == ([sentence] if sentence else [])
    assert numbers.taken == []


def test_a_fault_of_ours_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Numbers):
        def _take(self, message: Any) -> None:
            raise KeyError("of a message that nobody foresaw")

    async def run() -> None:
        numbers.start()
        await numbers.settled()

        async def poll() -> None:
            while not caplog.records:
                await asyncio.sleep(0)

        await asyncio.wait_for(poll(), 10)
        await numbers.close()

    numbers = Faulty(Socket((1,)))
    asyncio.run(run())
    assert "numbers are no longer followed: KeyError" in caplog.text


def test_stopped_and_started_again() -> None:
    async def run() -> None:
        numbers.start()
        await numbers.settled()
        numbers.stop()
        assert not numbers.running
        numbers.start()
        await numbers.settled()
        await numbers.close()

    first = Socket()
    numbers = Numbers(first, Socket())
    asyncio.run(run())
    assert numbers.taken == ["dump", "dump"]
    assert first.closed
