"""Tiny real BPF programs by raw instructions, for tests of what is attached around the real ones."""

import ctypes
import os
import platform
import socket
import struct

BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM, BPF_PROG_LOAD, BPF_PROG_TEST_RUN = 0, 1, 5, 10
BPF_F_TEST_XDP_LIVE_FRAMES = 2
LIVE_BATCH = 64  # the kernel's own, of frames that are made and sent at once
BPF_MAP_TYPE_ARRAY = 2
TYPES = {"tc": 3, "xdp": 6}  # BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP
TC_UNSPEC, TC_OK, TC_SHOT = -1, 0, 2
XDP_DROP, XDP_PASS = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, max(len(attributes), 128))
    result = int(_libc.syscall(BPF_SYSCALL, command, buffer, len(buffer)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | destination, offset, immediate)


class Counter:
    """An array map of one u64, that programs of this module count packets in."""

    def __init__(self) -> None:
        self.fd = bpf(BPF_MAP_CREATE, struct.pack("IIII", BPF_MAP_TYPE_ARRAY, 4, 8, 1))

    def value(self) -> int:
        key, value = ctypes.c_uint32(0), ctypes.c_uint64(0)
        bpf(
            BPF_MAP_LOOKUP_ELEM,
            struct.pack("IxxxxQQQ", self.fd, ctypes.addressof(key), ctypes.addressof(value), 0),
        )
        return value.value

    def close(self) -> None:
        os.close(self.fd)


def load(kind: str, code: bytes, name: str = "test") -> int:
    """Load these instructions. Gives the program's descriptor."""
    text, license_ = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "IIQQIIQII16s",
        TYPES[kind],
        len(code) // 8,
        ctypes.addressof(text),
        ctypes.addressof(license_),
        0,
        0,
        0,
        0,
        0,
        name.encode()[:15],
    )
    return bpf(BPF_PROG_LOAD, attributes)


def program(
    kind: str, verdict: int, counter: Counter | None = None, name: str = "test", redirect_to: int | None = None
) -> int:
    """Load a program that counts the packet, if told to, and returns `verdict`. Gives its descriptor.

    `redirect_to`: instead of the verdict, bpf_redirect() out of the link of that ifindex.
    """
    code = b""
    if counter is not None:
        code += instruction(0x62, 10, 0, -4, 0)  # *(u32 *)(r10 - 4) = 0
        code += instruction(0xBF, 2, 10) + instruction(0x07, 2, 0, 0, -4)  # r2 = r10 - 4
        code += instruction(0x18, 1, 1, 0, counter.fd) + instruction(0)  # r1 = map
        code += instruction(0x85, 0, 0, 0, 1)  # r0 = bpf_map_lookup_elem(r1, r2)
        code += instruction(0x15, 0, 0, 2, 0)  # if r0 == 0: over the next two
        code += instruction(0xB7, 1, 0, 0, 1)  # r1 = 1
        code += instruction(0xDB, 0, 1, 0, 0)  # lock *(u64 *)r0 += r1
    if redirect_to is None:
        code += instruction(0xB7, 0, 0, 0, verdict)  # r0 = verdict
    else:
        code += instruction(0xB7, 1, 0, 0, redirect_to) + instruction(0xB7, 2)  # r1 = ifindex, r2 = 0
        code += instruction(0x85, 0, 0, 0, 23)  # r0 = bpf_redirect(r1, r2)
    code += instruction(0x95)  # return r0
    return load(kind, code, name)


def run_live(fd: int, frame: bytes, count: int) -> None:
    """Give an XDP program so many frames of the kernel's making, whose verdicts are followed (Linux 5.18)."""
    data = ctypes.create_string_buffer(frame, len(frame))
    head = (fd, 0, len(frame), 0, ctypes.addressof(data), 0, count)
    bpf(
        BPF_PROG_TEST_RUN,
        struct.pack("IIIIQQIIIIQQIIIxxxx", *head, 0, 0, 0, 0, 0, BPF_F_TEST_XDP_LIVE_FRAMES, 0, LIVE_BATCH),
    )


def vlan_pusher(*tags: tuple[int, int]) -> int:
    """Load a tc program that puts VLAN tags (TPID, TCI) on each packet, the innermost first, and passes it on.

    The kernel keeps the last one beside the frame, where the device can take it so.
    """
    code = instruction(0xBF, 6, 1)  # r6 = ctx
    for tpid, tci in tags:
        code += instruction(0xBF, 1, 6)  # r1 = ctx
        code += instruction(0xB7, 2, 0, 0, socket.htons(tpid)) + instruction(0xB7, 3, 0, 0, tci)
        code += instruction(0x85, 0, 0, 0, 18)  # bpf_skb_vlan_push(r1, r2, r3)
    return load("tc", code + instruction(0xB7, 0, 0, 0, TC_UNSPEC) + instruction(0x95))


class CountingPrograms:
    """Stands where the sampler's loaded programs stand: counts per program and passes every packet on."""

    def __init__(self) -> None:
        kinds = {"sample_tc_ingress": "tc", "sample_tc_egress": "tc", "sample_xdp": "xdp"}
        self.counters = {name: Counter() for name in kinds}
        self._fds = {
            name: program(kind, TC_UNSPEC if kind == "tc" else XDP_PASS, self.counters[name], name)
            for name, kind in kinds.items()
        }

    def fd(self, name: str) -> int:
        return self._fds[name]

    def counts(self) -> dict[str, int]:
        return {name: counter.value() for name, counter in self.counters.items()}

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        for counter in self.counters.values():
            counter.close()
