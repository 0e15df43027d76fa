"""What a session has to say without haste, given out in bursts that a collector can take. Sans-IO."""

from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from exporter import message
from exporter.message import Item, Message
from exporter.optionsdata import flowkeys
from exporter.optionsdata.templates import FLOW_KEYS
from exporter.template import FIRST_TEMPLATE_ID

# 160 messages a second; a collector's default receive buffer (208 KiB) holds ten bursts of the default message size.
BURST_MESSAGES = 8
BURST_NS = 50_000_000


def _templates_of(item: Item) -> set[int]:
    """Ids of the templates that a record is, is of, or is about."""
    set_id, record = item
    if set_id < FIRST_TEMPLATE_ID:
        return {int.from_bytes(record[:2], "big")}
    return {set_id, flowkeys.described(record)} if set_id == FLOW_KEYS.id else {set_id}


class Pace:
    """Records that wait, by observation domain, in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Item]] = {}
        self._due_ns: int | None = None  # when the next burst may go

    def put(self, domain: int, items: Iterable[Item]) -> None:
        """Let these records wait."""
        self._waiting.setdefault(domain, deque()).extend(items)

    def drop(self, domain: int, templates: AbstractSet[int]) -> None:
        """Take out these templates, their records and their Flow Keys."""
        if domain in self._waiting:
            kept = (item for item in self._waiting[domain] if templates.isdisjoint(_templates_of(item)))
            self._waiting[domain] = deque(kept)

    def __bool__(self) -> bool:
        return bool(self._waiting)

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
