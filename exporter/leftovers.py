"""What a collector's failures leave behind: messages that another collector may still get, or that are lost."""

from collections import Counter
from collections.abc import Callable, Iterable

from exporter.transports.connection import Outgoing


class Leftovers:
    """Messages of one collector, each with the cause that it will be lost by.

    Args:
        counters: the collector's.
        lose: called with each message that is lost for certain.
        kept: until release() or abandon(); else they are lost at once.

    """

    def __init__(self, counters: Counter[str], lose: Callable[[Outgoing], None], kept: bool) -> None:
        self.kept = kept
        self._counters = counters
        self._lose = lose
        self._messages: list[tuple[Outgoing, str]] = []

    def __bool__(self) -> bool:
        return bool(self._messages)

    def add(self, messages: Iterable[Outgoing], cause: str = "") -> None:
        """Take messages in order. Without a cause they were sent, and are not lost for certain."""
        self._messages += [(message, cause) for message in messages]
        if not self.kept:
            self.abandon()

    def lose(self, message: Outgoing, cause: str) -> None:
        """Count it as lost by this cause."""
        self._counters[f"records_lost_{cause}"] += message.records
        self._lose(message)

    def release(self) -> list[Outgoing]:
        """Hand over the flow records. Options are about this session, and no message moves twice: these are lost."""
        movable = [message for message, _ in self._messages if message.flows and not message.moved]
        self._messages = [item for item in self._messages if not item[0].flows or item[0].moved]
        self.abandon()
        self._counters["records_moved"] += sum(message.records for message in movable)
        return movable

    def abandon(self) -> None:
        """Count them as lost."""
        for message, cause in self._messages:
            if cause:
                self.lose(message, cause)
        self._messages.clear()
