"""What a sample and a record cost in user space: ingest into the flow cache, encode of ended flows. `make bench`.

The product's own C functions, called as the data thread calls them; the records go nowhere.
"""

import random
import time
from fractions import Fraction

from bench.results import Results
from exporter._native import ffi
from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from lib.samples import batch, sample

SAMPLE_SIZE = ffi.sizeof("struct sample")
BATCH = 1024
SAMPLES = 4_000_000
FORCED_END = 4


def batches(flows: int) -> list[bytearray]:
    """Samples of `flows` flows in random order, as many batches as show each flow at least twice."""
    order = random.Random(flows)
    template = bytes(ffi.buffer(batch([sample()])))
    address = ffi.offsetof("struct sample", "key") + ffi.offsetof("struct flow_key", "src_addr")
    made = []
    for _ in range(max(64, 2 * flows // BATCH)):
        octets = bytearray(template * BATCH)
        for i in range(BATCH):
            at = i * SAMPLE_SIZE + address
            octets[at : at + 4] = order.randrange(flows).to_bytes(4, "big")
        made.append(octets)
    return made


def main() -> None:
    """Two figures for each number of flows."""
    with Results("exporter", "The product's own C functions, called as the data thread calls them.") as results:
        measure(results)


def measure(results: Results) -> None:
    """Measure all of them."""
    for flows in (1_000, 65_536, 1_000_000):
        options = ExporterOptions(cache_max_flows=2 * flows, cache_active_timeout=4200, cache_idle_timeout=4200)
        with Exporter(options, pause=lambda _: None) as exporter:
            exporter.set_weight(0, Fraction(1), [main_selector(options)])
            exporter.tick(1)
            made = batches(flows)
            for octets in made:  # every flow is there: what follows is look-up and count
                exporter.ingest(octets, BATCH)
            rounds = max(1, SAMPLES // (len(made) * BATCH))
            begin = time.perf_counter()
            for _ in range(rounds):
                for octets in made:
                    exporter.ingest(octets, BATCH)
            ingest = (time.perf_counter() - begin) / (rounds * len(made) * BATCH)
            cached = exporter.cache.stats()["flows"]
            begin = time.perf_counter()
            exporter.flush(FORCED_END, 2, 2)
            encode = (time.perf_counter() - begin) / cached
        results.figure(f"{cached} flows, a sample into the flow cache", "ns", [ingest * 1e9])
        results.figure(f"{cached} flows, expired and encoded", "M records/s", [1e-6 / encode], at_least=5)


if __name__ == "__main__":
    main()
