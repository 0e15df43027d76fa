"""What became of a collector's messages: counters, the last error, trust, and losses told in the log."""

import logging
from collections import Counter

log = logging.getLogger(__name__)

LOSS_INTERVAL_NS = 60 * 10**9  # losses that go on are told once a minute

# A collector that failed is not preferred to another one until it has been well for so long. UDP shows that by
# refusing no templates, which it gets REFUSED_DELAY_NS (session.py) after each refusal.
TRUST_DELAY_NS = 30 * 10**9

# Shown for every target, also where they are 0.
SHOWN = ("messages_sent", "records_sent", "messages_lost", "refusals", "start_errors", "sessions", "reconnects")


class Tally:
    """`counters` has records and messages sent, records lost by cause, and events of the connection."""

    def __init__(self, target: str) -> None:
        self.counters: Counter[str] = Counter()
        self.error = ""  # the last one, for people
        self._trusted_ns: int | None = None  # from when on it is well after a failure; None: it never failed
        self._target = target
        self._lost_told = 0
        self._tell_ns: int | None = None

    def sent(self, messages: int, records: int) -> None:
        """Count what the connection took; it is well again."""
        self.counters["messages_sent"] += messages
        self.counters["records_sent"] += records
        self.error = ""

    def distrust(self, now_ns: int) -> None:
        """Begin TRUST_DELAY_NS anew: something failed."""
        self._trusted_ns = now_ns + TRUST_DELAY_NS

    def trusts(self, now_ns: int) -> bool:
        """Whether nothing has failed for a while."""
        return self._trusted_ns is None or now_ns >= self._trusted_ns

    @property
    def records_lost(self) -> int:
        """Data records that did not go out, for whatever cause."""
        return sum(count for name, count in self.counters.items() if name.startswith("records_lost_"))

    def tell(self, now_ns: int, reason: str) -> None:
        """Log how many records were lost since that was last told, not more often than once a minute.

        `reason` is for where there is no error.
        """
        lost = self.records_lost - self._lost_told
        if lost and (self._tell_ns is None or now_ns >= self._tell_ns):
            log.warning("collector %s: %d records lost: %s", self._target, lost, self.error or reason)
            self._lost_told += lost
            self._tell_ns = now_ns + LOSS_INTERVAL_NS

    def row(self, state: str) -> dict[str, object]:
        """State, with the last error, and counters by name."""
        row: dict[str, object] = {"state": f"{state}: {self.error}" if self.error else state}
        row |= {name: self.counters[name] for name in SHOWN}
        return row | {name: count for name, count in sorted(self.counters.items()) if name not in SHOWN and count}
