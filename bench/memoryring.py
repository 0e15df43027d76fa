"""Perf rings in memory that a producer fills as the kernel does, for what reads them: no kernel's time is in it."""

import random
import struct
from array import array
from mmap import PAGESIZE, mmap
from typing import Any

from exporter._native import ffi as exporter_ffi
from lib.samples import batch
from sampler._native import ffi, lib
from sampler.kernel.ring import BATCH_SIZE, SAMPLE_SIZE, Ring

# struct perf_event_mmap_page of <linux/perf_event.h>, which takes a page in front of the data.
DATA_HEAD, DATA_TAIL, DATA_OFFSET = 1024, 1032, 1040
PERF_RECORD_SAMPLE = 9
# perf_event_header, then the length of the raw data, which with its four octets is a multiple of 8.
HEADER = struct.Struct("=IHHI")
BATCH = ffi.sizeof("struct batch")
PADDING = -(HEADER.size + BATCH) % 8
RECORD = HEADER.size + BATCH + PADDING
ADDRESS = exporter_ffi.offsetof("struct sample", "key") + exporter_ffi.offsetof("struct flow_key", "src_addr")


class MemoryRings(Ring):
    """Rings of `pages` pages each, read by the product's own code. A context manager."""

    def __init__(self, count: int, pages: int) -> None:
        self._size = pages * PAGESIZE
        self._memory = [mmap(-1, PAGESIZE + self._size) for _ in range(count)]
        for memory in self._memory:
            struct.pack_into("=Q", memory, DATA_OFFSET, PAGESIZE)
        self._states = ffi.new("struct cpu_state[]", count)
        pointers = ffi.new("void *[]", [ffi.from_buffer(memory) for memory in self._memory])
        out = ffi.new("struct ring **")
        if lib.ring_over(out, pointers, count, pages, self._states):
            raise MemoryError("no memory for rings")
        self._ring: Any = out[0]
        self._cpus = count

    def put(self, cpu: int, record: bytearray) -> bool:
        """Append a record, its sequence set here; whether the ring had room."""
        memory = self._memory[cpu]
        head, tail = struct.unpack_from("=QQ", memory, DATA_HEAD)
        state = self._states[cpu].batch
        state.sequence += BATCH_SIZE
        if head - tail + RECORD > self._size:
            return False
        struct.pack_into("=Q", record, HEADER.size, state.sequence)
        start = head % self._size
        end = min(start + RECORD, self._size)
        memory[PAGESIZE + start : PAGESIZE + end] = record[: end - start]
        if rest := RECORD - (end - start):
            memory[PAGESIZE : PAGESIZE + rest] = record[-rest:]
        struct.pack_into("=Q", memory, DATA_HEAD, head + RECORD)
        return True

    @property
    def handle(self) -> Any:
        """The struct ring *, for calls of C functions as they are."""
        return self._ring


class Producer:
    """Makes records of samples like `template`, which differ in four octets of their source address.

    Args:
        template: of lib.samples.sample().
        flows: how many addresses there are.
        seed: of their random order.

    """

    def __init__(self, template: dict[str, Any], flows: int, seed: int = 1) -> None:
        octets = bytes(exporter_ffi.buffer(batch([template] * BATCH_SIZE)))
        self._record = bytearray(HEADER.pack(PERF_RECORD_SAMPLE, 0, RECORD, BATCH + PADDING) + bytes(8))
        self._record += octets + bytes(PADDING)
        self._address = HEADER.size + 8 + ADDRESS + (12 if template["ip_version"] == 6 else 0)
        self._flows = flows
        self._random = random.Random(seed)

    def fill(self, rings: MemoryRings, records: int, first: int | None = None) -> None:
        """Append so many records to each ring, of flows at random, or one after the other from number `first` on."""
        for cpu in range(rings._cpus):
            count = records * BATCH_SIZE
            numbers = array("I", self._random.randbytes(4 * count)) if first is None else range(first, first + count)
            numbers = array("I", [number % self._flows for number in numbers])
            numbers.byteswap()
            octets = numbers.tobytes()
            end = self._address + BATCH_SIZE * SAMPLE_SIZE
            for at in range(0, len(octets), 4 * BATCH_SIZE):
                for octet in range(4):
                    columns = octets[at + octet : at + 4 * BATCH_SIZE : 4]
                    self._record[self._address + octet : end + octet - SAMPLE_SIZE + 1 : SAMPLE_SIZE] = columns
                if not rings.put(cpu, self._record):
                    raise OverflowError("the ring has no room: read it before")
