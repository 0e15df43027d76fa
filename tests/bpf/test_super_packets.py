"""Super-packets in the kernel: their count where the skb has none, and estimates without bias from any mix of sizes."""

import math
from fractions import Fraction

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q

from lib.frames import ETHER, FRAMES, IP4, IP6
from lib.testrun import IFINDEX, octets
from lib.tunnel_frames import (
    GENEVE_PORT,
    GRE4,
    GRE6,
    LISP_PORT,
    OVER_UDP4,
    OVER_UDP6,
    VXLAN_PORT,
    geneve,
    gre,
    lisp,
    udp,
    vxlan,
)
from sampler._native import lib
from sampler.captures.parser import parse

SIZE = 400  # a test run's packet is no longer than a page
TIMESTAMPS = TCP(sport=1, dport=2, flags="A", options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))])
GUESTS = {
    "ipv4 tcp": ETHER / IP4 / TCP(),
    "ipv4 tcp timestamps": ETHER / IP4 / TIMESTAMPS,
    "ipv4 options": ETHER / IP(src="192.0.2.1", dst="192.0.2.2", options=[b"\x94\x04\x00\x00"]) / TIMESTAMPS,
    "ipv4 udp": ETHER / IP4 / UDP(),
    "ipv6 tcp": ETHER / IP6 / TCP(),
    "ipv6 tcp timestamps": ETHER / IP6 / TIMESTAMPS,
    "ipv6 udp": ETHER / IP6 / UDP(),
    "vlan": ETHER / Dot1Q(vlan=5) / IP4 / TIMESTAMPS,
    "qinq": ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / IP6 / TIMESTAMPS,
}


@pytest.mark.parametrize("name", GUESTS)
def test_count_of_a_guests_super_packet(kernel, name):
    """The kernel sets gso_segs only when it segments what a guest sent: headers and segment size tell before."""
    for payload in (1, SIZE, SIZE + 1, 2 * SIZE - 1, 2 * SIZE, 7 * SIZE):
        frame = bytes(GUESTS[name] / bytes(payload))
        sample = kernel.sample("sample_tc_ingress", frame, segments=0, segment_size=SIZE)
        packets = math.ceil(payload / SIZE)
        assert sample.meta.packets == packets, payload
        assert octets(sample) == octets(parse(frame, segments=packets, segment_size=SIZE * (packets > 1)))
        assert sample.meta.frame_octets == packets * (len(frame) - payload) + payload


INNER = ETHER / IP4 / TIMESTAMPS
TUNNELLED_GUESTS = {
    "vxlan": OVER_UDP4 / udp(VXLAN_PORT) / vxlan(INNER),
    "vxlan ipv6 inner vlan": OVER_UDP6 / udp(VXLAN_PORT) / vxlan(ETHER / Dot1Q(vlan=5) / IP6 / TIMESTAMPS),
    "vxlan-gpe": OVER_UDP4 / udp(VXLAN_PORT) / vxlan(IP6 / TIMESTAMPS, flags=0x0C, protocol=2),
    "geneve options": OVER_UDP4 / udp(GENEVE_PORT) / geneve(INNER, options=bytes(12)),
    "geneve ip": OVER_UDP6 / udp(GENEVE_PORT) / geneve(IP4 / TIMESTAMPS, 0x0800),
    "gre key": GRE4 / gre(INNER, key=7),
    "gre ipv6 checksum sequence": GRE6 / gre(IP6 / TIMESTAMPS, 0x86DD, checksum=True, sequence=True),
    "lisp": OVER_UDP4 / udp(LISP_PORT) / lisp(IP4 / TIMESTAMPS),
}


@pytest.mark.parametrize("name", TUNNELLED_GUESTS)
def test_count_of_a_guests_super_packet_in_a_tunnel(kernel, name):
    """On its way out through a tunnel the count is still not there, and the inner headers are in every segment."""
    for payload in (1, SIZE, SIZE + 1, 2 * SIZE - 1, 2 * SIZE, 7 * SIZE):
        frame = bytes(TUNNELLED_GUESTS[name] / bytes(payload))
        sample = kernel.sample("sample_tc_egress", frame, segments=0, segment_size=SIZE)
        assert sample.meta.packets == math.ceil(payload / SIZE), payload


