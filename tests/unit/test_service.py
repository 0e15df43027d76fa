"""What the daemon's parts promise each other: numbers that wrap, calls between threads, who reads what where."""

import asyncio
import platform
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from exporter.cache import KNOWN_GENERATIONS
from exporter.exporter import BURST_RECORDS
from exporter.options import ExporterOptions, Target
from exporter.status import Metering
from lib.samples import batch, sample
from sampler._native import lib
from sampler.config import Config, SamplerOptions
from sampler.control.reports import Reports
from sampler.daemon import linktable
from sampler.daemon import observation as observation_module
from sampler.daemon.datapath import SLICE, Datapath
from sampler.daemon.exporters import FLUSH_SECONDS, GENERATION_MAX, Exporters
from sampler.daemon.linktable import Change, Dumped, Link, LinkTable, Removed, Seen
from sampler.daemon.observation import Observation
from sampler.daemon.places import Places
from sampler.daemon.points import ObservationPoints
from sampler.daemon.wanted import Selector
from sampler.errors import EndedError, StartError
from sampler.kernel.attach import Hook, Place
from sampler.kernel.gates import COUNTERS
from sampler.kernel.ring import Inlet
from sampler.kernel.selection import KernelRule, Selection
from sampler.rules.rule import FlowExporter, FlowRule


class QuietRing:
    """A ring on which nothing arrives."""

    def __init__(self) -> None:
        self._awake = threading.Event()

    def new_batch(self) -> bytearray:
        return bytearray(1)

    def feed(self, batch: bytearray, inlets: Iterable[Inlet], until: float, wait: bool) -> bool:
        if wait:
            self.rest(until - time.monotonic(), 1.0)
        return False

    def rest(self, timeout: float, step: float) -> int:
        called = self._awake.wait(timeout)
        self._awake.clear()
        return int(lib.RING_CALLED if called else lib.RING_TIME)

    def wake(self) -> None:
        self._awake.set()

    def peek(self, batch: bytearray) -> int:
        return 0

    def rescan(self) -> int:
        return 0

    def stats(self) -> dict[str, int]:
        return {"appended": 0, "received": 0, "lost": 0, "pending": 0}


HOOK = Hook("ingress", "tcx")


def datapath(flush: Callable[[], None] = lambda: None) -> Datapath:
    return Datapath(QuietRing(), {}, flush)  # type: ignore[arg-type]


def observation(
    config: Config,
    links: Any,
    attach: Callable[[Link, int, Place], Any] | None = None,
    named: Callable[[list[tuple[int, str, str]]], None] = lambda _: None,
) -> Observation:
    """One whose kernel side and exporters take everything. `named` gets the names of interfaces."""
    exporters = SimpleNamespace(set_obs_point_ids=lambda _: None, tell=lambda *_: 1, set_interfaces=named)
    gates = SimpleNamespace(open=lambda *_, **__: None, close=lambda *_: 0, set_selection=lambda *_: None)
    tunnels = SimpleNamespace(set_links=lambda _: None, table=SimpleNamespace(port_types=b""))
    psample = SimpleNamespace(set_links=lambda *_: None)
    attacher = SimpleNamespace(own_xdp=0)
    found = Observation(config, links, attacher, gates, tunnels, exporters, psample)  # type: ignore[arg-type]
    if attach is not None:
        found.points = ObservationPoints(attach, gates, found._places)  # type: ignore[arg-type]
    return found


def test_gates_are_read_ahead_of_statistics_and_when_something_was_lost() -> None:
    """With hundreds of interfaces that takes milliseconds, and the main thread looks each second."""
    told: list[Any] = []
    found = observation(Config(), SimpleNamespace(table=LinkTable()))
    found._exporters.set_metering = told.append  # type: ignore[method-assign]
    found._gates.observed = lambda: {(1, 0): 1000}  # type: ignore[method-assign]
    packets, now = dict.fromkeys(COUNTERS, 0) | {"selected": 7}, time.monotonic()
    found.follow_metering(packets, now + 500)
    assert told == []
    found.follow_metering(packets, now + 1)
    assert told == [Metering(1000, 7, 0)]
    lost = packets | {"lost_ring": 3}
    for _ in range(2):
        found.follow_metering(lost, now + 500)
    assert told[1:] == [Metering(1000, 7, 3)]


