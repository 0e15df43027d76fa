"""What the daemon's parts promise each other: numbers that wrap, calls between threads, who reads what where."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.cache import KNOWN_GENERATIONS
from sampler import linktable
from sampler import service as service_module
from sampler.config import Config, SamplerOptions
from sampler.datapath import Datapath
from sampler.errors import EndedError
from sampler.gates import COUNTERS
from sampler.ledger import ExporterLedger, Ledger
from sampler.linktable import Change, Dumped, Link, LinkTable, Seen
from sampler.points import ObservationPoints
from sampler.reports import Reports
from sampler.service import GENERATION_MAX, Service


class QuietRing:
    """A ring on which nothing arrives."""

    def __init__(self) -> None:
        self._awake = threading.Event()

    def new_batch(self) -> bytearray:
        return bytearray(1)

    def poll(self, timeout: float) -> None:
        self._awake.wait(timeout)
        self._awake.clear()

    def wake(self) -> None:
        self._awake.set()

    def read(self, batch: bytearray) -> int:
        return 0

    peek = read

    def rescan(self) -> int:
        return 0

    def stats(self) -> dict[str, int]:
        return {"appended": 0, "received": 0, "lost": 0, "pending": 0}


def datapath(flush: Callable[[], None] = lambda: None) -> Datapath:
    return Datapath(QuietRing(), {}, flush)  # type: ignore[arg-type]


def test_generations_wrap_within_16_bits_and_old_ones_are_forgotten() -> None:
    service = Service(Config(), Config)
    service._weights = {GENERATION_MAX - 1: Fraction(1)}
    for _ in range(KNOWN_GENERATIONS):
        service._new_generation()
    assert list(service._weights) == [GENERATION_MAX, *range(1, KNOWN_GENERATIONS)]


def test_an_interface_whose_number_is_used_again_is_attached_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal was lost among netlink's messages: the table tells of both at once, and the old programs are gone."""
    old, new = Link(7, "vnet0", kind="tun"), Link(7, "vnet0", kind="veth")
    table = LinkTable()

    async def changes() -> AsyncIterator[Change]:
        for link in (old, new):
            for change in table.apply(Dumped((link,))):
                yield change

    done: list[str] = []

    def attach(link: Link) -> Any:
        done.append(f"attach {link.kind}")
        return SimpleNamespace(hooks=(), warnings=(), close=lambda: done.append(f"detach {link.kind}"))

    gates = SimpleNamespace(open=lambda *_, **__: None, close=lambda *_: 0)
    service = Service(Config(SamplerOptions(interfaces=("vnet*",))), Config)
    service._links = SimpleNamespace(changes=changes, table=table)  # type: ignore[assignment]
    service._points = ObservationPoints(attach, gates, (0,))  # type: ignore[arg-type]
    service._tunnels = SimpleNamespace(set_links=lambda _: None)  # type: ignore[assignment]
    monkeypatch.setattr(service, "_clean_up", lambda: None)
    asyncio.run(service._follow_links(asyncio.Event()))
    assert done == ["attach tun", "detach tun", "attach veth"]


def test_overlaps_of_a_running_service_are_looked_for_once_when_changes_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host whose containers all start at once has hundreds of changes, and no time for the same question at each."""
    table = LinkTable()
    points = SimpleNamespace(tell_refusals=lambda: None, refusals=[], links=[])
    service = Service(Config(SamplerOptions(interfaces=("*",))), Config)
    service._links = SimpleNamespace(table=table)  # type: ignore[assignment]
    service._points = points  # type: ignore[assignment]
    service._tunnels = SimpleNamespace(set_links=lambda _: None)  # type: ignore[assignment]
    points.update = lambda links: setattr(points, "links", list(links))
    asked: list[int] = []

    def overlaps(links: tuple[Link, ...], _: list[int]) -> list[str]:
        asked.append(len(links))
        return ["these are counted twice"]

    monkeypatch.setattr(linktable, "overlaps", overlaps)
    monkeypatch.setattr(service_module, "QUIET_SECONDS", 0.01)

    async def run() -> None:
        table.apply(Dumped((Link(2, "eth0"), Link(3, "eth1"))))
        service._update_points()
        assert asked == []
        service._require_interfaces()
        assert asked == [2]
        for number in range(100):
            table.apply(Seen(Link(10 + number, f"vnet{number}")))
            service._update_points()
        assert asked == [2]

        async def poll() -> None:
            while len(asked) < 2:
                await asyncio.sleep(0)

        await asyncio.wait_for(poll(), 10)

    asyncio.run(run())
    assert asked == [2, 102]
    assert [record.getMessage() for record in caplog.records] == ["these are counted twice"]


def test_settle_runs_on_the_data_thread_and_before_its_start_at_once() -> None:
    thread = datapath()
    assert thread.settle(threading.current_thread) is threading.current_thread()
    thread.start()
    assert thread.settle(threading.current_thread) is thread
    thread.finish()
    with pytest.raises(EndedError, match="has ended"):
        thread.settle(threading.current_thread)


def test_a_call_that_meets_the_end_is_answered() -> None:
    """The call comes when the thread has looked for calls the last time."""
    thread = datapath()
    thread.start()
    thread.finish()
    thread._ended = False  # as call() saw it a moment before
    put = thread._calls.put

    def late(item: Any) -> None:
        put(item)
        thread._ended = True

    thread._calls = SimpleNamespace(put=late, get_nowait=thread._calls.get_nowait)  # type: ignore[assignment]
    with pytest.raises(EndedError, match="has ended"):
        thread.call(lambda: None).result(1)


def test_gates_are_read_on_the_thread_where_they_come_and_go() -> None:
    """Their table is changed by the main thread: to walk through it elsewhere would meet a change."""
    readers: list[threading.Thread] = []

    def observed() -> dict[tuple[int, int], int]:
        readers.append(threading.current_thread())
        return {}

    samples = dict.fromkeys(("selected", "appended", "unselected", "lost_budget", "lost_nested", "lost_unreadable"), 0)
    gates = SimpleNamespace(observed=observed, counters=lambda: (samples, samples))
    points = SimpleNamespace(rows=list, links=[], observed_before=0)
    thread = datapath()
    links, tunnels = SimpleNamespace(resyncs=0), SimpleNamespace(stats=dict, table=None)
    reports = Reports(links, points, gates, thread._ring, thread, tunnels)  # type: ignore[arg-type]
    thread.start()
    stats = asyncio.run(reports.handlers["stats"]())
    thread.finish()
    assert stats["errors"] == []
    assert readers == [threading.current_thread()]


def test_what_nobody_selects_is_accounted_for() -> None:
    samples = dict.fromkeys(COUNTERS, 0) | {"selected": 9, "unselected": 4, "lost_budget": 2, "appended": 3}
    ring = {"appended": 3, "received": 3, "lost": 0, "pending": 0}
    assert Ledger(samples, samples, ring, {}).errors() == []
    (error,) = Ledger(samples | {"unselected": 3}, samples, ring, {}).errors()
    assert error == "samples selected: 9 are not 8 accounted for"


def test_ledgers_of_an_exporter_and_the_one_before_it_add_up() -> None:
    first = ExporterLedger(5, {"lost_memory": 2}, 0, 0, 3, 30)
    second = ExporterLedger(7, {"lost_memory": 1, "excluded_bfd": 1}, 2, 1, 2, 40)
    both = second + first
    assert both == ExporterLedger(12, {"lost_memory": 3, "excluded_bfd": 1}, 2, 1, 5, 70)
    assert both.errors("main") == []
