"""Metrics: none of the service's figures is missing, names and types are OpenMetrics', and the server has bounds."""

import asyncio
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lib.harness import Harness
from lib.wait import wait_until
from sampler.control import scrapes
from sampler.control.ledger import ExporterLedger, Ledger
from sampler.control.metrics import families
from sampler.control.reports import Measured, Totals
from sampler.control.scrapes import Scrapes
from sampler.daemon.retired import Retired
from sampler.errors import StartError
from sampler.kernel.gates import COUNTERS

RULE = {
    "exporter": "collector-set-1",
    "match": 'udp,tp_dst=53,"',
    "probability": "1/65535",
    "direction": "both",
    "interfaces": ["eth0", "vnet*"],
    "obs_domain_id": 1,
    "obs_point_id": 2,
}


def measured(numbers: Iterator[int]) -> Measured:
    """Figures of every name that there is, each with a number of its own."""
    samples = {name: next(numbers) for name in COUNTERS}
    packets = {name: next(numbers) for name in COUNTERS}
    ring = {name: next(numbers) for name in ("received", "lost", "pending")}
    with Harness() as harness:
        harness.tick()
        stats = {name: next(numbers) for name in harness.stats}
        (target,) = harness.exporter.targets()
    target = {name: next(numbers) if isinstance(value, int) else value for name, value in target.items()}
    figures = Retired().figures("main", stats, [target, target | {"target": '[2001:db8::1]:4739 "x"\\'}])
    ledger = Ledger(
        samples, packets, ring | {"appended": samples["appended"]}, {}, {"main": ExporterLedger.of(figures.stats)}
    )
    return Measured(
        Totals(ledger, {"main": figures}, next(numbers)),
        {("eth0", 0): next(numbers), ("eth0", 1): next(numbers)},
        next(numbers),
        next(numbers),
        next(numbers),
        {"links": next(numbers)},
        {"netdevs": next(numbers), "refused": next(numbers)},
        [RULE | {"samples": next(numbers), "packets": next(numbers)}],
    )


class Figures:
    def __init__(self, value: Measured) -> None:
        self._value = value

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        return families(self._value)


def scraped(value: Measured) -> list[Any]:
    registry = CollectorRegistry()
    registry.register(Figures(value))  # type: ignore[arg-type]
    return list(text_string_to_metric_families(generate_latest(registry).decode()))


def test_no_figure_is_missing() -> None:
    start = 1_000_003
    numbers = count(start)
    found = {sample.value for family in scraped(measured(numbers)) for sample in family.samples}
    missing = sorted(set(map(float, range(start, next(numbers)))) - found)
    # Three are given as a sum: samples in flows (cached, pending). lost_ring of the kernel is the ring's in user space.
    stats_start = start + 2 * len(COUNTERS) + 3
    with Harness() as harness:
        names = list(harness.stats)
    sums = {stats_start + names.index(name) for name in ("samples_cached", "samples_pending")}
    lost_ring = COUNTERS.index("lost_ring")
    assert missing == sorted(sums | {start + lost_ring, start + len(COUNTERS) + lost_ring})


def test_what_nobody_selects_is_an_outcome() -> None:
    families = {family.name: family for family in scraped(measured(count(1)))}
    outcomes = {"unselected", "lost_budget", "lost_nested", "lost_unreadable", "lost_verdict"}
    for name, more in (("kernel_samples", {"appended"}), ("samples", {"received", "lost_ring"})):
        found = {sample.labels["outcome"] for sample in families[f"xdpfix_{name}"].samples}
        assert found == outcomes | more
    causes = {sample.labels["cause"] for sample in families["xdpfix_parsed_in_part_samples"].samples}
    assert causes == {"truncated", "malformed", "buffer", "chain"}


def test_names_follow_the_rules() -> None:
    """Counters end in _total, a unit stands at the end of the name, every family has a text, no label is empty."""
    for family in scraped(measured(count(1))):
        assert family.documentation, family.name
        assert not family.unit or family.name.endswith("_" + family.unit)
        for sample in family.samples:
            assert family.type != "counter" or sample.name == family.name + "_total"
            assert all(sample.labels.values())


class Reports:
    """Gives figures, or what `wait` gives first."""

    def __init__(self, wait: Callable[[], Any] | None = None) -> None:
        self._wait = wait
        self.value = measured(count(1))

    async def measure(self) -> Measured:
        if self._wait is not None:
            await self._wait()
        return self.value