def test_generations_wrap_within_16_bits_and_old_ones_are_forgotten() -> None:
    exporters = Exporters(lambda: Target("192.0.2.1"))
    exporters._generations = {GENERATION_MAX - 1: (Fraction(1), {})}
    numbers = [exporters.tell([], Selection(None)) for _ in range(KNOWN_GENERATIONS)]
    assert numbers == list(exporters._generations) == [GENERATION_MAX, *range(1, KNOWN_GENERATIONS)]


def test_an_exporter_that_comes_knows_generations_of_before() -> None:
    """Samples of theirs, which are on the way still, are none of its own; they are not lost to it."""
    exporters = Exporters(lambda: Target("192.0.2.1"))
    rule = KernelRule(None, Fraction(1))
    exporters.tell([Selector("other", 0, "", "65535/65535", "both", (), 0, 0)], Selection(None, [rule]))
    (made,) = exporters.make({"main": ExporterOptions(targets=(Target("127.0.0.1", 9),))}).values()
    with made:
        made.ingest(batch([sample(generation=1), sample(generation=2)]), 2)
        stats = made.stats()
        assert (stats["samples_unselected"], stats["samples_lost_generation"]) == (1, 1)


def test_the_data_thread_comes_before_others_that_want_its_processor() -> None:
    """A ring holds a few ms at full rate, and others may run for as long before it is its turn."""
    running = datapath()
    running.start()
    try:
        ours, others = running.call(lib.slice_get).result(), lib.slice_get()
    finally:
        running.finish()
    release = tuple(map(int, platform.release().split(".")[:2]))
    # Before Linux 6.12 all have the same, which the kernel does not tell.
    assert ours == SLICE < others if release >= (6, 12) else ours >= 0


def test_rings_are_read_while_an_exporter_that_goes_is_flushed() -> None:
    """That takes up to a second, in bursts: what the others are to count meanwhile is more than a ring holds."""

    class Read(QuietRing):
        reads = 0

        def feed(self, *arguments: Any) -> bool:
            self.reads += 1
            return super().feed(*arguments)

    ring = Read()
    exporters = Exporters(lambda: Target("192.0.2.1"))
    exporters.run_on(Datapath(ring, exporters.sinks, exporters.flush))  # type: ignore[arg-type]
    exporters.join(exporters.make({"main": ExporterOptions(targets=(Target("127.0.0.1", 9),))}), {})
    generation = exporters.tell(
        [Selector("main", None, "", "1/1", "both", (), 0, 0)], Selection(KernelRule(None, Fraction(1)))
    )
    bursts = 5
    flows = [sample(generation=generation, src_port=port) for port in range(bursts * BURST_RECORDS)]
    exporters.sinks["main"].ingest(batch(flows), len(flows))
    before = ring.reads
    exporters.leave(["main"])
    assert exporters.sinks == {}
    assert ring.reads - before >= bursts


def test_all_exporters_together_end_within_the_time_of_a_stop() -> None:
    """The service manager kills what takes longer than TimeoutStopSec, and the flows that were to come with it."""
    times: list[float] = []
    sink = SimpleNamespace(tick=lambda _: None, flush=lambda _, now, end: times.append((end - now) / 10**9))
    sink.close = lambda: None
    exporters = Exporters(lambda: Target("192.0.2.1"))
    exporters.sinks = dict.fromkeys("abc", sink)  # type: ignore[arg-type]
    exporters.flush()
    assert len(times) == 3
    # None took the time that it had, so the last one may have all of it.
    assert times[0] == pytest.approx(FLUSH_SECONDS / 3, rel=0.1)
    assert max(times) <= FLUSH_SECONDS


