"""The kernel maps: made here, the same for both loaders.

sampler.kernel.gates and sampler.tunnels.tunnelmaps fill them, sampler.kernel.ring reads them.
"""

import errno
import math
import os
import sys
from typing import Self

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.refusal import refusal

# Kernel UAPI, <linux/bpf.h>.
MAP_TYPE_HASH = 1
MAP_TYPE_ARRAY = 2
MAP_TYPE_PERF_EVENT_ARRAY = 4
MAP_TYPE_PERCPU_ARRAY = 6
F_NO_PREALLOC = 1 << 0
F_MMAPABLE = 1 << 10

# Tunnel netdevs (no more have gates), and inner MAC addresses behind them. Entries take memory as they come, the hash
# tables 16 octets a bucket from the start: 64 KiB and 2 MiB.
TUNNEL_PORTS_MAX = 1 << 12
TUNNEL_NEIGHBOURS_MAX = 1 << 17

KEY_SIZE = 4  # of arrays, and of interface numbers
WINDOW_SIZE = 656  # struct window, asserted in bpf/cursor.h


class Maps:
    """The maps of bpf/maps.h by name.

    Attributes:
        cpus: there is room for so many CPUs: all that this kernel may ever have.
        unanswered: samples of observed programs that had no exit when their tracer closed (sampler.kernel.tracer).

    Raises:
        StartError: the kernel refuses: no privilege, lockdown, no memory.

    """

    def __init__(self) -> None:
        self.cpus = int(lib.bpf_possible_cpus())
        self.unanswered = 0
        self._fds: dict[str, int] = {}
        self._selection, self._barrier = ffi.NULL, -1
        state, gate = ffi.sizeof("struct cpu_state"), ffi.sizeof("struct gate")
        config, table = ffi.sizeof("struct sampling_config"), ffi.sizeof("struct log2_table")
        port, neighbour = ffi.sizeof("struct tunnel_port"), ffi.sizeof("struct tunnel_neighbour")
        key_size = ffi.sizeof("struct tunnel_neighbour_key")
        try:
            self._create("cpus", MAP_TYPE_ARRAY, state, self.cpus, F_MMAPABLE)
            self._create("gates", MAP_TYPE_PERCPU_ARRAY, gate, lib.GATE_SLOTS)
            self._create("selection", MAP_TYPE_ARRAY, 4, 1, F_MMAPABLE)
            self._create("config", MAP_TYPE_ARRAY, config, lib.SELECTIONS)
            self._create("gate_rules", MAP_TYPE_ARRAY, ffi.sizeof("struct gate_rules"), lib.SELECTIONS * lib.GATE_SLOTS)
            self._create("rule_tables", MAP_TYPE_ARRAY, ffi.sizeof("struct rule_tables"), lib.SELECTIONS)
            self._create(
                "port_rules", MAP_TYPE_ARRAY, ffi.sizeof("struct port_rules"), lib.SELECTIONS * lib.PORT_TABLES
            )
            self._create("log2_table", MAP_TYPE_ARRAY, table, 1)
            self._create("windows", MAP_TYPE_PERCPU_ARRAY, WINDOW_SIZE, 1)
            self._create("port_tunnels", MAP_TYPE_ARRAY, ffi.sizeof("struct port_tunnels"), lib.PORT_ENTRIES)
            self._create("tunnel_ports", MAP_TYPE_HASH, port, TUNNEL_PORTS_MAX, F_NO_PREALLOC)
            self._create("tunnel_neighbours", MAP_TYPE_HASH, neighbour, TUNNEL_NEIGHBOURS_MAX, F_NO_PREALLOC, key_size)
            self._create("ring", MAP_TYPE_PERF_EVENT_ARRAY, 4, self.cpus)
            self.update("log2_table", 0, log2_table())
            self._seed()
            self._selection = self._map_selection()
            self._barrier = self._create_barrier()
        except BaseException:
            self.close()
            raise

    def _create(
        self, name: str, kind: int, value_size: int, entries: int, flags: int = 0, key_size: int = KEY_SIZE
    ) -> None:
        fd = lib.bpf_create_map(kind, name.encode(), key_size, value_size, entries, flags)
        if fd < 0:
            raise StartError(f"BPF map {name} cannot be made: {refusal(-fd)}")
        self._fds[name] = fd

    def _seed(self) -> None:
        """Give each CPU random numbers of its own."""
        state = ffi.new("struct cpu_state *")
        for cpu in range(self.cpus):
            state.random = int.from_bytes(os.urandom(8), sys.byteorder)
            self.update("cpus", cpu, state)

    def _map_selection(self) -> "ffi.CData":
        word = lib.bpf_map_word(self._fds["selection"])
        if word == ffi.NULL:
            raise StartError(f"BPF map selection cannot be mapped: {refusal(ffi.errno)}")
        return word

    def _create_barrier(self) -> int:
        fd: int = lib.bpf_create_barrier(self._fds["config"])
        if fd < 0:
            raise StartError(f"BPF map barrier cannot be made: {refusal(-fd)}")
        return fd

    @property
    def selection(self) -> int:
        """The number of the selection in force: its place is this modulo SELECTIONS."""
        return int(self._selection[0])

    def select(self, number: int) -> None:
        """Put the selection of this number in force: every gate takes it at its next packet."""
        lib.bpf_store_word(self._selection, number)

    def wait_programs(self) -> None:
        """Wait until every program that runs now has ended, some 10 ms.

        Behind select(), all samples of the selection before are in batches or on the ring, and its place is free.
        """
        self._check(lib.bpf_wait_programs(self._barrier, self._fds["config"]), "barrier", 0)

    def fd(self, name: str) -> int:
        """The descriptor of a map, owned by this object."""
        return self._fds[name]

    def fds(self) -> dict[str, int]:
        """The descriptors of all maps by name, owned by this object."""
        return dict(self._fds)

    def update(self, name: str, key: "int | bytes", value: "ffi.CData | bytes") -> None:
        """Write an element; of a per-CPU map one value a possible CPU."""
        self._check(lib.bpf_update_map(self._fds[name], _pointer(key), _pointer(value)), name, key)

    def lookup(self, name: str, key: "int | bytes", value: "ffi.CData") -> None:
        """Read an element into `value`; of a per-CPU map one value a possible CPU."""
        self._check(lib.bpf_lookup_map(self._fds[name], _pointer(key), value), name, key)

    def delete(self, name: str, key: "int | bytes") -> None:
        """Take an element out of a hash; nothing happens where it is not there."""
        error = lib.bpf_delete_map(self._fds[name], _pointer(key))
        if error != -errno.ENOENT:
            self._check(error, name, key)

    @staticmethod
    def _check(error: int, name: str, key: "int | bytes") -> None:
        if error:
            shown = key if isinstance(key, int) else key.hex()
            raise OSError(-error, f"BPF map {name}, element {shown}: {os.strerror(-error)}")

    def close(self) -> None:
        """Close the descriptors; the maps live on while a loaded program uses them."""
        if self._selection != ffi.NULL:
            lib.bpf_unmap_word(self._selection)
            self._selection = ffi.NULL
        if self._barrier >= 0:
            os.close(self._barrier)
            self._barrier = -1
        while self._fds:
            os.close(self._fds.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pointer(item: "int | bytes | ffi.CData") -> "ffi.CData":
    """Give what the kernel reads: a number is a __u32, octets are themselves."""
    if isinstance(item, int):
        return ffi.new("__u32 *", item)
    return ffi.from_buffer(item) if isinstance(item, bytes) else item


def log2_table() -> "ffi.CData":
    """log2(1 + i / LOG2_STEPS) in 0.63 fixed point, for i = 0 .. LOG2_STEPS."""
    table = ffi.new("struct log2_table *")
    for i in range(lib.LOG2_STEPS + 1):
        table.value[i] = int(math.log2(1 + i / lib.LOG2_STEPS) * 2**63)
    return table
