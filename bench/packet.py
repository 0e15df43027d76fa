"""What a packet costs in the kernel: ns over an empty program of the same type, in the same run. `make bench`.

BPF_PROG_TEST_RUN with a 64-byte IPv4/UDP frame, and with one inside VXLAN; the ring is read by a
thread on another CPU, so that a sampled packet pays for the ring too. Rules have no main exporter beside them.
"""

import os
import threading
from fractions import Fraction

from bench.results import Results
from lib import tunnel_frames
from lib.programs import program
from lib.rules import exactly, key_offset, rule
from lib.traffic import udp_frame
from sampler._native import ffi, lib
from sampler.kernel.gates import Gates
from sampler.kernel.loader import load
from sampler.kernel.maps import Maps
from sampler.kernel.ring import Ring
from sampler.kernel.selection import KernelRule, Selection

IFINDEX = 1
REPEAT = 200_000
ROUNDS = 9
PLAIN, VXLAN = udp_frame(payload=18), tunnel_frames.FRAMES["vxlan"].frame


def rated(interval: int) -> Selection:
    """The main exporter alone."""
    return Selection(KernelRule(None, Fraction(1, interval)))


def ruled(count: int, matching: bool = False, probability: int = 1) -> Selection:
    """Rules for every packet that ask for IPv4, UDP and both addresses, and both ports.

    Those that do not match differ from the packet in the last that is looked at, the destination port.
    """
    addresses = bytes.fromhex("c6336402c0000201")
    asked = exactly(key_offset("ethertype"), b"\x08\x00") | exactly(key_offset("ip_protocol"), b"\x11")
    asked |= exactly(key_offset("src_addr"), addresses[:4]) | exactly(key_offset("dst_addr"), addresses[4:])
    ports = [((1, 65535),) if matching else ((1000 + bit, 65535),) for bit in range(count)]
    rules = [rule(asked, Fraction(1, probability), ((1, 65535),), port) for port in ports]
    # One takes all that it accepts: every packet passes the gate.
    return Selection(None, [*rules[1:], rule(asked, 1, ((1, 65535),), ports[0])])


CASES = {
    "not sampled (1:1000000000)": (rated(10**9), PLAIN),
    "1:1000": (rated(1000), PLAIN),
    "1:100": (rated(100), PLAIN),
    "1:1": (rated(1), PLAIN),
    "1:1, VXLAN inside": (rated(1), VXLAN),
    "no rule for this interface": (Selection(None, [rule(ifindexes=frozenset({9}))]), PLAIN),
    "1 rule, not matching": (ruled(1), PLAIN),
    "64 rules, none matching": (ruled(64), PLAIN),
    "1 rule, matching": (ruled(1, matching=True), PLAIN),
    "64 rules, all matching": (ruled(64, matching=True), PLAIN),
    "64 rules, all drawing": (ruled(64, matching=True, probability=2), PLAIN),
}
KINDS = {"xdp": "sample_xdp", "tc": "sample_tc_ingress"}


def duration(fd: int, kind: str, frame: bytes) -> int:
    """Mean ns of one run of the program."""
    value, mean = ffi.new("__u32 *"), ffi.new("__u32 *")
    skb = ffi.new("struct bpf_skb_context *", (IFINDEX, 0, 0)) if kind == "tc" else ffi.NULL
    error = lib.bpf_test_run(fd, frame, len(frame), skb, IFINDEX * (kind == "xdp"), REPEAT, value, mean)
    if error:
        raise OSError(-error, os.strerror(-error))
    return int(mean[0])


def read(ring: Ring, stop: threading.Event) -> None:
    """Empty the rings until told to stop."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    batch = ring.new_batch()
    while not stop.is_set():
        ring.poll(0.01)
        while ring.read(batch):
            pass


ABOUT = (
    "BPF_PROG_TEST_RUN with a 64-byte IPv4/UDP frame: ns over an empty program of the same type in the same round, "
    "with the ring being read on the other core."
)
GOALS = {"1:1000": 10, "1:1": 130, "1:1, VXLAN inside": 180}


def main() -> None:
    """A figure for each loader, program and case."""
    with Results("packet", ABOUT) as results:
        measure(results)


def measure(results: Results) -> None:
    """Measure all of them."""
    for loader in ("libbpf", "bcc"):
        with Maps() as maps, Ring(maps, 1024) as ring:
            for entry, value in enumerate(tunnel_frames.ports()):
                maps.update("port_tunnels", entry, ffi.addressof(value))
            programs, gates, stop = load(loader, maps), Gates(maps), threading.Event()
            gates.open(IFINDEX, 0)
            reader = threading.Thread(target=read, args=(ring, stop))
            reader.start()
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            for kind, name in KINDS.items():
                empty_fd = program(kind, -1 if kind == "tc" else 2)
                for label, (selection, frame) in CASES.items():
                    gates.set_selection(1, selection)
                    empty, over = [], []
                    for _ in range(ROUNDS):
                        empty.append(duration(empty_fd, kind, frame))
                        over.append(duration(programs.fd(name), kind, frame) - empty[-1])
                    results.figure(f"{loader}, {kind}, {label}", "ns over empty", over, at_most=GOALS.get(label))
                os.close(empty_fd)
            stop.set()
            ring.wake()
            reader.join()
            lost = ring.stats()["lost"]
            results.note(f"{loader}: {lost} samples lost on the ring of {ring.stats()['appended']}")
            programs.close()


if __name__ == "__main__":
    main()
