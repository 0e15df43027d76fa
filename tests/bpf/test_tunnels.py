"""Tunnels in the kernel, at tc and XDP under both loaders: the sample that the native parser makes, at every length."""

from fractions import Fraction

import pytest

from lib.testrun import IFINDEX, octets
from lib.tunnel_frames import FALLBACKS, FRAMES, PLAIN, ports
from sampler._native import lib
from sampler.captures.parser import parse
from sampler.kernel.loader_libbpf import LibbpfPrograms

PORTS = ports()
MISSES = {
    lib.TUNNEL_MISS_FRAGMENT: "fragment",
    lib.TUNNEL_MISS_HEADER: "header",
    lib.TUNNEL_MISS_SHORT: "short",
    lib.TUNNEL_MISS_PAYLOAD: "payload",
    lib.TUNNEL_MISS_SEGMENT: "segment",
}
ALL = (
    {name: case.frame for name, case in FRAMES.items()}
    | {name: frame for name, (frame, _) in FALLBACKS.items()}
    | PLAIN
)


@pytest.mark.parametrize("program", ["sample_xdp", "sample_tc_ingress", "sample_tc_egress"])
def test_same_sample_as_native(kernel, program):
    for name, frame in ALL.items():
        sample = kernel.sample(program, frame)
        assert octets(sample) == octets(parse(frame, ports=PORTS)), name
        assert (sample.key.ifindex, sample.key.direction) == (IFINDEX, program == "sample_tc_egress"), name


@pytest.mark.parametrize("program", ["sample_xdp", "sample_tc_ingress"])
@pytest.mark.parametrize(
    "name", ["vxlan", "geneve ipv6 longest options", "gre key checksum sequence", "lisp", "stt tag"]
)
def test_truncated_at_every_octet(kernel, program, name):
    # The kernel's test run makes no skb without an octet behind Ethernet, or with part of an IP header there.
    frame = FRAMES[name].frame
    shortest = 15 if program == "sample_xdp" else 54 if "ipv6" in name else 34
    for length in range(shortest, len(frame)):
        assert octets(kernel.sample(program, frame[:length])) == octets(parse(frame[:length], ports=PORTS)), length


def test_xdp_without_the_load_helper(kernel):
    """Kernels before 5.18 copy the inner packet from the frame's first buffer."""
    with LibbpfPrograms(kernel.maps, {"xdp_load_bytes": 0}) as programs:
        kernel.programs = programs
        for name, frame in ALL.items():
            assert octets(kernel.sample("sample_xdp", frame)) == octets(parse(frame, ports=PORTS)), name


def test_super_packets(kernel):
    for name in ("vxlan", "geneve options", "gre key", "stt"):
        frame = FRAMES[name].frame
        found = kernel.sample("sample_tc_ingress", frame, segments=7, segment_size=1)
        assert octets(found) == octets(parse(frame, ports=PORTS, segments=7, segment_size=1)), name


def test_each_miss_is_counted_under_its_name(kernel):
    """Per cause one counter, in samples and in packets, and no other of them moves."""
    for frame, miss in FALLBACKS.values():
        before, _ = kernel.gates.counters()
        kernel.sample("sample_tc_ingress", frame)
        after, _ = kernel.gates.counters()
        moved = {name for name in after if name.startswith("tunnel_") and after[name] != before[name]}
        assert moved == {f"tunnel_{MISSES[miss]}"}


def test_switched_off_the_wire_is_described(kernel):
    """enable_tunnel_sampling = false: the outer flow is plain traffic, and nothing is missed."""
    kernel.set_sampling(Fraction(1), 0, tunnels=False)
    for name, frame in ALL.items():
        assert octets(kernel.sample("sample_tc_ingress", frame)) == octets(parse(frame)), name
