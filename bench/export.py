"""What a flow record costs: expiry and encoding into a null sink, and export to a collector on loopback that counts.

The collector runs on another core. Beside it the path of one record a message and one system call a message, as Open
vSwitch exports, made of this exporter's own encoder: what is compared is the batching alone.
"""

import multiprocessing
import os
import random
import resource
import socket
import subprocess
import time
from array import array
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any

from cffi import FFI

from bench import TREE
from bench.results import Results
from exporter._native import ffi, lib
from exporter.cache import NS_PER_S, SAMPLE_SIZE, Cache
from exporter.encoder import Encoder
from exporter.exporter import Exporter
from exporter.exporting import ENCODE_BATCH
from exporter.options import ExporterOptions, Target
from exporter.profiles import profile
from exporter.selector import main_selector
from exporter.transports.udp import connected_socket
from lib.samples import batch, sample

ENCODE_GOAL = 5e6
EXPORT_GOAL = 1e6
TIMES_GOAL = 10
ENCODE_FLOWS = (1_000, 65_536, 1_000_000)
EXPORT_FLOWS = 1_000_000
SINGLE_FLOWS = 200_000
ROUNDS = 5
FORCED_END = 4
IDLE_SECONDS = 15
MESSAGE_OVERHEAD = 16 + 4  # header, and that of the set
BUFFER = 1 << 29  # of the collector's socket: what waits there for a core that is somebody else's for a while
SO_RCVBUFFORCE = 33
QUIET = 1.0  # seconds after which nothing more comes
TIME = ffi.offsetof("struct sample", "meta") + ffi.offsetof("struct sample_meta", "time")
ADDRESS = ffi.offsetof("struct sample", "key") + ffi.offsetof("struct flow_key", "src_addr")


def datagrams() -> tuple[FFI, Any]:
    """Compile bench/native/datagrams.c and load it."""
    library = TREE / ".state/bench/datagrams.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    source = TREE / "bench/native/datagrams.c"
    subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)
    own = FFI()
    own.cdef(
        """
        struct message;
        struct received { uint64_t records, messages, octets, last, malformed; };
        void receive(int fd, unsigned int data_set, unsigned int record_size, uint64_t expected,
                     struct received *received);
        int send_each(int fd, const uint8_t *buffer, const struct message *messages, unsigned int count);
        """
    )
    return own, own.dlopen(str(library))


def fill(cache: Cache | Exporter, flows: int) -> None:
    """One sample for each flow, of UDP over IPv4; the last packets of all are spread over a minute, in no order."""
    order = random.Random(flows)
    template = bytes(ffi.buffer(batch([sample(ip_protocol=17)])))
    for first in range(0, flows, ENCODE_BATCH):
        count = min(ENCODE_BATCH, flows - first)
        octets = bytearray(template * count)
        numbers = array("I", range(first, first + count)).tobytes()
        times = array("Q", [order.randrange(NS_PER_S, 60 * NS_PER_S) for _ in range(count)]).tobytes()
        for at, values, size in ((ADDRESS, numbers, 4), (TIME, times, 8)):
            for octet in range(size):
                octets[at + octet :: SAMPLE_SIZE] = values[octet::size]
        cache.ingest(ffi.cast("struct sample *", ffi.from_buffer(octets)), count)


def options(flows: int, *targets: Target) -> ExporterOptions:
    """Flows that end when they are idle, none of them before."""
    return ExporterOptions(
        cache_max_flows=2 * flows, cache_active_timeout=4200, cache_idle_timeout=IDLE_SECONDS, targets=targets
    )


def expire(exporter: Exporter, flows: int) -> float:
    """Let so many flows end by their timeouts, in one tick; seconds."""
    fill(exporter, flows)
    before = exporter.exporting.records
    now = round((time.monotonic() + 1000) * NS_PER_S)
    begin = time.perf_counter()
    exporter.tick(now, limit=2 * flows)
    spent = time.perf_counter() - begin
    if exporter.exporting.records - before != flows:
        raise AssertionError(f"{exporter.exporting.records - before} records of {flows} flows")
    exporter.rewind(1)
    return spent


