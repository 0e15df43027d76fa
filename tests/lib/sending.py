"""Exporters without a cache, whose every sample is a record, and their clock: for tests of collectors."""

import socket
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count

from exporter.exporter import Exporter
from exporter.options import ExporterOptions, Target
from exporter.selector import main_selector
from lib.harness import START, UDP_V4
from lib.samples import batch, sample
from lib.wait import wait_until

NOW = round(START * 10**9)


def exporter_to(*targets: Target, **options: object) -> Exporter:
    """One that sends, besides templates, the records of its samples and one of samplingInterval."""
    settings = {"profile": "ovs", "cache_active_timeout": 0, "options_data": False, **options}
    exporter = Exporter(ExporterOptions(targets=targets, **settings))  # type: ignore[arg-type]
    exporter.set_weight(0, Fraction(1), [main_selector(exporter.options)])
    return exporter


def ports(number: int, first: int = 0) -> object:
    """Samples of flows that differ by their source port."""
    return batch([sample(UDP_V4, src_port=port, time=NOW) for port in range(first, first + number)])


def send_until_cut(exporter: Exporter, stall: Callable[[bool], object]) -> int:
    """Send long messages until the first collector's connection has taken the last one in part; how many records.

    Args:
        exporter: with a `message_size` of 60 000.
        stall: whether the collector, which does so, is not to read.

    """
    sent = 0
    outbox = exporter.collectors[0].outbox
    assert outbox is not None
    while outbox.waiting or not outbox.connection.holds:
        if outbox.waiting:  # the last one found no room at all
            stall(False)
            tick_until(exporter, lambda: not outbox.waiting)
            stall(True)
        exporter.ingest(ports(800), 800)
        sent += 800
    return sent


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def clock(step_ns: int = 10**6) -> Iterator[int]:
    """Moments from NOW on, for tests that wait for another thread: the exporter's time hardly passes meanwhile."""
    return count(NOW, step_ns)


def quick() -> Iterator[int]:
    """A clock by which it is soon time for the next attempt: a server may not listen yet at the first."""
    return clock(10**9)


def tick_until(exporter: Exporter, condition: Callable[[], object], moments: Iterator[int] | None = None) -> None:
    """Tick until the condition is true."""
    moments = moments or clock()

    def met() -> object:
        exporter.tick(next(moments))
        return condition()

    wait_until(met)


def connect(exporter: Exporter, moments: Iterator[int] | None = None) -> None:
    """Tick until all targets are connected."""
    tick_until(exporter, lambda: all(collector.connected for collector in exporter.collectors), moments)
