"""Follows one kind of netlink messages: subscribes, dumps, reads, and begins anew when messages were lost.

Like sampler.daemon.links, in a task of its own that runs only while somebody wants it. What is
followed is in sampler.tunnels.neighbours and sampler.tunnels.security.
"""

import asyncio
import contextlib
import errno
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from pyroute2.netlink.exceptions import NetlinkDecodeError, NetlinkError

from sampler.daemon.links import PASSING, RETRY_DELAY

log = logging.getLogger(__name__)

# Octets of messages that may wait: some 5000 of the kernel's, which counts a message as 800 octets.
RECEIVE_BUFFER = 4 * 1024 * 1024
# So many messages are taken before what they changed is told, when they come without end.
TOLD_AFTER = 1000


class Subscription(ABC):
    """One kind of netlink messages, followed from start() to stop().

    Args:
        told: called when what has arrived is taken in.
        receive_buffer: octets of messages that may wait.

    Attributes:
        resyncs: how often messages were lost and everything was dumped anew.

    """

    what: ClassVar[str]
    """What it follows, for the log."""
    consequence: ClassVar[str]
    """What is missing where it cannot be followed."""

    def __init__(self, told: Callable[[], None], receive_buffer: int = RECEIVE_BUFFER) -> None:
        self._told = told
        self._receive_buffer = receive_buffer
        self._task: asyncio.Task[None] | None = None
        self._ended: set[asyncio.Task[None]] = set()
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._settled = asyncio.Event()
        self.resyncs = 0

    @abstractmethod
    async def _open(self) -> Any:
        """Give a pyroute2 socket that is subscribed, with self._receive_buffer. OSError, NetlinkError."""

    @abstractmethod
    async def _dump(self) -> bool:
        """Read what was not read since the subscription. Gives whether there was anything to read."""

    @abstractmethod
    def _forget(self) -> None:
        """Everything is to be read anew."""

    @abstractmethod
    def _take(self, message: Any) -> None:
        """Take a message in."""

    def start(self) -> None:
        """Follow from now on; nothing happens when it does already."""
        if self._task is None:
            self._settled.clear()
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._end)

    def stop(self) -> None:
        """Follow no longer."""
        if self._task is not None:
            if not self._task.done():
                self._task.cancel()
                self._ended.add(self._task)
            self._task = None

    @property
    def running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._task is not None

    def wake(self) -> None:
        """Have _dump() called, for there is something new to read."""
        self._messages.put_nowait(None)

    @property
    def known(self) -> bool:
        """Whether what there is has been read, or cannot be, or is not wanted."""
        return self._task is None or self._settled.is_set()

    async def settled(self) -> None:
        """Wait until it is known."""
        if self._task is not None:
            await self._settled.wait()

    async def close(self) -> None:
        """Stop, and wait for the end."""
        self.stop()
        await asyncio.gather(*self._ended, return_exceptions=True)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._ended.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s are no longer followed: %r; %s", self.what, error, self.consequence)
            self._settled.set()

    async def _run(self) -> None:
        while True:
            self._forget()
            try:
                with contextlib.ExitStack() as stack:
                    self._messages = asyncio.Queue()
                    netlink = await self._open()
                    stack.callback(_close, netlink)
                    stack.callback(asyncio.create_task(self._read(netlink)).cancel)
                    # Subscribed before the dump: what changes meanwhile is dumped, told, or both, but never missed.
                    await self._follow()
            except (OSError, NetlinkError, NetlinkDecodeError) as error:
                code = getattr(error, "code", getattr(error, "errno", 0))
                if not self._settled.is_set() and code not in PASSING:
                    self._give_up(code, error)
                    return
                self.resyncs += 1
                log.warning("netlink lost messages of %s (%s): reading all anew", self.what, error)
                if code != errno.ENOBUFS:
                    await asyncio.sleep(RETRY_DELAY)

    def _give_up(self, code: int, error: Exception) -> None:
        self._settled.set()
        # A kernel that was built without it has nothing to follow.
        if code not in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
            log.error("%s cannot be followed: %s; %s", self.what, error, self.consequence)

    async def _read(self, netlink: Any) -> None:
        try:
            while True:
                async for message in netlink.get():
                    self._messages.put_nowait(message)
        except (OSError, NetlinkError, NetlinkDecodeError) as error:
            self._messages.put_nowait(error)

    async def _follow(self) -> None:
        """Take in what comes, until an error among it ends the subscription."""
        taken = 0
        while True:
            if await self._dump() or taken >= TOLD_AFTER or (taken and self._messages.empty()):
                self._told()
                taken = 0
            self._settled.set()
            message = await self._messages.get()
            if isinstance(message, Exception):
                raise message
            if message is not None:
                self._take(message)
                taken += 1


def _close(netlink: Any) -> None:
    with contextlib.suppress(OSError):
        netlink.close()