def measure_encoding(results: Results) -> None:
    """Expiry and encoding; there is no collector."""
    for flows in ENCODE_FLOWS:
        rates = []
        with Exporter(options(flows), pause=lambda _: None) as exporter:
            exporter.set_weight(0, Fraction(1), [main_selector(exporter.options)])
            exporter.tick(1)
            for _ in range(ROUNDS):
                rates.append(flows / expire(exporter, flows))
        goal = ENCODE_GOAL if flows == max(ENCODE_FLOWS) else None
        results.figure(f"expiry and encoding, {flows} flows", "records/s", rates, at_least=goal)


def collect(pipe: Connection, cpu: int, data_set: int, record_size: int) -> None:
    """Be the collector: for each number of records that comes by the pipe receive as many, and say what came when."""
    os.sched_setaffinity(0, {cpu})
    own, library = datagrams()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        sock.bind(("127.0.0.1", 0))
        seconds = int(QUIET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds.to_bytes(8, "little") + bytes(8))
        pipe.send(sock.getsockname()[1])
        while expected := pipe.recv():
            received = own.new("struct received *")
            pipe.send("ready")
            library.receive(sock.fileno(), data_set, record_size, expected, received)
            pipe.send((received.records, received.messages, received.malformed, received.last))


class Collector:
    """The process that collects, on another core where there is one."""

    def __init__(self, data_set: int, record_size: int) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self._pipe, there = multiprocessing.Pipe()
        arguments = (there, cores[-1], data_set, record_size)
        self._process = multiprocessing.Process(target=collect, args=arguments, daemon=True)
        self._process.start()
        os.sched_setaffinity(0, {cores[0]})
        self.port: int = self._pipe.recv()

    def expect(self, records: int) -> None:
        """Let it count anew."""
        self._pipe.send(records)
        self._pipe.recv()

    def rate(self, records: int, begin_ns: int) -> tuple[float, float]:
        """Records a second from `begin_ns` to the last that came, and records a message. AssertionError for a loss."""
        count, messages, malformed, last = self._pipe.recv()
        if count != records or malformed:
            raise AssertionError(f"{count} records of {records} came, {malformed} messages are malformed")
        return count / (last - begin_ns) * 1e9, count / messages

    def close(self) -> None:
        """End it."""
        self._pipe.send(0)
        self._process.join()


def layout() -> tuple[int, int]:
    """Template id and octets of the records that are exported here."""
    with Cache(options(1)) as cache:
        cache.set_weight(0, Fraction(1), [main_selector(options(1))])
        fill(cache, 1)
        flows = ffi.new("struct flow *[]", 1)
        cache.flush(FORCED_END, 1)
        encoder = Encoder(profile("full", False), "", 1, 1400)
        if cache.take(flows, 1) != 1 or encoder.encode(flows, 1, 1, 1400) != 1:
            raise AssertionError("no record")
        ((data_set,),) = encoder.used.values()
        size = encoder.messages[0].length - MESSAGE_OVERHEAD
        cache.release(flows, 1)
        return data_set, size


class Single:
    """The path of one record a message: all flows end, are encoded and sent, each by a system call of its own."""

    def __init__(self, port: int, record_size: int) -> None:
        self._socket = connected_socket(Target("127.0.0.1", port))
        self._socket.setblocking(True)
        self._limit = MESSAGE_OVERHEAD + record_size
        self._own, self._library = datagrams()
        self._encoder = Encoder(profile("full", False), "", ENCODE_BATCH, self._limit)
        self.cache = Cache(options(SINGLE_FLOWS))
        self.cache.set_weight(0, Fraction(1), [main_selector(options(SINGLE_FLOWS))])

    def run(self) -> None:
        """Export what the cache has."""
        flows = ffi.new("struct flow *[]", ENCODE_BATCH)
        encoder, sequence, export_time = self._encoder, 0, round(time.time())
        while self.cache.flush(FORCED_END, ENCODE_BATCH):
            count = self.cache.take(flows, ENCODE_BATCH)
            if encoder.encode(flows, count, export_time, self._limit) != count or encoder.count != count:
                raise AssertionError("a message that holds more or less than one record")
            sequence = lib.encode_headers(encoder.buffer, encoder.messages, count, export_time, sequence)
            messages = self._own.cast("struct message *", int(ffi.cast("uintptr_t", encoder.messages)))
            buffer = self._own.cast("uint8_t *", int(ffi.cast("uintptr_t", encoder.buffer)))
            sent = self._library.send_each(self._socket.fileno(), buffer, messages, count)
            if sent != count:
                raise OSError(-sent, os.strerror(-sent))
            self.cache.release(flows, count)

    def close(self) -> None:
        """Free all."""
        self._socket.close()
        self.cache.close()


