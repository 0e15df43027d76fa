"""What a sample costs in user space: perf ring → flow cache, by flows, kinds, rings, and by the core that wrote it.

`python -m bench.cache`
"""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from mmap import PAGESIZE
from typing import Any

from bench.memoryring import RECORD, MemoryRings, Producer
from bench.results import Results
from exporter._native import ffi
from exporter._native import lib as exporter_lib
from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from lib.samples import sample
from sampler._native import ffi as sampler_ffi
from sampler._native import lib as sampler_lib
from sampler.kernel.ring import BATCH_SIZE

PAGES = 512  # the default of ring_pages
RECORDS = PAGES * PAGESIZE // 8 // RECORD  # an eighth of the ring, which wakes the reader
ROUND = 300_000  # samples of a round
ROUNDS = 7
FLOWS = (1, 10, 100, 1_000, 10_000, 65_536, 262_144, 1_000_000)
KIND_FLOWS = 65_536
GOALS = {1_000: 30, 65_536: 100, 1_000_000: 130}
RINGS = (1, 2, 4, 8)
# Who wrote what is read: what the reading core wrote last lies in its own caches, what another wrote does not.
SAME, OTHER = "the same core", "another core"

UDP: dict[str, Any] = {"ip_protocol": 17}
IPV6: dict[str, Any] = {
    "ethertype": 0x86DD,
    "ip_version": 6,
    "src_addr": "2001:db8::",
    "dst_addr": "2001:db8::2",
    "ip_octets": 60,
    "ip_length": 60,
}
VXLAN: dict[str, Any] = {
    "tunnel": {
        "src_addr": "192.0.2.7",
        "dst_addr": "192.0.2.8",
        "key": 77,
        "src_port": 50000,
        "dst_port": 4789,
        "type": 1,
        "key_length": 3,
        "protocol": 17,
        "ip_version": 4,
    }
}
TCP: dict[str, Any] = {"ip_protocol": 6, "tcp_flags": 0x18}
KINDS: dict[str, dict[str, Any]] = {
    "UDP over IPv4": UDP,
    "TCP over IPv4": TCP,
    "UDP over IPv6": UDP | IPV6,
    "TCP over IPv6": TCP | IPV6,
    "UDP over IPv4 in VXLAN": UDP | VXLAN,
}
PLAIN = "UDP over IPv4"


class Way:
    """Rings and the exporter behind them, which knows all of its flows before anything is measured."""

    def __init__(self, kind: str, flows: int, rings: int = 1) -> None:
        options = ExporterOptions(cache_max_flows=2 * flows, cache_active_timeout=4200, cache_idle_timeout=4200)
        self.exporter = Exporter(options, pause=lambda _: None)
        self.exporter.set_weight(0, Fraction(1), [main_selector(options)])
        self.exporter.tick(1)
        self.rings = MemoryRings(rings, PAGES)
        self.batch = self.rings.new_batch()
        self._producer = Producer(sample(**KINDS[kind]), flows)
        self._flows = flows
        self._filled = rings * RECORDS * BATCH_SIZE
        self.spent: dict[tuple[str, str], list[float]] = {}
        """Nanoseconds a sample by what was measured and who wrote, a number a round."""
        for first in range(0, flows, RECORDS * BATCH_SIZE):
            self._producer.fill(self.rings, RECORDS, first)
            bare(self)

    def measure(self, drain: Callable[["Way"], None], writer: str, core: ThreadPoolExecutor) -> None:
        """Measure a round of what empties the rings: without the time of who fills them, on either core."""
        spent = done = 0
        while done < ROUND:
            if writer == SAME:
                self._producer.fill(self.rings, RECORDS)
            else:
                core.submit(self._producer.fill, self.rings, RECORDS).result()
            begin = time.perf_counter_ns()
            drain(self)
            spent += time.perf_counter_ns() - begin
            done += self._filled
        self.spent.setdefault((drain.__name__, writer), []).append(spent / done)

    def median(self, writer: str) -> float:
        """Nanoseconds a sample by the two C functions."""
        return statistics.median(self.spent["bare", writer])

    def check(self) -> None:
        """AssertionError where a sample was lost or a flow was new."""
        stats, rings = self.exporter.cache.stats(), self.rings.stats()
        if stats["flows"] != self._flows or rings["lost"] or rings["pending"]:
            raise AssertionError(f"{stats['flows']} flows of {self._flows}; rings: {rings}")

    def close(self) -> None:
        """Free both."""
        self.rings.close()
        self.exporter.close()


