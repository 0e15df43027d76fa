"""What a session has to say without haste, given out in bursts that a collector can take. Sans-IO."""

from collections import deque
from collections.abc import Container, Iterable

from exporter import message
from exporter.message import Item, Message
from exporter.template import FIRST_TEMPLATE_ID

# 160 messages a second; a collector's default receive buffer (208 KiB) holds ten bursts of the default message size.
BURST_MESSAGES = 8
BURST_NS = 50_000_000


def _template_of(item: Item) -> int:
    """Id of the template that a record is of, or is."""
    set_id, record = item
    return set_id if set_id >= FIRST_TEMPLATE_ID else int.from_bytes(record[:2], "big")


class Pace:
    """Records that wait, by observation domain, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Item]] = {}
        self._due_ns: int | None = None  # when the next burst may go

    def put(self, domain: int, items: Iterable[Item]) -> None:
        """Let these records wait."""
        self._waiting.setdefault(domain, deque()).extend(items)

    def drop(self, domain: int, templates: Container[int]) -> None:
        """Take out the records of these templates, and the templates themselves."""
        if domain in self._waiting:
            self._waiting[domain] = deque(item for item in self._waiting[domain] if _template_of(item) not in templates)

    def take(self, now_ns: int, limit: int) -> list[tuple[int, Message]]:
        """Give the next burst, if it is time for one: messages of at most `limit` octets, with their domains."""
        if self._due_ns is not None and now_ns < self._due_ns:
            return []
        burst: list[tuple[int, Message]] = []
        while self._waiting and len(burst) < BURST_MESSAGES:
            domain, items = next(iter(self._waiting.items()))
            if items:
                item, taken = message.fit(items, limit)
                burst.append((domain, item))
                for _ in range(taken):
                    items.popleft()
            if not items:
                del self._waiting[domain]
        if burst:
            self._due_ns = now_ns + BURST_NS
        return burst
