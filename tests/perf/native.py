"""What is counted of user space: run by valgrind (lib/callgrind.py), it drives the product's own functions.

All input is the same each time: seeds, times, flows. Each way is gone once before it is counted.
"""

import os
import tempfile
import time
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench.memoryring import MemoryRings, Producer
from exporter.cache import LASTING_FIRST, SAMPLE_SIZE
from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import Selector, main_selector
from lib import frames, tunnel_frames
from lib.callgrind import Counted
from lib.capturefile import pcap
from lib.harness import TCP_V4, TCP_V6, UDP_V4, UDP_V6, VXLAN
from lib.psample import Wire, attributes, message
from lib.receiver import Receiver
from lib.samples import batch, sample
from lib.testrun import IFINDEX, run
from sampler._native import ffi, lib
from sampler.captures.capture import Capture
from sampler.kernel.gates import Gates
from sampler.kernel.loader import load
from sampler.kernel.maps import Maps
from sampler.kernel.ring import Ring
from sampler.kernel.selection import KernelRule, Selection
from sampler.psample.combinations import Combination, Place
from sampler.psample.options import PsampleSource
from sampler.psample.source import Source

SAMPLES = FLOWS = 1000
SECOND = 10**9
IDLE = 10  # seconds
DEADLINE = 60  # seconds that nothing takes
KINDS: dict[str, dict[str, Any]] = {
    "IPv4 UDP": UDP_V4,
    "IPv4 TCP": TCP_V4,
    "IPv6 UDP": UDP_V6,
    "IPv6 TCP": TCP_V6,
    "in VXLAN": TCP_V4 | {"tunnel": VXLAN},
}
FRAMES = {
    "IPv4 TCP": frames.FRAMES["ipv4 tcp"],
    "IPv4 UDP": frames.FRAMES["ipv4 udp padded"],
    "IPv6 TCP": frames.FRAMES["ipv6 tcp"],
    "IPv6 UDP behind extension headers": frames.FRAMES["ipv6 chain"],
    "IPv6 UDP with two VLAN tags": frames.FRAMES["qinq"],
    "in VXLAN": tunnel_frames.FRAMES["vxlan"].frame,
    "in Geneve": tunnel_frames.FRAMES["geneve"].frame,
    "in GRE": tunnel_frames.FRAMES["gre"].frame,
}


def exporter(rules: tuple[int, ...] = (), **options: Any) -> Exporter:
    """An exporter with a seed of its own, whose clock stands at the first second."""
    chosen = ExporterOptions(cache_max_flows=2 * FLOWS, cache_idle_timeout=IDLE, **options)
    made = Exporter(chosen, offset=lambda: 0, pause=lambda _: None, seed=1)
    selectors = [Selector(number + 1, number, Fraction(1), 0, 0) for number in rules]
    made.set_weight(0, Fraction(1), selectors or [main_selector(chosen)])
    made.tick(SECOND)
    return made


def samples(kind: dict[str, Any], **changes: Any) -> Any:
    """A sample of each of FLOWS flows."""
    addresses = [f"10.0.{number // 256}.{number % 256}" for number in range(FLOWS)]
    if kind["ip_version"] == 6:
        addresses = [f"2001:db8::{number:x}" for number in range(FLOWS)]
    return batch([sample(kind, src_addr=address, time=SECOND, **changes) for address in addresses])


def ingest(counted: Counted) -> None:
    """Samples into the flow cache."""
    for kind, base in KINDS.items():
        made = samples(base)
        with exporter() as sink:
            with counted(f"ingest, {kind}, first packet of a flow", FLOWS):
                sink.ingest(made, FLOWS)
            with counted(f"ingest, {kind}, further packet", FLOWS):
                sink.ingest(made, FLOWS)
    with exporter(rules=(0, 1, 2, 3)) as sink:
        for label, taken in {"one rule takes it": 0b1, "four rules take it": 0b1111, "no rule of ours": 1 << 9}.items():
            made = samples(UDP_V4, main=0, rules=taken)
            sink.ingest(made, FLOWS)
            with counted(f"ingest, IPv4 UDP, {label}", FLOWS):
                sink.ingest(made, FLOWS)