def bare(way: Way) -> None:
    """Read and count by the two C functions, and nothing around them."""
    read, ingest = sampler_lib.ring_read, exporter_lib.cache_ingest
    ring, cache = way.rings.handle, way.exporter.cache.handle
    room = sampler_ffi.from_buffer("struct sample[]", way.batch)
    samples, capacity = ffi.cast("struct sample *", ffi.from_buffer(way.batch)), len(room)
    while count := read(ring, room, capacity):
        ingest(cache, samples, count)


def feed(way: Way) -> None:
    """Read and count as the data thread does (sampler/daemon/datapath.py), who then looks what flows ended."""
    if way.rings.feed(way.batch, [way.exporter.inlet()], time.monotonic() + 1, False):
        raise AssertionError("a flow ended, or the rings are not empty after a second")
    way.exporter.send_ended()


def read(way: Way) -> None:
    """Read and count nothing."""
    while way.rings.read(way.batch):
        pass


def measure_samples(results: Results, core: ThreadPoolExecutor) -> None:
    """Every way a round, and again: what disturbs the machine disturbs all."""
    plain = {flows: Way(PLAIN, flows) for flows in FLOWS}
    kinds = {PLAIN: plain[KIND_FLOWS]} | {kind: Way(kind, KIND_FLOWS) for kind in KINDS if kind != PLAIN}
    rings = {1: plain[KIND_FLOWS]} | {count: Way(PLAIN, KIND_FLOWS, count) for count in RINGS if count != 1}
    ways = list({id(way): way for way in [*plain.values(), *kinds.values(), *rings.values()]}.values())
    for _ in range(ROUNDS):
        for writer in (SAME, OTHER):
            for way in ways:
                way.measure(bare, writer, core)
            for flows in GOALS:
                plain[flows].measure(feed, writer, core)
            plain[min(GOALS)].measure(read, writer, core)
    for way in ways:
        way.check()
    for (drain, writer), name in {
        ("bare", SAME): "ring → cache",
        ("bare", OTHER): "written by another core",
        ("feed", SAME): "as the data thread calls it",
        ("feed", OTHER): "so, and written by another core",
    }.items():
        for flows, goal in GOALS.items():
            at_most = goal if (drain, writer) == ("bare", SAME) else None
            results.figure(f"{name}, {flows} flows", "ns a sample", plain[flows].spent[drain, writer], at_most=at_most)
    for writer in (SAME, OTHER):
        spent = plain[min(GOALS)].spent["read", writer]
        results.figure(f"of that reading the ring, nothing counted, {writer}", "ns a sample", spent)
    for kind, way in kinds.items():
        results.figure(f"ring → cache, {kind}, {KIND_FLOWS} flows", "ns a sample", way.spent["bare", SAME])
    for by, points in (("flows", plain), ("rings", rings)):
        lines: dict[str, list[tuple[float, float]]] = {
            f"written by {writer}": [(count, way.median(writer)) for count, way in points.items()]
            for writer in (SAME, OTHER)
        }
        results.curve(f"ring → cache by {by}", by, "ns a sample", lines)
    for way in ways:
        way.close()


def main() -> None:
    """Measure on one core; what another writes is written on the last of those that there are."""
    about = (
        "Samples of flows in random order, all of them known, lie on perf rings in memory (512 pages, an eighth full, "
        "as when the reader is woken). Ring → cache: ring_read() and cache_ingest() in a loop; the data thread calls "
        "ring_feed(), which calls both. The time of who fills the rings is not in it, but who it is shows: what the "
        "reading core wrote just before lies in its caches. So each is measured twice, in turns: written by the core "
        "that reads, for which the goals are, and by another core, as where another CPU has the packets."
    )
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    with (
        ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, {cores[-1]})) as core,
        Results("cache", about) as results,
    ):
        measure_samples(results, core)
        if len(cores) == 1:
            results.note("There is one core: what is said to be written by another one was written by it.")


if __name__ == "__main__":
    main()
