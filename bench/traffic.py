"""Live traffic on a veth of its own: frames that the kernel makes (generator.bpf.c), and the program that drops them.

The generator and all that receives run on one CPU: lv0's frames are lv1's at the end of each batch, so nothing is lost
before the programs on lv1, and the rate is one over the cost of all of it.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lib.bpfobject import BpfObject
from lib.netns import Namespace, veth
from lib.programs import TC_SHOT, TC_UNSPEC, XDP_DROP, XDP_PASS, Counter, program, run_live
from lib.traffic import link_counters, udp_frame
from lib.xdp import XdpLink
from sampler._native import ffi, lib

SOURCE = Path(__file__).with_name("generator.bpf.c")
FRAME = udp_frame(payload=18)  # 64 octets with the check sequence
SENDER, RECEIVER = "lv0", "lv1"
# The traffic's CPU, and that of whoever takes samples.
CPUS = sorted(os.sched_getaffinity(0))
TRAFFIC_CPU, READER_CPU = CPUS[0], CPUS[-1]
SECOND = 10**9


class State(ctypes.Structure):
    """struct traffic of generator.bpf.c."""

    _fields_ = (
        ("sent", ctypes.c_uint64),
        ("due", ctypes.c_uint64),
        ("gap", ctypes.c_uint64),
        ("flows", ctypes.c_uint32),
        ("link", ctypes.c_uint32),
        ("began", ctypes.c_uint64),
        ("latest", ctypes.c_uint64),
        ("marked", ctypes.c_uint64),
    )


class Generator:
    """Sends into one link of a namespace. A context manager."""

    def __init__(self, namespace: Namespace, link: str) -> None:
        self._namespace = namespace
        self._link = namespace.ifindex(link)
        self._object = BpfObject(SOURCE, "generate")

    def send(self, frames: int, flows: int, rate: float = 0) -> float:
        """Send these frames, `flows` addresses and ports by turns, at this many a second (0: all that there is).

        Gives ns a frame, from the first to the last: making and freeing the frames' pages, 30 ms, is not in it.
        """
        state = State(gap=round(SECOND / rate) if rate else 0, flows=flows, link=self._link)
        self._map(lib.bpf_update_map, state)
        fd = self._object.fd_of("generate")

        def run() -> None:
            os.sched_setaffinity(threading.get_native_id(), {TRAFFIC_CPU})
            run_live(fd, FRAME, frames)

        self._namespace.call(run)
        self._map(lib.bpf_lookup_map, state)
        assert state.sent == frames
        return float(state.latest - state.began) / state.marked

    def _map(self, call: Callable[..., int], state: State) -> None:
        assert call(self._object.map("traffic"), ffi.new("__u32 *", 0), ffi.from_buffer(state)) == 0

    def close(self) -> None:
        """Unload it."""
        self._object.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Wire:
    """A namespace with lv0 -> lv1, a generator into it, and a tcx program at its end that counts and drops.

    A context manager.
    """

    def __init__(self) -> None:
        self.namespace = Namespace()
        self.namespace.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        veth(self.namespace, SENDER, None, self.namespace, RECEIVER, None)
        # NAPI without an XDP program: else lv0 takes no frame that is redirected to it.
        self.namespace.run("ethtool", "-K", RECEIVER, "gro", "on")
        self._counter = Counter()
        self._sink = self.attach(program("tc", TC_SHOT, self._counter, "drop"), lib.LINK_TCX_INGRESS)
        self._generator = Generator(self.namespace, SENDER)

    def attach(self, fd: int, place: int) -> int:
        """Attach a program to lv1, before those that are there; its link's descriptor."""
        with self.namespace.enter():
            link = int(lib.link_create(fd, self.namespace.ifindex(RECEIVER), place))
        assert link >= 0, os.strerror(-link)
        os.close(fd)
        return link

    @contextmanager
    def beside(self, kind: str) -> Iterator[int]:
        """An empty tc program on lv1, for the while; its descriptor."""
        fd = program(kind, TC_UNSPEC if kind == "tc" else XDP_PASS, name="empty")
        link = self.attach(os.dup(fd), lib.LINK_TCX_INGRESS if kind == "tc" else lib.LINK_XDP_NATIVE)
        try:
            yield fd
        finally:
            os.close(link)
            os.close(fd)

    @contextmanager
    def dropping_at_xdp(self) -> Iterator[Counter]:
        """A native XDP program on lv1 that counts and drops, for the while."""
        with XdpLink(self.namespace, RECEIVER, fd := program("xdp", XDP_DROP, counter := Counter())):
            yield counter
        os.close(fd)
        counter.close()

    def arrived(self) -> int:
        """Frames that came to the end."""
        return self._counter.value()

    def send(self, frames: int, flows: int, rate: float = 0) -> float:
        """Send; ns a frame. AssertionError unless all of them come to lv1."""
        before = link_counters(self.namespace, RECEIVER)["rx_packets"]
        spent = self._generator.send(frames, flows, rate)
        arrived = link_counters(self.namespace, RECEIVER)["rx_packets"] - before
        assert arrived == frames, f"{arrived} of {frames} frames arrived"
        return spent

    def close(self) -> None:
        """Take all of it down."""
        self._generator.close()
        os.close(self._sink)
        self._counter.close()
        self.namespace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
