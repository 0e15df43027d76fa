"""A session under a clock of the test, what it tells, and the oracle that hears it."""

from dataclasses import dataclass, field

from exporter import message
from exporter.catalog import Catalog
from exporter.optionsdata.figures import Figures
from exporter.profiles import FULL, Profile
from exporter.session import Session
from lib.ipfix_oracle import Oracle, OracleMessage

SECOND = 10**9
MAIN = 7
PLAIN = Figures(domain=MAIN, everything=False)


@dataclass
class Talk:
    """A session, what it tells, and the oracle that hears it."""

    session: Session
    catalog: Catalog
    oracle: Oracle
    source: list[Figures]  # the one that the catalog gives
    now: int = 1000 * SECOND
    limit: int = 1400
    export_time: int = 1_700_000_000
    octets: list[bytes] = field(default_factory=list)

    def announce(self) -> list[OracleMessage]:
        heard = []
        for octets, records in self.session.announce(self.now, self.export_time, self.limit):
            assert len(octets) <= self.limit
            heard.append(self._hear(octets))
            assert len(heard[-1].records) == records
        return heard

    def use(self, used: dict[int, set[int]]) -> list[OracleMessage]:
        """Say which templates the next data uses."""
        self.catalog.use(used)
        return self.announce()

    def data(self, domain: int, template: int) -> None:
        """Send a record of zeros, as C's encoder would."""
        layout = self.catalog.templates[template]
        record = bytes(layout.fixed_length + sum(item.length == 65535 for item in layout.fields))
        body = message.Message(message.encode_set(template, [record]), 1)
        sequence = self.session.advance(domain, 1, messages=1, octets=16 + len(body.body))
        self._hear(body.encode(self.export_time, sequence, domain))

    def _hear(self, octets: bytes) -> OracleMessage:
        self.octets.append(octets)
        return self.oracle.feed(octets)

    def later(self, seconds: float) -> list[OracleMessage]:
        self.now += round(seconds * SECOND)
        return self.announce()


def talk(profile: Profile = FULL, figures: Figures = PLAIN, reliable: bool = False, **intervals: int) -> Talk:
    source = [figures]
    catalog = Catalog(profile.templates, profile.whole, MAIN, lambda: source[0])
    times = {"interval_ns": 600 * SECOND, "stats_ns": 600 * SECOND} | intervals
    return Talk(Session(catalog, reliable=reliable, **times), catalog, Oracle(reliable=reliable), source)


def ids(messages: list[OracleMessage]) -> list[int]:
    return [template.id for item in messages for template in item.templates]
