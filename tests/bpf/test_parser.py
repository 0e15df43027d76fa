"""The kernel's parser, at tc and XDP under both loaders, makes the sample that the native one makes."""

import pytest

from lib.frames import FRAMES
from lib.testrun import IFINDEX, octets
from sampler._native import lib
from sampler.captures.parser import parse
from sampler.kernel.loader_libbpf import LibbpfPrograms


@pytest.mark.parametrize("program", ["sample_xdp", "sample_tc_ingress", "sample_tc_egress"])
@pytest.mark.parametrize("name", FRAMES)
def test_same_sample_as_native(kernel, program, name):
    assert octets(kernel.sample(program, FRAMES[name])) == octets(parse(FRAMES[name]))


@pytest.mark.parametrize("program", ["sample_xdp", "sample_tc_ingress"])
@pytest.mark.parametrize("name", ["ipv4 tcp", "ipv6 chain", "qinq", "mpls ipv4"])
def test_truncated_at_every_octet(kernel, program, name):
    # The kernel's test run makes no skb without an octet behind Ethernet, or with part of an IP header there.
    shortest = 15 if program == "sample_xdp" else {"ipv4 tcp": 34, "ipv6 chain": 54}.get(name, 15)
    for length in range(shortest, len(FRAMES[name])):
        frame = FRAMES[name][:length]
        assert octets(kernel.sample(program, frame)) == octets(parse(frame)), length


def test_super_packet(kernel):
    frame = FRAMES["ipv4 tcp options"]
    sample = kernel.sample("sample_tc_ingress", frame, segments=7, segment_size=1)
    assert octets(sample) == octets(parse(frame, segments=7, segment_size=1))
    assert sample.meta.packets == 7


@pytest.mark.parametrize("program,passes", [("sample_xdp", 2), ("sample_tc_ingress", -1), ("sample_tc_egress", -1)])
def test_passes_packet_on(kernel, program, passes):
    assert kernel.run(program, FRAMES["arp"], repeat=40) == passes


def test_xdp_without_the_load_helper(kernel):
    """Kernels before 5.18 copy from the frame's first buffer; every length from one word to past the window."""
    with LibbpfPrograms(kernel.maps, {"xdp_load_bytes": 0}) as programs:
        kernel.programs = programs
        for name, frame in FRAMES.items():
            assert octets(kernel.sample("sample_xdp", frame)) == octets(parse(frame)), name
        for length in range(14, 300):
            frame = (FRAMES["ipv6 long chain"] + bytes(300))[:length]
            assert octets(kernel.sample("sample_xdp", frame)) == octets(parse(frame)), length


def test_layer3_device(kernel):
    kernel.gates.close(IFINDEX, lib.DIRECTION_INGRESS)
    kernel.gates.open(IFINDEX, lib.DIRECTION_INGRESS, l3=True)
    for name in ("ipv4 tcp", "ipv6 tcp"):
        frame = FRAMES[name][14:]
        assert octets(kernel.sample("sample_xdp", frame)) == octets(parse(frame, l3=True)), name
