"""A transport session with one collector: sequence numbers, and when templates and options data go out.

RFC 7011 sections 3.1, 4 and 8. Sans-IO: time comes in as an argument, octets come out. outbox.py sends them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from exporter import message
from exporter.catalog import Catalog
from exporter.domain import Domain
from exporter.message import Item, Message
from exporter.optionsdata import processes
from exporter.optionsdata.figures import Figures, Loss
from exporter.optionsdata.kinds import ANNOUNCEMENT, KINDS, Kind
from exporter.pace import Pace
from exporter.template import Template

# Copies of a template ahead of its first data, in messages of their own (RFC 7011 section 8.4): UDP may lose one, two
# are seldom lost together.
FIRST_COPIES = 2

# A collector that refused (nobody listened) has no templates: it gets them again this long after, in case it has come.
REFUSED_DELAY_NS = 10 * 10**9


class Session:
    """What one collector was told.

    Args:
        catalog: what there is to tell.
        interval_ns: between retransmissions of templates, traffic or not, where the session is not reliable.
        stats_ns: between statistics and reports.
        reliable: the transport loses nothing that it took (TCP, TLS, SCTP, files): everything is told once, and
            templates that are no longer used are withdrawn.
        lost: gives the Flow Records that the collector did not get.

    """

    def __init__(
        self,
        catalog: Catalog,
        interval_ns: int,
        stats_ns: int,
        *,
        reliable: bool = False,
        lost: Callable[[], Loss] = Loss,
    ) -> None:
        self.reliable = reliable
        self._catalog = catalog
        self._interval_ns = interval_ns
        self._stats_ns = stats_ns
        self._lost = lost
        self._domains: dict[int, Domain] = {}
        self._layouts: dict[int, Template] = {}  # all that was ever told, for messages that wait
        self._version = -1  # of the catalog, as it was told
        self._stats_due_ns: int | None = None
        self._again = False  # templates are to be repeated at once
        self._withdrawn: list[tuple[int, Item]] = []
        self._pace = Pace()
        self._export_time = 0

    def sequence(self, domain: int) -> int:
        """Data records sent so far in this domain, modulo 2**32."""
        return self._domains[domain].sequence if domain in self._domains else 0

    def advance(self, domain: int, records: int, *, messages: int = 0, octets: int = 0) -> int:
        """Count flow records about to be sent, whether the socket takes them or not; return the number before them."""
        return self._domains.setdefault(domain, Domain(domain, 0)).advance(records, messages, octets)

    def not_sent(self, domain: int, flows: int, octets: int) -> None:
        """Take back from what was counted as sent one message that did not go out."""
        if domain in self._domains:
            self._domains[domain].not_sent(flows, octets)

    @property
    def waits(self) -> bool:
        """Whether there is more to announce, at the next moment that the pace allows."""
        return bool(self._pace)

    @property
    def statistics_due_ns(self) -> int | None:
        """When statistics go out next; None before the first announce()."""
        return self._stats_due_ns

    def announce(self, now_ns: int, export_time: int, limit: int) -> list[tuple[bytes, int]]:
        """Messages that must go out before data at this moment, each with its number of data records; often none.

        Templates ahead of the first data that uses them, ahead of those what collectors need to read them, and what
        waits, at its pace. Templates that changed are withdrawn before, in a reliable session.
        """
        ready = self._repeated(export_time, limit) + self._withdrawals(limit)
        all_kinds = self._open(now_ns) or self._version != self._catalog.version
        wanted = self._catalog.wanted
        if all_kinds or any(self._domains[domain].untold(templates) for domain, templates in wanted.items()):
            self._version = self._catalog.version
            self._tell_changes(all_kinds, limit, ready, self._domains)
            for domain, templates in wanted.items():
                self._tell(domain, templates, limit, ready)
        self._collect_due(now_ns, limit, ready)
        ready += self._pace.take(now_ns, limit)
        return [self._domains[domain].stamp(item, export_time) for domain, item in ready]

    def catch_up(self, octets: bytes, now_ns: int, limit: int) -> list[tuple[bytes, int]]:
        """Messages that must go out before another session's message of flows does in this one: see announce().

        They have its Export Time, for no data may be earlier than its template (section 8.2).
        """
        _, _, export_time, _, domain = message.HEADER.unpack_from(octets)
        known = (self._catalog.templates.get(number) for number in message.set_ids_of(octets))
        templates = [template for template in known if template is not None]
        ready: list[tuple[int, Message]] = []
        new = domain not in self._domains
        if new:
            self._domains[domain] = Domain(domain, now_ns + self._interval_ns)
        if self._domains[domain].untold(templates):
            self._tell(domain, templates, limit, ready)
            self._version = -1  # what else goes with them follows
        if new:
            self._tell_changes(True, limit, ready, [domain])
        return [self._domains[domain].stamp(item, export_time) for domain, item in ready]

    def _open(self, now_ns: int) -> bool:
        """Make known the domains that have something to tell now; whether there was a new one."""
        if self._stats_due_ns is None:
            self._stats_due_ns = now_ns + self._stats_ns
        new = [d for d in (self._catalog.domain, *self._catalog.wanted) if d not in self._domains]
        for domain in new:
            self._domains[domain] = Domain(domain, now_ns + self._interval_ns)
        return bool(new)

    def _repeated(self, export_time: int, limit: int) -> list[tuple[int, Message]]:
        """Give every template again at once, where the collector could have lost or dropped one.

        A clock that was set back would give data an earlier Export Time than its templates (section 8.2).
        """
        again = self._again or export_time < self._export_time
        self._again, self._export_time = False, export_time
        if not again or self.reliable:
            return []
        return [
            (domain, item)
            for domain, state in self._domains.items()
            for item in message.template_messages(state.told.values(), limit)
        ]

    def _tell(self, domain: int, templates: Iterable[Template], limit: int, ready: list[tuple[int, Message]]) -> None:
        """Give those of the templates that the collector does not have."""
        told = self._domains[domain].told
        new = self._domains[domain].untold(templates)
        if changed := [template.id for template in new if template.id in told]:
            self.withdraw(changed, domain)
            ready += self._withdrawals(limit)
        copies = 1 if self.reliable else FIRST_COPIES
        ready += [(domain, item) for item in message.template_messages(new, limit) * copies]
        told |= {template.id: template for template in new}
        self._layouts |= {template.id: template for template in new}

    def _figures(self) -> Figures:
        flows = {}
        for domain, state in self._domains.items():
            new = state.untold(self._catalog.wanted.get(domain, ()))
            flows[domain] = (*(template for template in state.told.values() if not template.scope), *new)
        sent = {domain: state.sent for domain, state in self._domains.items()}
        return replace(self._catalog.figures(), templates=flows, sent=sent, lost=self._lost())

    def _kinds(self, figures: Figures, statistic: bool) -> Iterator[Kind]:
        kinds = KINDS if figures.everything else (ANNOUNCEMENT,)
        return (kind for kind in kinds if kind.statistic == statistic)

    def _tell_changes(
        self, all_kinds: bool, limit: int, ready: list[tuple[int, Message]], domains: Iterable[int]
    ) -> None:
        """Say what holds until it changes, where it was not said so before: at once where data waits for it.

        Without `all_kinds` there are new templates only.
        """
        figures = self._figures()
        for domain in domains:
            state = self._domains[domain]
            new: list[tuple[Kind, list[Item]]] = []
            for kind in self._kinds(figures, statistic=False):
                if not all_kinds and not kind.layouts:
                    continue
                number = kind.template.id
                said, state.records[number] = state.records.get(number, []), list(kind.records(figures, domain))
                if unsaid := set(state.records[number]).difference(said):
                    new.append((kind, [(number, record) for record in state.records[number] if record in unsaid]))
            self._tell(domain, [kind.template for kind, _ in new], limit, ready)
            for kind, items in new:
                if kind.first:
                    ready += [(domain, item) for item in message.pack(items, limit)]
                else:
                    self._pace.put(domain, items)

    def _collect_due(self, now_ns: int, limit: int, ready: list[tuple[int, Message]]) -> None:
        """Put what is due among what waits."""
        for domain, state in self._domains.items():
            if now_ns >= state.due_ns and not self.reliable:
                state.due_ns = now_ns + self._interval_ns
                self._pace.put(domain, state.repetition())
        if self._stats_due_ns is not None and now_ns >= self._stats_due_ns:
            self._stats_due_ns = now_ns + self._stats_ns
            self._collect_statistics(now_ns, limit, ready)

    def _collect_statistics(self, now_ns: int, limit: int, ready: list[tuple[int, Message]]) -> None:
        figures = self._figures()
        if figures.everything:
            self._domains.setdefault(processes.NO_DOMAIN, Domain(processes.NO_DOMAIN, now_ns + self._interval_ns))
        for domain in self._domains:
            kinds = self._kinds(figures, statistic=True)
            new = [(kind, records) for kind in kinds if (records := list(kind.records(figures, domain)))]
            self._tell(domain, [kind.template for kind, _ in new], limit, ready)
            for kind, records in new:
                self._pace.put(domain, [(kind.template.id, record) for record in records])

    def withdraw(self, ids: Iterable[int] | None = None, domain: int | None = None) -> None:
        """Let the collector forget these templates, None: all; in one domain, None: in every one.

        In a reliable session the next announce() withdraws them (RFC 7011 section 8.1), before anything else; over
        UDP they are no longer repeated. Those that data needs again go out anew.
        """
        chosen = None if ids is None else set(ids)
        for number, state in self._domains.items():
            gone = [item for item in state.told.values() if chosen is None or item.id in chosen]
            if not gone or domain not in (None, number):
                continue
            state.forget({item.id for item in gone})
            self._pace.drop(number, {item.id for item in gone})
            self._version = -1
            if not self.reliable:
                continue
            if chosen is not None:
                self._withdrawn += [(number, (item.set_id, item.withdrawal())) for item in gone]
            else:  # the short form: the Set's own id stands for all templates of its kind
                sets = dict.fromkeys(item.set_id for item in gone)
                self._withdrawn += [(number, (set_id, set_id.to_bytes(2, "big") + bytes(2))) for set_id in sets]

    def _withdrawals(self, limit: int) -> list[tuple[int, Message]]:
        withdrawn, self._withdrawn = self._withdrawn, []
        return [(domain, message.pack([item], limit)[0]) for domain, item in withdrawn]

    def update(self, interval_ns: int, stats_ns: int) -> None:
        """Go on with other intervals, counted from when something went out last, and with the catalog as it is now.

        What did not change is not sent again.
        Templates of flow records that the catalog no longer has are withdrawn: flush what was encoded by them before.
        """
        if self._stats_due_ns is not None:
            self._stats_due_ns += stats_ns - self._stats_ns
        known = self._catalog.templates
        for number, state in self._domains.items():
            state.due_ns += interval_ns - self._interval_ns
            flows = [item for item in state.told.values() if not item.scope]
            if retired := [item.id for item in flows if known.get(item.id) != item]:
                self.withdraw(retired, number)
        self._interval_ns, self._stats_ns = interval_ns, stats_ns

    def split(self, octets: bytes, limit: int) -> list[tuple[bytes, int]]:
        """Cut a message of this session: see message.split(). Templates that do not fit go out anew at once."""
        pieces = message.split(octets, self._layouts, limit)
        self._again |= not pieces
        return pieces

    def refused(self, now_ns: int) -> None:
        """Nobody listens there: send the templates again soon."""
        for state in self._domains.values():
            state.due_ns = min(state.due_ns, now_ns + REFUSED_DELAY_NS)
