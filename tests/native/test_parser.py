"""The parser, natively: what it says of each kind of frame, and of lengths that contradict the frame."""

import socket

import pytest

from lib.frames import FRAMES
from sampler._native import lib
from sampler.captures.parser import parse

# name: ethertype, ip version, protocol, source port, destination port, TCP flags, IP octets, fragment, flags
EXPECTED = {
    "ipv4 tcp": (0x0800, 4, 6, 1024, 80, 0x0C2, 47, 0, 0),
    "ipv4 udp padded": (0x0800, 4, 17, 53, 5353, 0, 29, 0, 0),
    "ipv4 options": (0x0800, 4, 17, 53, 53, 0, 36, 0, 0),
    "ipv4 first fragment": (0x0800, 4, 17, 9, 10, 0, 60, 0x21, 0),
    "ipv4 later fragment": (0x0800, 4, 17, 0, 0, 0, 52, 3, 0),
    "ipv4 middle fragment": (0x0800, 4, 17, 0, 0, 0, 52, 0x63, 0),
    "ipv4 unfragmentable": (0x0800, 4, 17, 9, 10, 0, 28, 0x40, 0),
    "ipv4 icmp": (0x0800, 4, 1, 3, 4, 0, 36, 0, 0),
    "ipv4 sctp": (0x0800, 4, 132, 36412, 36413, 0, 52, 0, 0),
    "ipv4 esp": (0x0800, 4, 50, 0, 0, 0, 60, 0, 0),
    "ipv4 short udp": (0x0800, 4, 17, 0, 0, 0, 27, 0, lib.SAMPLE_TRUNCATED),
    "ipv6 tcp": (0x86DD, 6, 6, 1024, 443, 0x011, 67, 0, 0),
    "ipv6 icmp": (0x86DD, 6, 58, 128, 0, 0, 49, 0, 0),
    "ipv6 chain": (0x86DD, 6, 17, 7, 8, 0, 72, 0, 0),
    "ipv6 first fragment": (0x86DD, 6, 17, 7, 8, 0, 88, 0x21, 0),
    "ipv6 later fragment": (0x86DD, 6, 17, 0, 0, 0, 80, 3, 0),
    "ipv6 middle fragment": (0x86DD, 6, 17, 0, 0, 0, 80, 0x23, 0),
    "ipv6 atomic fragment": (0x86DD, 6, 17, 7, 8, 0, 56, 0, 0),
    "ipv6 long chain": (0x86DD, 6, 60, 0, 0, 0, 120, 0, lib.SAMPLE_CHAIN),
    "vlan": (0x0800, 4, 17, 1, 2, 0, 28, 0, 0),
    "qinq": (0x86DD, 6, 17, 1, 2, 0, 48, 0, 0),
    "three tags": (0x8100, 0, 0, 0, 0, 0, 0, 0, lib.SAMPLE_CHAIN),
    "mpls ipv4": (0x8847, 4, 17, 1, 2, 0, 28, 0, 0),
    "mpls ipv6": (0x8847, 6, 17, 1, 2, 0, 48, 0, 0),
    "arp": (0x0806, 0, 0, 0, 0, 0, 0, 0, 0),
    "llc": (0x05FF, 0, 0, 0, 0, 0, 0, 0, 0),
    "snap": (0x0800, 4, 17, 53, 53, 0, 28, 0, 0),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_described(name):
    sample = parse(FRAMES[name])
    key, meta = sample.key, sample.meta
    ports = socket.ntohs(key.src_port), socket.ntohs(key.dst_port)
    found = (socket.ntohs(key.ethertype), key.ip_version, key.ip_protocol, *ports, meta.tcp_flags, meta.ip_octets)
    assert (*found, meta.fragment, meta.flags) == EXPECTED[name]
    assert meta.frame_octets == len(FRAMES[name])
    assert meta.packets == 1


def test_tag_beside_the_frame_is_the_outermost():
    frame = FRAMES["vlan"]
    key = parse(frame, vlan_tci=0x2007).key
    assert [socket.ntohs(tci) for tci in key.vlan_tci] == [0x2007, 0xA064]
    assert (key.vlan_count, key.ethernet_header_length) == (2, 22)
    assert parse(frame, vlan_tci=7).meta.frame_octets == len(frame) + 4


def test_layer3_frame():
    sample = parse(FRAMES["ipv6 tcp"][14:], l3=True)
    assert (sample.key.ethernet_header_length, socket.ntohs(sample.key.ethertype)) == (0, 0x86DD)
    assert bytes(sample.key.src_addr) == socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    assert bytes(sample.key.src_mac) == bytes(6)


@pytest.mark.parametrize("field,value", [(14, 0x55), (14, 0x44), (16, 0xFF), (17, 19)])
def test_malformed_ipv4_is_layer2(field, value):
    frame = bytearray(FRAMES["ipv4 tcp"])
    frame[field] = value
    sample = parse(bytes(frame))
    assert sample.meta.flags == lib.SAMPLE_MALFORMED
    assert (sample.key.ip_version, sample.key.ip_protocol, sample.meta.ip_octets) == (0, 0, 0)
    assert socket.ntohs(sample.key.ethertype) == 0x0800


def test_super_packet_counts_what_the_wire_carries():
    frame = FRAMES["ipv4 tcp"][:54] + b"x" * 2500
    frame = frame[:16] + (len(frame) - 14).to_bytes(2, "big") + frame[18:]
    meta = parse(frame, segments=3, segment_size=1000).meta
    assert meta.packets == 3
    assert meta.frame_octets == 2500 + 3 * 54
    assert meta.ip_octets == 2500 + 3 * 40
    assert meta.ip_length == 1040


def test_super_packet_past_64k():
    frame = FRAMES["ipv6 tcp"][:74]
    frame = frame[:18] + b"\0\0" + frame[20:]
    sample = parse(frame, length=74 + 100_000, segments=100, segment_size=1000)
    assert sample.meta.ip_octets == 100_000 + 100 * 60
    assert sample.meta.flags == 0


@pytest.mark.parametrize("name", FRAMES)
def test_truncated_at_every_octet(name):
    whole = FRAMES[name]
    for captured in range(len(whole)):
        sample = parse(whole[:captured], length=len(whole))
        assert sample.meta.frame_octets == len(whole)
        shorter = parse(whole[:captured])
        assert shorter.meta.frame_octets == captured