def test_last_messages_of_all_exporters_that_go_are_left_out() -> None:
    """They are on an interface still, when the one that stays counts what was sampled there."""
    exporters = Exporters(lambda: Target("192.0.2.1"))
    running = Datapath(QuietRing(), exporters.sinks, exporters.flush)  # type: ignore[arg-type]
    exporters.run_on(running)
    ports = {"a": 9, "b": 10, "c": 11}
    options = {name: ExporterOptions(targets=(Target("127.0.0.1", port),)) for name, port in ports.items()}
    exporters.join(exporters.make(options), {})
    for sink in exporters.sinks.values():
        sink.tick(time.monotonic_ns())
    exporters.leave(["a", "b"])
    running.share_endpoints()
    stays = exporters.sinks["c"]
    assert {endpoint.destination_port for endpoint in stays.own_endpoints() + stays._others} == {9, 10, 11}
    stays.close()


def test_an_interface_whose_number_is_used_again_is_attached_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal was lost among netlink's messages: the table tells of both at once, and the old programs are gone."""
    old, new = Link(7, "vnet0", kind="tun"), Link(7, "vnet0", kind="veth")
    table = LinkTable()
    attached = asyncio.Event()

    async def changes() -> AsyncIterator[list[Change]]:
        for link in (old, new):
            for change in table.apply(Dumped((link,))):
                yield change
            await attached.wait()

    done: list[str] = []

    def attach(link: Link, direction: int, _: Place) -> Any:
        done.append(f"attach {link.kind} {direction}")
        attached.set()
        return SimpleNamespace(hook=HOOK, warnings=(), close=lambda: done.append(f"detach {link.kind} {direction}"))

    config = Config(SamplerOptions(interfaces=("vnet*",)), ExporterOptions(enable_output_sampling=False))
    observed = observation(config, SimpleNamespace(changes=changes, table=table), attach)
    monkeypatch.setattr(observed, "_clean_up", lambda: None)
    asyncio.run(observed.follow(asyncio.Event()))
    assert done == ["attach tun 0", "detach tun 0", "attach veth 0"]


