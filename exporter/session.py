"""A transport session with one collector: sequence numbers and when templates go out (RFC 7011 sections 3.1, 8).

Sans-IO: time comes in as an argument, octets come out. collectors.py sends them.
"""

from exporter import message, profiles
from exporter.template import Template

# Copies of the templates ahead of a session's first data, in messages of their own (RFC 7011 section 8.4): UDP may
# lose one, two are seldom lost together.
FIRST_COPIES = 2

# A collector that refused (nobody listened) has no templates: it gets them again this long after, in case it has come.
REFUSED_DELAY_NS = 10 * 10**9


class Session:
    """What one collector was told.

    Args:
        templates: of data records; they go out in this order.
        domain: observation domain that the templates and the announcement of samplingInterval belong to.
        interval_ns: between retransmissions of the templates, traffic or not.
        sampling_interval: what samplingInterval (34) announces.
        reliable: nothing is lost on the way, so that templates go out once (section 8.1).

    """

    def __init__(
        self,
        templates: tuple[Template, ...],
        domain: int,
        interval_ns: int,
        sampling_interval: int,
        reliable: bool = False,
    ) -> None:
        self.templates = (*templates, profiles.ANNOUNCEMENT)
        self._layouts = {template.id: template for template in self.templates}  # all that were told, for what waits
        self.domain = domain
        self.interval_ns = interval_ns
        self.sampling_interval = sampling_interval
        self.reliable = reliable
        self._sequences: dict[int, int] = {}
        self._due_ns: int | None = None  # None: nothing was sent yet
        self._export_time = 0

    def change(self, templates: tuple[Template, ...], domain: int, interval_ns: int) -> None:
        """Go on with these: templates new to the collector, or to its domain, go out at once, in two copies."""
        templates = (*templates, profiles.ANNOUNCEMENT)
        if (templates, domain) != (self.templates, self.domain):
            self._due_ns = None
        elif self._due_ns is not None:
            self._due_ns += interval_ns - self.interval_ns
        self._layouts |= {template.id: template for template in templates}
        self.templates, self.domain, self.interval_ns = templates, domain, interval_ns

    def sequence(self, domain: int) -> int:
        """Data records sent so far in this domain, modulo 2**32."""
        return self._sequences.get(domain, 0)

    def advance(self, domain: int, records: int) -> int:
        """Count records about to be sent, whether the socket takes them or not; return the number before them."""
        before = self.sequence(domain)
        self._sequences[domain] = (before + records) % 2**32
        return before

    def announce(self, now_ns: int, export_time: int, limit: int) -> list[tuple[bytes, int]]:
        """Messages that must go out before data at this moment, each with its number of data records; often none.

        A clock that was set back would give data an earlier Export Time than its templates (section 8.2): the
        templates go out again.
        """
        first = self._due_ns is None
        if self.reliable and not first:
            return []
        if self._due_ns is not None and now_ns < self._due_ns and export_time >= self._export_time:
            return []
        self._due_ns = now_ns + self.interval_ns
        self._export_time = export_time
        copies = FIRST_COPIES if first and not self.reliable else 1
        messages = message.template_messages(self.templates, limit) * copies
        record = profiles.announcement(self.domain, self.sampling_interval)
        messages.append(message.record_message(profiles.ANNOUNCEMENT, record))
        return [
            (item.encode(export_time, self.advance(self.domain, item.records), self.domain), item.records)
            for item in messages
        ]

    def split(self, octets: bytes, limit: int) -> list[tuple[bytes, int]]:
        """Cut a message of this session: see message.split(). Templates that do not fit go out anew at once."""
        pieces = message.split(octets, self._layouts, limit)
        if not pieces:
            self._due_ns = 0
        return pieces

    def refused(self, now_ns: int) -> None:
        """Nobody listens there: send the templates again soon."""
        if self._due_ns is not None:
            self._due_ns = min(self._due_ns, now_ns + REFUSED_DELAY_NS)
