"""What a sample costs in user space: perf ring → flow cache, by flows, kinds and rings; and what flows take in memory.

`python -m bench.cache`; `python -m bench.cache KIND FLOWS` fills a cache and prints the process's memory.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

from bench import TREE
from bench.memoryring import MemoryRings, Producer
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

PAGES = 256  # the default of ring_pages
RECORDS = 92  # a quarter of the ring, which wakes the reader
ROUND = 300_000  # samples of a round
ROUNDS = 7
FLOWS = (1, 10, 100, 1_000, 10_000, 65_536, 262_144, 1_000_000)
KIND_FLOWS = 65_536
GOALS = {1_000: 30, 65_536: 100, 1_000_000: 130}
MEMORY_GOAL = 250
MEMORY_FLOWS = 1_000_000
RINGS = (1, 2, 4, 8)

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
        self.spent: dict[str, list[float]] = {}
        """Nanoseconds a sample by what was measured, a number a round."""
        for first in range(0, flows, RECORDS * BATCH_SIZE):
            self._producer.fill(self.rings, RECORDS, first)
            bare(self)

    def measure(self, drain: Callable[["Way"], int]) -> None:
        """Measure a round of what reads the rings: without the time of who fills them."""
        spent = done = 0
        while done < ROUND:
            self._producer.fill(self.rings, RECORDS)
            begin = time.perf_counter_ns()
            done += drain(self)
            spent += time.perf_counter_ns() - begin
        self.spent.setdefault(drain.__name__, []).append(spent / done)

    def check(self) -> None:
        """AssertionError where a sample was lost or a flow was new."""
        stats, rings = self.exporter.cache.stats(), self.rings.stats()
        if stats["flows"] != self._flows or rings["lost"] or rings["pending"]:
            raise AssertionError(f"{stats['flows']} flows of {self._flows}; rings: {rings}")

    def close(self) -> None:
        """Free both."""
        self.rings.close()
        self.exporter.close()


def bare(way: Way) -> int:
    """Read and count by the two C functions, and nothing around them; how many samples."""
    read, ingest = sampler_lib.ring_read, exporter_lib.cache_ingest
    ring, cache = way.rings.handle, way.exporter.cache.handle
    room = sampler_ffi.from_buffer("struct sample[]", way.batch)
    samples, capacity, total = ffi.cast("struct sample *", ffi.from_buffer(way.batch)), len(room), 0
    while count := read(ring, room, capacity):
        ingest(cache, samples, count)
        total += count
    return total


def thread(way: Way) -> int:
    """Read and count as the data thread does, who looks after each batch what flows ended."""
    total = 0
    while count := way.rings.read(way.batch):
        way.exporter.ingest(way.batch, count)
        total += count
    return total


def read(way: Way) -> int:
    """Read and count nothing."""
    total = 0
    while count := way.rings.read(way.batch):
        total += count
    return total


def measure_samples(results: Results) -> None:
    """Every way a round, and again: what disturbs the machine disturbs all."""
    plain = {flows: Way(PLAIN, flows) for flows in FLOWS}
    kinds = {PLAIN: plain[KIND_FLOWS]} | {kind: Way(kind, KIND_FLOWS) for kind in KINDS if kind != PLAIN}
    rings = {1: plain[KIND_FLOWS]} | {count: Way(PLAIN, KIND_FLOWS, count) for count in RINGS if count != 1}
    ways = list({id(way): way for way in [*plain.values(), *kinds.values(), *rings.values()]}.values())
    for _ in range(ROUNDS):
        for way in ways:
            way.measure(bare)
        for flows in GOALS:
            plain[flows].measure(thread)
        plain[min(GOALS)].measure(read)
    for way in ways:
        way.check()
    for flows, goal in GOALS.items():
        results.figure(f"ring → cache, {flows} flows", "ns a sample", plain[flows].spent["bare"], at_most=goal)
    for flows in GOALS:
        results.figure(f"as the data thread calls it, {flows} flows", "ns a sample", plain[flows].spent["thread"])
    results.figure("of that reading the ring, nothing counted", "ns a sample", plain[min(GOALS)].spent["read"])
    for kind, way in kinds.items():
        results.figure(f"ring → cache, {kind}, {KIND_FLOWS} flows", "ns a sample", way.spent["bare"])
    line = [(flows, statistics.median(way.spent["bare"])) for flows, way in plain.items()]
    results.curve("ring → cache by flows", "flows", "ns a sample", {"xdpfix": line})
    line = [(count, statistics.median(way.spent["bare"])) for count, way in rings.items()]
    results.curve("ring → cache by rings", "rings", "ns a sample", {"xdpfix": line})
    for way in ways:
        way.close()


def measure_memory(results: Results) -> None:
    """A process for each kind of flows, which are all there is in it."""
    for kind in KINDS:
        arguments = [sys.executable, "-m", "bench.cache", kind, str(MEMORY_FLOWS)]
        octets = float(subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=TREE).stdout)
        goal = MEMORY_GOAL if kind.endswith("IPv4") else None
        results.figure(f"resident memory, 1 M flows of {kind}", "MB", [octets / 1e6], at_most=goal)


def fill(kind: str, flows: int) -> None:
    """Fill a cache and print the octets that the process has resident."""
    way = Way(kind, flows)
    if way.exporter.cache.stats()["flows"] != flows:
        raise AssertionError(f"{way.exporter.cache.stats()['flows']} flows of {flows}")
    print(int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE)


def main() -> None:
    """Measure, or be the process that is measured."""
    if len(sys.argv) == 3:
        fill(sys.argv[1], int(sys.argv[2]))
        return
    about = (
        "Samples of flows in random order, all of them known, lie on perf rings in memory (256 pages, a quarter full, "
        "as when the reader is woken); ring_read() and cache_ingest() are called as the data thread calls them. The "
        "time of who fills the rings is not in it. Memory: of a process that holds a full cache, with Python and all."
    )
    with Results("cache", about) as results:
        measure_samples(results)
        measure_memory(results)


if __name__ == "__main__":
    main()
