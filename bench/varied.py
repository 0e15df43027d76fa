"""Programs that make each run of BPF_PROG_TEST_RUN a packet of another flow, and hand it on to the program measured.

A test run has one frame. The program here writes the next flow's number into it and tail-calls; what that costs
is measured with an empty program behind it.
"""

import ctypes
import os
import struct

from lib.programs import BPF_MAP_CREATE, TC_UNSPEC, TYPES, XDP_PASS, Counter, bpf, instruction
from sampler._native import ffi, lib
from sampler.kernel.features import kernel_features
from sampler.kernel.loader_bcc import XDP_HAS_FRAGS

BPF_MAP_UPDATE_ELEM, BPF_MAP_TYPE_PROG_ARRAY = 2, 3
DATA = {"xdp": (0, 4), "tc": (76, 80)}  # data and data_end in struct xdp_md and struct __sk_buff
PASS = {"xdp": XDP_PASS, "tc": TC_UNSPEC}
# Behind the begin of an Ethernet frame with IPv4: lower half of the source address, source port.
ADDRESS, PORT, END = 28, 34, 38


def load(kind: str, code: bytes) -> int:
    """Load instructions as the sampler's are: a program tail-calls only what is like it. Gives its descriptor."""
    flags = XDP_HAS_FRAGS if kind == "xdp" and kernel_features()["xdp_load_bytes"] else 0
    log = ffi.new("char[]", 65536)
    fd = int(lib.bpf_load_instructions(TYPES[kind], b"bench", code, len(code) // 8, flags, log, len(log)))
    if fd < 0:
        raise OSError(-fd, os.strerror(-fd), ffi.string(log).decode())
    return fd


def verdict(kind: str) -> bytes:
    """Let the packet pass."""
    return instruction(0xB7, 0, 0, 0, PASS[kind]) + instruction(0x95)  # r0 = verdict, return r0


def empty(kind: str) -> int:
    """Load a program that only lets the packet pass. Gives its descriptor."""
    return load(kind, verdict(kind))


class Varied:
    """A program that gives the one whose descriptor it is made with `flows` flows by turns. A context manager.

    `start`: octets in front of the Ethernet frame whose IPv4 packet is varied.

    Attributes:
        fd: its own descriptor.

    """

    def __init__(self, kind: str, fd: int, flows: int, start: int = 0) -> None:
        self._number = Counter()
        self._next = bpf(BPF_MAP_CREATE, struct.pack("IIII", BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1))
        data, data_end = DATA[kind]
        count = instruction(0x62, 10, 0, -4, 0)  # *(u32 *)(r10 - 4) = 0
        count += instruction(0xBF, 2, 10) + instruction(0x07, 2, 0, 0, -4)  # r2 = r10 - 4
        count += instruction(0x18, 1, 1, 0, self._number.fd) + instruction(0)  # r1 = map
        count += instruction(0x85, 0, 0, 0, 1)  # r0 = bpf_map_lookup_elem(r1, r2)
        count += instruction(0x55, 0, 0, 2, 0) + verdict(kind)  # if r0 == 0: leave
        count += instruction(0x79, 7, 0) + instruction(0x07, 7, 0, 0, 1)  # r7 = *(u64 *)r0 + 1
        count += instruction(0xA5, 7, 0, 1, flows) + instruction(0xB7, 7)  # if r7 >= flows: r7 = 0
        count += instruction(0x7B, 0, 7)  # *(u64 *)r0 = r7
        write = instruction(0x61, 2, 6, data) + instruction(0x61, 3, 6, data_end)  # r2 = data, r3 = data_end
        write += instruction(0xBF, 4, 2) + instruction(0x07, 4, 0, 0, start + END)  # r4 = r2 + start + END
        write += instruction(0x2D, 4, 3, 2)  # if r4 > r3: over the next two
        write += instruction(0x6B, 2, 7, start + ADDRESS) + instruction(0x6B, 2, 7, start + PORT)  # *(u16 *)… = r7
        call = instruction(0xBF, 1, 6) + instruction(0x18, 2, 1, 0, self._next) + instruction(0)  # r1 = ctx, r2 = map
        call += instruction(0xB7, 3) + instruction(0x85, 0, 0, 0, 12)  # bpf_tail_call(r1, r2, 0)
        self.fd = load(kind, instruction(0xBF, 6, 1) + count + write + call + verdict(kind))  # r6 = ctx
        key, value = ctypes.c_uint32(0), ctypes.c_uint32(fd)
        update = struct.pack("IxxxxQQQ", self._next, ctypes.addressof(key), ctypes.addressof(value), 0)
        bpf(BPF_MAP_UPDATE_ELEM, update)

    def __enter__(self) -> "Varied":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        os.close(self._next)
        self._number.close()