@pytest.mark.parametrize("last", [SIZE, SIZE - 10])
def test_octets_of_a_tunnels_super_packet(kernel, last):
    """The inner headers are in every segment. Described by its outer ones, they are found when the segments are full,
    else up to what is lacking; described by the inner ones they are known."""
    inner = bytes(ETHER / IP4 / TIMESTAMPS)
    payload = 2 * SIZE + last
    frame = bytes(
        ETHER
        / IP4
        / UDP(sport=1000, dport=4789)
        / (b"\x08" + bytes(7) + bytes(ETHER / IP4 / TIMESTAMPS / bytes(payload)))
    )
    sample = kernel.sample("sample_tc_ingress", frame, segments=3, segment_size=SIZE)
    assert sample.key.tunnel.type == lib.TUNNEL_VXLAN
    assert sample.meta.frame_octets == payload + 3 * len(inner)
    assert sample.meta.ip_octets == sample.meta.frame_octets - 3 * 14
    kernel.set_sampling(Fraction(1), 0, tunnels=False)
    sample = kernel.sample("sample_tc_ingress", frame, segments=3, segment_size=SIZE)
    assert octets(sample) == octets(parse(frame, segments=3, segment_size=SIZE))
    headers = len(frame) - 3 * SIZE
    assert sample.meta.packets == 3
    assert sample.meta.frame_octets == len(frame) + 2 * headers
    assert sample.meta.ip_octets == sample.meta.frame_octets - 3 * 14
    assert sample.meta.ip_length == headers - 14 + SIZE


@pytest.mark.parametrize("name", ["ipv4 tcp timestamps", "ipv6 udp"])
def test_count_without_ethernet_header(kernel, name):
    kernel.gates.close(IFINDEX, lib.DIRECTION_EGRESS)
    kernel.gates.open(IFINDEX, lib.DIRECTION_EGRESS, l3=True)
    for payload in (2 * SIZE + 1, 3 * SIZE):
        frame = bytes(GUESTS[name] / bytes(payload))[14:]
        sample = kernel.sample("sample_tc_egress", frame, segments=0, segment_size=SIZE)
        assert (sample.meta.packets, sample.meta.ip_octets) == (3, 3 * (len(frame) - payload) + payload)


def test_no_octets_go_missing_from_what_is_no_ipv6_packet(kernel):
    """A jumbo option is taken out by segmentation only where there is one: a device may say IPv6 and be wrong."""
    kernel.gates.close(IFINDEX, lib.DIRECTION_INGRESS)
    kernel.gates.open(IFINDEX, lib.DIRECTION_INGRESS, l3=True)
    # The test run takes the ethertype from where an Ethernet header has it. No version, no length, hop-by-hop next.
    frame = bytes(12) + b"\x86\xdd" + bytes(100)
    sample = kernel.sample("sample_tc_ingress", frame, segments=2, segment_size=len(frame))
    assert (sample.meta.flags, sample.key.ip_version) == (lib.SAMPLE_MALFORMED, 0)
    assert (sample.meta.packets, sample.meta.frame_octets, sample.meta.ip_octets) == (2, len(frame), 0)


def test_mix_of_sizes_is_unbiased(kernel):
    """One in 10 of skbs that stand for 1, 2, 10 and 45 packets: observed exact, each size's estimate within bounds.

    An skb of s packets is taken with pi = 1 - (1 - p)^s and counts s / pi: the variance of n of them is
    n s^2 (1 - pi) / pi. 4.892 standard deviations are passed once in 10^6 runs of one size.
    """
    p, rounds, burst = 0.1, 800, 5
    frame = FRAMES["ipv4 tcp"]
    kernel.set_sampling(Fraction(1, 10), 1)
    kernel.run("sample_tc_ingress", frame, repeat=2)  # past what an earlier rate drew
    taken = dict.fromkeys((1, 2, 10, 45), 0)
    before = kernel.gates.counters()
    observed = kernel.gates.observed()[IFINDEX, 0]
    for number in range(rounds * len(taken)):
        segments = list(taken)[number % len(taken)]
        selected = kernel.gates.counters()[0]["selected"]
        kernel.run("sample_tc_ingress", frame, repeat=burst, segments=segments, segment_size=1)
        taken[segments] += kernel.gates.counters()[0]["selected"] - selected
    skbs = rounds * burst
    assert kernel.gates.observed()[IFINDEX, 0] == observed + skbs * sum(taken)
    after = kernel.gates.counters()
    assert after[1]["selected"] - before[1]["selected"] == sum(size * count for size, count in taken.items())
    for size, count in taken.items():
        pi = 1 - (1 - p) ** size
        assert abs(count / pi - skbs) * size <= 4.892 * size * math.sqrt(skbs * (1 - pi) / pi), size