def test_links_that_come_together_make_one_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs 10 ms and more: one a link would keep a host that starts hundreds of machines waiting for minutes."""
    table = LinkTable()
    started = asyncio.Event()
    there, come = Link(1, "a"), [Link(number, f"vnet{number}") for number in range(2, 302)]

    async def changes() -> AsyncIterator[Change]:
        for change in table.apply(Dumped((there,))):
            yield change
        await started.wait()
        for link in come:
            for change in table.apply(Seen(link)):
                yield change
        for link in come[10:]:
            for change in table.apply(Removed(link.ifindex, moved=False)):
                yield change

    rules = (FlowRule(interfaces=("vnet*",)), FlowRule(interfaces=("a",)))
    config = Config(flow_exporters=(FlowExporter(1, ExporterOptions(), rules),), has_main=False)
    observed = observation(
        config,
        SimpleNamespace(changes=changes, table=table),
        lambda *_: SimpleNamespace(hook=HOOK, warnings=(), close=lambda: None),
    )
    generations: list[object] = []
    observed._gates.set_selection = lambda *_: generations.append(_)  # type: ignore[method-assign]
    monkeypatch.setattr(observed, "_clean_up", lambda: None)
    asyncio.run(observed.follow(started))
    assert len(generations) < 20
    assert [link.ifindex for link in observed.points.links] == list(range(1, 12))


def test_only_what_differs_is_attached_and_detached() -> None:
    done: list[str] = []

    def attach(link: Link, direction: int, _: Place) -> Any:
        done.append(f"+{link.name}{direction}")
        return SimpleNamespace(hook=HOOK, warnings=(), close=lambda: done.append(f"-{link.name}{direction}"))

    gates = SimpleNamespace(
        open=lambda ifindex, way, **_: done.append(f"open {ifindex}.{way}"),
        close=lambda ifindex, way: done.append(f"close {ifindex}.{way}") or 5,
    )
    # Each attachment and detachment is told: a thousand take longer than the watchdog waits.
    points = ObservationPoints(attach, gates, Places(), lambda: done.append("alive"))  # type: ignore[arg-type]
    a, b = Link(1, "a"), Link(2, "b")

    def steps(wanted: dict[Link, set[int]]) -> list[str]:
        done.clear()
        points.update(wanted)
        assert done.count("alive") == len([step for step in done if step[0] in "+-"])
        return [step for step in done if step != "alive"]

    assert steps({a: {0}}) == ["+a0", "open 1.0"]
    assert steps({a: {0}}) == []
    assert steps({a: {0, 1}, b: {1}}) == ["+a1", "open 1.1", "+b1", "open 2.1"]
    assert steps({a: {1}, b: {1}}) == ["-a0", "close 1.0"]
    assert steps({b: {1}}) == ["-a1", "close 1.1"]
    assert steps({}) == ["-b1", "close 2.1"]
    assert points.observed_before == 15
    assert points.links == []


def test_a_link_that_refuses_one_direction_is_let_go_in_both() -> None:
    done: list[str] = []

    def attach(link: Link, direction: int, _: Place) -> Any:
        if direction == 1:
            raise StartError("no")
        return SimpleNamespace(hook=HOOK, warnings=(), close=lambda: done.append(f"detach {direction}"))

    gates = SimpleNamespace(open=lambda *_, **__: None, close=lambda _, way: done.append(f"close {way}") or 0)
    points = ObservationPoints(attach, gates, Places())  # type: ignore[arg-type]
    points.update({Link(1, "a"): {0}})
    points.update({Link(1, "a"): {0, 1}})
    assert sorted(done) == ["close 0", "close 1", "detach 0"]
    assert points.links == []
    assert points.refusals == ["no"]


def test_overlaps_of_a_running_service_are_looked_for_once_when_changes_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A host whose containers all start at once has hundreds of changes, and no time for the same question at each."""
    table = LinkTable()
    names: list[list[tuple[int, str, str]]] = []
    links = SimpleNamespace(table=table)
    service = observation(Config(SamplerOptions(interfaces=("*",))), links, named=names.append)
    points = SimpleNamespace(tell_refusals=lambda: None, refusals=[], links=[])
    service.points = points  # type: ignore[assignment]
    points.update = lambda links: setattr(points, "links", list(links))
    asked: list[int] = []

    def overlaps(links: tuple[Link, ...], _: list[int]) -> list[str]:
        asked.append(len(links))
        return ["these are counted twice"]

    monkeypatch.setattr(linktable, "overlaps", overlaps)
    monkeypatch.setattr(observation_module, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(observation_module, "NAMES_SECONDS", 0.01)

    async def run() -> None:
        table.apply(Dumped((Link(2, "eth0"), Link(3, "eth1", alias="uplink"))))
        service.update()
        assert asked == []
        service.require_interfaces()
        assert asked == [2]
        for number in range(100):
            table.apply(Seen(Link(10 + number, f"vnet{number}")))
            service.update()
        assert asked == [2]

        async def poll() -> None:
            while len(asked) < 2 or len(names) < 2:
                await asyncio.sleep(0)

        await asyncio.wait_for(poll(), 10)

    asyncio.run(run())
    assert asked == [2, 102]
    assert [len(told) for told in names] == [2, 102], "at the start, then for all changes at once"
    assert names[0] == [(2, "eth0", ""), (3, "eth1", "uplink")]
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

    samples = dict.fromkeys(COUNTERS, 0)
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