@contextmanager
def serving(reports: Reports, address: str) -> Iterator[Callable[[str], Any]]:
    """A loop in a thread, as the service's main thread is one, with the server on it; gives its listen()."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Scrapes(reports)  # type: ignore[arg-type]

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        async def run() -> Any:
            return function(*arguments)

        return asyncio.run_coroutine_threadsafe(run(), loop).result(10)

    try:
        call(server.listen, address)
        yield lambda other: call(server.listen, other)
    finally:
        call(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


def get(address: str) -> str:
    request = urllib.request.Request(
        f"http://{address}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_serves_until_it_is_told_to_listen_elsewhere(host: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    first, second = f"{shown}:{free_port(host)}", f"{shown}:{free_port(host)}"
    with serving(Reports(), first) as listen:
        assert get(first).endswith("# EOF\n")
        assert "process_cpu_seconds_total" in get(first)
        listen(second)
        assert "xdpfix_samples_total" in get(second)
        with pytest.raises(OSError):
            get(first)
        listen("")
        with pytest.raises(OSError):
            get(second)


def test_a_refused_address_is_said_and_the_one_before_stays() -> None:
    address = f"127.0.0.1:{free_port()}"
    with serving(Reports(), address) as listen, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(
            StartError, match=f'metrics.listen = "{taken}": cannot listen there: Address already in use'
        ):
            listen(taken)
        with pytest.raises(StartError, match="Cannot assign requested address"):
            listen("192.0.2.1:9477")
        assert get(address).endswith("# EOF\n")


def test_figures_that_do_not_come_are_a_refused_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data thread hangs: the scrape ends, and the next one that can be answered is."""
    monkeypatch.setattr(scrapes, "TIMEOUT", 0.1)
    stuck = True

    async def wait() -> None:
        if stuck:
            await asyncio.Event().wait()

    address = f"127.0.0.1:{free_port()}"
    with serving(Reports(wait), address):
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(address)
        assert caught.value.code == 503
        assert caught.value.read() == b"the figures were not there in time\n"
        stuck = False
        assert get(address).endswith("# EOF\n")


def test_connections_are_few_and_silent_ones_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "PATIENCE", 1.0)
    port = free_port()
    with serving(Reports(), f"127.0.0.1:{port}"):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(scrapes.CONNECTIONS + 1)]
        for sock in silent:
            sock.settimeout(20)
        # The first of them hold all places: the last is closed at once, the others when their time is over.
        assert silent[-1].recv(1) == b""
        assert [sock.recv(1) for sock in silent[:-1]] == [b""] * scrapes.CONNECTIONS
        for sock in silent:
            sock.close()

        def answers() -> bool:
            try:
                return get(f"127.0.0.1:{port}").endswith("# EOF\n")
            except OSError:
                return False  # a place is free a moment after its connection was closed

        wait_until(answers)


def test_a_rule_of_other_interfaces_is_another_series() -> None:
    """It is another selector, which counts from 0; the same rule twice is one series of both."""
    nothing = dict.fromkeys(COUNTERS, 0)
    ring = dict.fromkeys(("appended", "received", "lost", "pending"), 0)
    totals = Totals(Ledger(nothing, nothing, ring, {}), {}, 0)
    counts = {"samples": 5, "packets": 50}
    alike = [RULE | counts, RULE | counts, RULE | counts | {"interfaces": []}]
    (family,) = (it for it in scraped(Measured(totals, {}, 0, 0, 0, {}, {}, alike)) if it.name == "xdpfix_rule_samples")
    assert [(item.labels["interfaces"], item.value) for item in family.samples] == [("eth0,vnet*", 10), ("physical", 5)]


def test_outcomes_sum_to_what_the_gates_selected() -> None:
    """A sample that no rule takes is one outcome, and no header of it was left unread."""
    samples = dict.fromkeys(COUNTERS, 0) | {"selected": 20, "unselected": 9, "lost_budget": 2, "appended": 9}
    ring = {"appended": 9, "received": 6, "lost": 2, "pending": 1}
    totals = Totals(Ledger(samples, samples, ring, {}), {}, 0)
    found = scraped(Measured(totals, {}, 0, 0, 0, {}, {}, []))
    sums = {family.name: sum(sample.value for sample in family.samples) for family in found}
    assert sums["xdpfix_samples"] + sums["xdpfix_ring_pending_samples"] == sums["xdpfix_selected_samples"] == 20
    assert sums["xdpfix_kernel_samples"] == 20
    assert sums["xdpfix_parsed_in_part_samples"] == 0
