"""The Exporting Process (RFC 7011 section 2): ended flows in, messages out to every collector.

Nothing here runs Python per record, and per message only where a message waits.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from exporter._native import ffi
from exporter.cache import NS_PER_S
from exporter.catalog import Catalog
from exporter.collectors import Collector
from exporter.distribution import make_distribution
from exporter.encoder import Encoder
from exporter.losses import Losses, Reader, lose_flows
from exporter.options import SMALLEST_MESSAGE, ExporterOptions, Target
from exporter.optionsdata.figures import Figures, Loss
from exporter.profiles import profile
from exporter.recorder import Recorder
from exporter.session import Session
from exporter.transports.connection import Endpoint

ENCODE_BATCH = 1024  # flows encoded together


class ExportingProcess:
    """Encodes flows once and hands the messages out: each collector has its connection, session and queue.

    Args:
        options: of the exporter.
        figures: makes a snapshot of what options data tells.

    Attributes:
        catalog: what all sessions have to tell besides flows.
        collectors: one for each target, in their order.
        records: that were encoded.
        records_lost_memory: that were not, because memory was short.
        messages: that were made, once for all collectors.

    """

    def __init__(self, options: ExporterOptions, figures: Callable[[], Figures]) -> None:
        self._options = options
        self._profile = profile(options.profile, bool(options.virtual_obs_id))
        self._encoder = self._make_encoder()
        self.catalog = Catalog(self._profile.templates, self._profile.whole, options.obs_domain_id, figures)
        self._reader = Reader(self._profile.templates)
        self._distribution = make_distribution(options.targets_mode, ENCODE_BATCH)
        self.collectors = [self._new_collector(target) for target in options.targets]
        self._recorders: list[Recorder] = []
        self._ended: list[Endpoint] = []
        self.records = 0
        self.records_lost_memory = 0
        self.messages = 0

    def _make_encoder(self) -> Encoder:
        return Encoder(self._profile, self._options.virtual_obs_id, ENCODE_BATCH, self._options.message_size)

    def _new_collector(self, target: Target) -> Collector:
        losses = Losses(self._reader)
        new_session = partial(self._new_session, lambda: losses.total)
        collector = Collector(target, new_session, self._options, self._distribution.returns)
        collector.losses = losses
        return collector

    def _new_session(self, lost: Callable[[], Loss], reliable: bool) -> Session:
        return Session(self.catalog, *self._intervals(), reliable=reliable, lost=lost)

    def record(self, deliver: Callable[[bytes], None]) -> None:
        """Call `deliver` with each message, too, in a session of its own that loses nothing."""
        self._recorders.append(Recorder(self._new_session(Loss, reliable=True), deliver))

    def _intervals(self) -> tuple[int, int]:
        return self._options.template_interval * NS_PER_S, self._options.stats_interval * NS_PER_S

    def reconfigure(self, options: ExporterOptions, domain: int, now_ns: int) -> list[dict[str, Any]]:
        """Go on with other options and this main observation domain; see Exporter.reconfigure()."""
        before, self._options = self._options, options
        self._profile = profile(options.profile, bool(options.virtual_obs_id))
        self._encoder = self._make_encoder()
        self._reader.learn(self._profile.templates)
        self.catalog.set_templates(self._profile.templates, self._profile.whole, domain)
        if options.targets_mode != before.targets_mode:
            self._distribution = make_distribution(options.targets_mode, ENCODE_BATCH)
        rows = self._set_targets(options.targets, now_ns)
        for collector in self.collectors:
            if collector.session is not None:
                collector.session.update(*self._intervals())
        return rows

    def _set_targets(self, targets: Iterable[Target], now_ns: int) -> list[dict[str, Any]]:
        """Keep the collectors of these targets, make those that are missing, close the others; their last rows."""
        there = {collector.target: collector for collector in self.collectors}
        returns = self._distribution.returns
        self.collectors = [
            there.pop(target)
            if target in there and there[target].reconfigure(self._options, returns)
            else self._new_collector(target)
            for target in targets
        ]
        if there:
            # What they sent last is on its way.
            self._ended = [endpoint for collector in there.values() for endpoint in collector.endpoints()]
        for collector in there.values():
            collector.drain(now_ns)
            collector.close()
        return [collector.row() for collector in there.values()]

    def start(self, now_ns: int) -> bool:
        """Get on with connecting; whether a session began."""
        began = [collector.start(now_ns) for collector in self.collectors]
        return any(began)

    @property
    def unfinished(self) -> bool:
        """Whether a collector has more to do as soon as may be."""
        return any(collector.unfinished for collector in self.collectors)

    @property
    def statistics_due_ns(self) -> int | None:
        """When statistics go out next; None without a session."""
        sessions = [collector.session for collector in self.collectors if collector.session is not None]
        dues = [due for session in sessions if (due := session.statistics_due_ns) is not None]
        return min(dues, default=None)

    def announce(self, now_ns: int, export_time: int) -> None:
        """Send the templates and options data that are due, and what else was left."""
        limit = self._message_limit()
        for collector in self.collectors:
            collector.announce(now_ns, export_time, limit)
        for recorder in self._recorders:
            recorder.announce(now_ns, export_time, limit)
        self._distribution.settle(self.collectors, now_ns)
        for collector in self.collectors:
            collector.tell_losses(now_ns)

    def send(self, flows: "ffi.CData", count: int, export_time: int, now_ns: int) -> None:
        """Encode flows, a struct flow *[] of at most ENCODE_BATCH, and send them."""
        limit = self._message_limit()
        for part, size, collectors in self._distribution.parts(flows, count, self.collectors, now_ns):
            self._send_part(part, size, collectors, limit, export_time, now_ns)
        self._distribution.settle(self.collectors, now_ns)

    def _send_part(
        self, flows: "ffi.CData", count: int, collectors: list[Collector], limit: int, export_time: int, now_ns: int
    ) -> None:
        encoder = self._encoder
        done = 0
        while done < count:
            written = encoder.encode(flows + done, count - done, export_time, limit)
            if written <= 0:  # -ENOMEM; every record fits SMALLEST_MESSAGE
                self.records_lost_memory += count - done
                lose_flows([collector.losses for collector in collectors], flows[done:count], export_time)
                return
            done += written
            self.records += written
            self.messages += encoder.count
            self.catalog.use(encoder.used)
            for collector in collectors:
                collector.announce(now_ns, export_time, limit)
                collector.send(encoder.buffer, encoder.messages, encoder.count, export_time, now_ns)
            for recorder in self._recorders:
                recorder.announce(now_ns, export_time, limit)
                recorder.send(encoder.buffer, encoder.messages, encoder.count, export_time)

    def _message_limit(self) -> int:
        """Octets of a message: what the options say, or the smallest of the collectors' paths."""
        paths = [limit for collector in self.collectors if (limit := collector.message_limit()) is not None]
        return max(min([self._options.message_size, *paths]), SMALLEST_MESSAGE)

    def drain(self, now_ns: int) -> None:
        """Send what waits, as far as connections take it."""
        for collector in self.collectors:
            collector.drain(now_ns)
        self._distribution.settle(self.collectors, now_ns)

    def endpoints(self) -> list[Endpoint]:
        """Return the 5-tuples of the sessions: traffic that is the exporter's own."""
        return [endpoint for collector in self.collectors for endpoint in collector.endpoints()]

    def own_endpoints(self) -> list[Endpoint]:
        """Return endpoints(), and those of the targets that were taken away last."""
        return self.endpoints() + self._ended

    def close(self) -> None:
        """End the sessions."""
        for collector in self.collectors:
            collector.close()
