"""A packet's octets in the window where they are parsed: all of them, whatever their number, and no others."""

import random

import pytest

from lib.testrun import Kernel
from lib.tunnel_frames import IN_ETHER, OVER_UDP4, VXLAN_PORT, udp, vxlan
from sampler._native import ffi, lib
from sampler.kernel.loader_libbpf import LibbpfPrograms
from sampler.kernel.maps import WINDOW_SIZE

OCTETS = 256  # of the window; those behind it are slack
PROGRAMS = ("sample_xdp", "sample_tc_ingress", "sample_tc_egress")


def in_window(kernel: Kernel) -> bytes:
    """This CPU's window."""
    values = ffi.new("char[]", lib.bpf_possible_cpus() * WINDOW_SIZE)
    kernel.maps.lookup("windows", 0, values)
    start = kernel.cpu * WINDOW_SIZE
    return bytes(ffi.buffer(values)[start : start + OCTETS])


def assert_frames(kernel: Kernel, name: str) -> None:
    """Frames of no known protocol; what lay in the window behind a frame is not touched."""
    for length in range(14, 300):
        frame = random.randbytes(12) + b"\xff\xff" + random.randbytes(length - 14)
        kernel.sample(name, bytes(OCTETS))
        kernel.sample(name, frame)
        assert in_window(kernel) == frame[:OCTETS].ljust(OCTETS, b"\0")


def assert_inner_packets(kernel: Kernel, name: str) -> None:
    """VXLAN packets; behind an inner packet in the window lies still what the outer one left there."""
    for length in range(1, 300):
        inner = (bytes(IN_ETHER) + random.randbytes(300))[:length]
        frame = bytes(OVER_UDP4 / udp(VXLAN_PORT) / vxlan(inner))
        kernel.sample(name, bytes(OCTETS))
        kernel.sample(name, frame)
        assert in_window(kernel) == (inner + frame[len(inner) :])[:OCTETS].ljust(OCTETS, b"\0")


@pytest.mark.parametrize("name", PROGRAMS)
def test_frames_and_inner_packets_of_any_length(kernel, name):
    assert_frames(kernel, name)
    assert_inner_packets(kernel, name)


def test_without_the_kernels_helper(kernel):
    """Before Linux 5.18 XDP programs have none."""
    with LibbpfPrograms(kernel.maps, {"xdp_load_bytes": 0}) as programs:
        old = Kernel(kernel.maps, programs, kernel.gates, kernel.cpu, kernel.cpus)
        assert_frames(old, "sample_xdp")
        assert_inner_packets(old, "sample_xdp")