class Batched:
    """The exporter's own path, with as many flows a round."""

    def __init__(self, collector: Collector, flows: int) -> None:
        self._collector, self._flows = collector, flows
        chosen = options(flows, Target("127.0.0.1", collector.port))
        self._exporter = Exporter(chosen, pause=lambda _: None)
        self._exporter.set_weight(0, Fraction(1), [main_selector(chosen)])
        self._exporter.tick(1)
        self.rates: list[float] = []
        self.cpu: list[float] = []
        """ns a record."""
        self.dozen = 0.0
        """Records a message."""

    def round(self) -> None:
        """Export them all."""
        fill(self._exporter, self._flows)
        self._collector.expect(self._flows)
        begin, used = time.monotonic_ns(), resource.getrusage(resource.RUSAGE_SELF)
        self._exporter.flush(FORCED_END, begin, begin)  # no time to spread bursts over: no pauses
        after = resource.getrusage(resource.RUSAGE_SELF)
        rate, self.dozen = self._collector.rate(self._flows, begin)
        self.rates.append(rate)
        self.cpu.append((after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime) / self._flows * 1e9)

    def rewind(self) -> None:
        """Be ready for a round, which sends what is due: not between others' records, whose messages are counted."""
        self._exporter.rewind(1)

    def close(self) -> None:
        """Free all."""
        self._exporter.close()


def single_rate(single: Single, collector: Collector) -> float:
    """Records a second of a round of the other path."""
    fill(single.cache, SINGLE_FLOWS)
    collector.expect(SINGLE_FLOWS)
    begin = time.monotonic_ns()
    single.run()
    rate, one = collector.rate(SINGLE_FLOWS, begin)
    if one != 1:
        raise AssertionError(f"{one} records a message")
    return rate


def measure_export(results: Results) -> None:
    """Both paths with as many flows to the same collector, in turn; and ours with many."""
    data_set, size = layout()
    collector = Collector(data_set, size)
    single = Single(collector.port, size)
    many, few = Batched(collector, EXPORT_FLOWS), Batched(collector, SINGLE_FLOWS)
    singles: list[float] = []
    for _ in range(ROUNDS):
        many.round()
        few.round()
        singles.append(single_rate(single, collector))
        many.rewind()
        few.rewind()
    for used in (many, few, single, collector):
        used.close()
    results.figure("received by a local collector", "records/s", many.rates, at_least=EXPORT_GOAL)
    results.figure("CPU of the exporter's process", "ns a record", many.cpu)
    results.figure(f"received by a local collector, {SINGLE_FLOWS} flows", "records/s", few.rates)
    results.figure(f"one record a message, as Open vSwitch sends, {SINGLE_FLOWS} flows", "records/s", singles)
    times = [rate / one for rate, one in zip(few.rates, singles, strict=True)]
    results.figure("times that", "", times, at_least=TIMES_GOAL)
    results.note(f"A record has {size} octets, a message of 1400 octets {many.dozen:.1f} records.")


def main() -> None:
    """Measure both."""
    about = (
        "1 M flows of UDP over IPv4 where no other number stands, profile full. Expiry and encoding: by the idle "
        "timeout, in no order, in one tick and without targets. Export: all flows at once, over UDP on loopback, with "
        "the exporter's pauses between bursts switched off (for users they stay: a collector's socket buffer is "
        "small); a collector on the other core counts the records that came by the lengths of their sets, and none may "
        "be missing. What is compared with one record a message has as many flows as that, in the same rounds."
    )
    with Results("export", about) as results:
        measure_encoding(results)
        measure_export(results)


if __name__ == "__main__":
    main()