def records(counted: Counted) -> None:
    """Ended flows into records, and messages on their way."""
    for kind, base in KINDS.items():
        with exporter() as sink:
            sink.ingest(samples(base), FLOWS)
            with counted(f"expire and encode, {kind}", FLOWS):
                sink.tick((2 + IDLE) * SECOND)
            assert sink.stats()["records"] == FLOWS
    with Receiver() as receiver, exporter(targets=(receiver.target,)) as sink:
        sink.ingest(samples(UDP_V4), FLOWS)
        with counted("expire, encode and send, IPv4 UDP", FLOWS):
            sink.tick((2 + IDLE) * SECOND)
        receiver.read()
        assert len(receiver.oracle.records) == FLOWS


def ring(counted: Counted) -> None:
    """Samples of the kernel's programs out of the perf ring."""
    frame = FRAMES["IPv4 UDP"]
    full = SAMPLES - SAMPLES % lib.BATCH_SIZE
    with Maps() as maps, Ring(maps, 64) as rings, load("libbpf", maps) as programs:
        gates = Gates(maps)
        gates.open(IFINDEX, lib.DIRECTION_INGRESS)
        gates.set_selection(0, Selection(KernelRule(None, Fraction(1))))
        octets = rings.new_batch()
        for counting in (nullcontext(), counted("ring, a sample read", full)):
            run(programs.fd("sample_xdp"), "xdp", frame, full)
            with counting:
                assert rings.read(octets) == full
            assert rings.read(octets) == 0


def feed(counted: Counted) -> None:
    """Samples of known flows on their whole way from the ring into the flow cache, as the data thread calls it."""
    records = SAMPLES // lib.BATCH_SIZE
    producer = Producer(sample(UDP_V4, time=SECOND), FLOWS)
    with MemoryRings(1, 64) as rings, exporter() as sink:
        octets = rings.new_batch()
        for counting in (nullcontext(), counted("ring into the flow cache, a sample", records * lib.BATCH_SIZE)):
            producer.fill(rings, records, 0)
            until = time.monotonic() + DEADLINE
            with counting:
                assert not rings.feed(octets, [sink.inlet()], until, wait=False)
        assert sink.cache.stats()["flows"] == records * lib.BATCH_SIZE
        assert rings.stats()["received"] == 2 * records * lib.BATCH_SIZE


def psample(counted: Counted) -> None:
    """Samples of the kernel's psample out of a netlink socket."""
    octets = message(attributes(FRAMES["IPv4 UDP"], 10, time_ns=time.time_ns()))
    room = bytearray(SAMPLES * SAMPLE_SIZE)
    with Wire() as wire, Source(PsampleSource(10, "main", receive_buffer=1 << 24)) as source:
        source.attach(wire.receiver())
        source.add(Combination(10, 1, False, 0, 0), Place(LASTING_FIRST, 0))
        for counting in (nullcontext(), counted("psample, a sample read", SAMPLES)):
            for _ in range(SAMPLES):
                wire.send(octets)
            with counting:
                assert source.read(room) == SAMPLES


def capture(counted: Counted, folder: Path) -> None:
    """Packets of a capture file, read and parsed."""
    room = ffi.new("struct sample[]", SAMPLES)
    for kind, frame in FRAMES.items():
        path = folder / f"{kind}.pcap"
        path.write_bytes(pcap([frame] * SAMPLES, times=[100] * SAMPLES))
        with Capture(str(path)) as opened:
            opened.set_tunnels(tunnel_frames.ports())
            with counted(f"capture, {kind}, read and parsed", SAMPLES):
                assert opened.read(room) == SAMPLES
    with Capture(str(folder / "IPv4 UDP.pcap")) as opened:
        opened.set_sampling(2**32 - 1, 0)  # the first of them is sampled once in four million runs
        with counted("capture, not sampled", SAMPLES):
            assert opened.read(room) == 0


def main() -> None:
    """Count all of it, on one CPU: it has all samples of the kernel's programs in one batch after the other."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Counted() as counted, tempfile.TemporaryDirectory() as folder:
        ring(counted)
        feed(counted)
        psample(counted)
        capture(counted, Path(folder))
        ingest(counted)
        records(counted)


if __name__ == "__main__":
    main()
