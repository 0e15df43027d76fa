"""What a sample of psample costs in user space, beside what receiving its message alone costs. `make bench`.

Messages come by a netlink socket of user space, as psample's do by its own. Those of another command are left at their
header: what they cost is the kernel's handing over, nearly all of it.
"""

import time
from fractions import Fraction

from bench.results import Results
from exporter._native import ffi
from exporter.cache import LASTING_FIRST
from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import Selector
from lib.psample import Wire, attributes, message
from lib.traffic import udp_frame
from sampler.psample.combinations import Combination, Place
from sampler.psample.options import PsampleSource
from sampler.psample.source import Source

GROUP, SAMPLE, OTHER = 10, 0, 2
BATCH = 4096
MESSAGES = 20_000
ROUNDS = 9


def cost(wire: Wire, source: Source, exporter: Exporter, batch: bytearray, command: int) -> list[float]:
    """CPU time of this thread, ns a message, for each round."""
    octets = message(attributes(udp_frame(payload=86), GROUP, time_ns=time.time_ns()), command=command)
    rounds = []
    for _ in range(ROUNDS):
        for _ in range(MESSAGES):
            wire.send(octets)
        begin = time.thread_time()
        # Messages that are no samples end a call, and at its next one begins where there is nothing any more.
        for _ in range(MESSAGES // BATCH + 20):
            if count := source.read(batch):
                exporter.ingest(batch, count)
        rounds.append((time.thread_time() - begin) / MESSAGES * 1e9)
    return rounds


def main() -> None:
    """Two figures."""
    options = ExporterOptions()
    combination, selector = Combination(GROUP, 1, False, 0, 0), Selector(1, 0, Fraction(1), 0, 0)
    batch = bytearray(BATCH * ffi.sizeof("struct sample"))
    with (
        Wire() as wire,
        Source(PsampleSource(GROUP, "main", receive_buffer=1 << 26)) as source,
        Exporter(options, pause=lambda _: None) as exporter,
    ):
        exporter.set_weight(LASTING_FIRST, Fraction(1), [selector])
        source.attach(wire.receiver())
        source.add(combination, Place(LASTING_FIRST, 0))
        received, whole = (cost(wire, source, exporter, batch, command) for command in (OTHER, SAMPLE))
        assert source.stats()["samples"] == exporter.stats()["samples_ingested"] == ROUNDS * MESSAGES
    with Results(
        "psample", "Messages as psample's, by a netlink socket of user space: CPU time of the reading thread."
    ) as results:
        results.figure("a sample of psample", "ns", whole)
        results.figure("of them for receiving its message", "ns", received)


if __name__ == "__main__":
    main()
