"""The parser on tunnels, natively: the inner flow with its key and outer addresses, or the outer flow and why."""

import socket
import sys

import pytest

from lib.testrun import octets
from lib.tunnel_frames import FALLBACKS, FRAMES, IN_ETHER, OVER_UDP4, OVER_UDP6, PLAIN, ports, segment, stt
from sampler._native import ffi, lib
from sampler.captures.parser import parse

PORTS = ports()
KEY_LENGTH = {
    lib.TUNNEL_VXLAN: 3,
    lib.TUNNEL_GRE: 4,
    lib.TUNNEL_LISP: 3,
    lib.TUNNEL_STT: 8,
    lib.TUNNEL_GENEVE: 3,
}
OUTER = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8:ff::1", "2001:db8:ff::2")}


def without_tunnel(sample) -> bytes:
    """A sample as bytes, of a packet that came bare."""
    copy = ffi.new("struct sample *", sample[0])
    ffi.memmove(ffi.addressof(copy.key, "tunnel"), bytes(48), 48)
    return octets(copy)


def number(tunnel) -> int:
    """The key, which is right-aligned and in network byte order."""
    return int.from_bytes(int(tunnel.key).to_bytes(8, sys.byteorder), "big")


def plain_key(sample) -> bytes:
    """The key without its tunnel."""
    return bytes(ffi.buffer(ffi.addressof(sample.key)))[: ffi.offsetof("struct flow_key", "tunnel")]


def address(octets_, version: int) -> str:
    packed = bytes(octets_)
    return socket.inet_ntop(*((socket.AF_INET, packed[:4]) if version == 4 else (socket.AF_INET6, packed)))


@pytest.mark.parametrize("name", FRAMES)
def test_inner_as_if_it_came_bare(name):
    case = FRAMES[name]
    sample = parse(case.frame, ports=PORTS)
    assert without_tunnel(sample) == octets(parse(case.inner, l3=case.l3, vlan_tci=case.tag))


@pytest.mark.parametrize("name", FRAMES)
def test_key_and_outer_addresses(name):
    case = FRAMES[name]
    outer, sample = parse(case.frame), parse(case.frame, ports=PORTS)
    plain, tunnel = outer.key, sample.key.tunnel
    assert tunnel.type == case.type
    length = 2 if name.startswith("erspan") else KEY_LENGTH[case.type]
    assert (tunnel.key_length, number(tunnel)) == (length, case.key)
    assert (tunnel.protocol, tunnel.ip_version) == (plain.ip_protocol, plain.ip_version)
    assert (tunnel.src_port, tunnel.dst_port) == (plain.src_port, plain.dst_port)
    assert (tunnel.src_port != 0) == (case.type != lib.TUNNEL_GRE)
    found = tuple(address(field, tunnel.ip_version) for field in (tunnel.src_addr, tunnel.dst_addr))
    assert found == OUTER[tunnel.ip_version]


@pytest.mark.parametrize("name", [name for name, case in FRAMES.items() if case.l3])
def test_without_ethernet(name):
    sample = parse(FRAMES[name].frame, ports=PORTS)
    key, meta = sample.key, sample.meta
    assert bytes(key.src_mac) == bytes(key.dst_mac) == bytes(6)
    assert socket.ntohs(key.ethertype) == {4: 0x0800, 6: 0x86DD}[key.ip_version]
    assert key.ethernet_header_length == 0
    assert meta.frame_octets == meta.ip_octets == len(FRAMES[name].inner)


@pytest.mark.parametrize("name", FALLBACKS)
def test_falls_back_to_the_outer_flow(name):
    frame, miss = FALLBACKS[name]
    sample, plain = parse(frame, ports=PORTS), parse(frame)
    assert sample.meta.tunnel_miss == miss
    plain.meta.tunnel_miss = miss
    assert octets(sample) == octets(plain)
    assert plain.key.ip_version


@pytest.mark.parametrize("name", PLAIN)
def test_no_tunnel_at_all(name):
    assert octets(parse(PLAIN[name], ports=PORTS)) == octets(parse(PLAIN[name]))


@pytest.mark.parametrize("name", FRAMES)
def test_truncated_at_every_octet(name):
    """On the wire or by a capture: the whole inner packet's headers, or the outer flow with a cause."""
    case = FRAMES[name]
    whole, end = plain_key(parse(case.frame, ports=PORTS)), case.frame.index(case.inner) + len(case.inner)
    for captured in range(len(case.frame)):
        for length in (captured, len(case.frame)):
            sample, plain = parse(case.frame[:captured], length, ports=PORTS), parse(case.frame[:captured], length)
            if sample.key.tunnel.type:
                assert plain_key(sample) == whole
                assert length > captured or captured >= end, (captured, "an inner packet that was cut on the wire")
            else:
                plain.meta.tunnel_miss = sample.meta.tunnel_miss
                assert octets(sample) == octets(plain)


def test_tunnel_within_a_super_packet():
    """Each wire packet has the outer headers and the inner ones again; the inner flow counts the inner ones."""
    case = FRAMES["vxlan"]
    headers = len(case.inner) - len(b"payload")
    payload = 3 * 1000
    inner = case.inner[:16] + (headers - 14 + payload).to_bytes(2, "big") + case.inner[18:headers]
    outer = case.frame[: len(case.frame) - len(case.inner)]
    outer = outer[:16] + (len(outer) - 14 + len(inner) + payload).to_bytes(2, "big") + outer[18:]
    frame = outer + inner + bytes(payload)
    sample = parse(frame, ports=PORTS, segments=3, segment_size=1000)
    meta = sample.meta
    assert (meta.packets, meta.tunnel_miss) == (3, 0)
    assert meta.frame_octets == payload + 3 * headers
    assert meta.ip_octets == payload + 3 * (headers - 14)
    assert meta.ip_length == 1000 + headers - 14


def test_several_tunnel_packets_in_one_super_packet():
    """UDP segmentation offload of a program that makes tunnel packets itself: nobody knows the other inner flows."""
    frame = FRAMES["vxlan"].frame
    joined = frame + frame[42:] * 2
    joined = joined[:16] + (len(joined) - 14).to_bytes(2, "big") + joined[18:]
    sample = parse(joined, ports=PORTS, segments=3, segment_size=len(frame) - 42)
    assert sample.meta.tunnel_miss == lib.TUNNEL_MISS_SEVERAL
    assert (sample.key.tunnel.type, socket.ntohs(sample.key.dst_port), sample.meta.packets) == (0, 4789, 3)


@pytest.mark.parametrize("outer", [OVER_UDP4, OVER_UDP6])
def test_first_segment_of_stt_counts_what_it_carries(outer):
    whole = stt(IN_ETHER / (b"x" * 1000))
    sample = parse(bytes(outer / segment(whole, 0, 500)), ports=PORTS)
    assert sample.key.tunnel.type == lib.TUNNEL_STT
    assert socket.ntohs(sample.key.dst_port) == 80
    assert (sample.meta.packets, sample.meta.frame_octets, sample.meta.ip_octets) == (1, 482, 468)


def test_super_packet_of_stt_is_whole():
    """All segments are here; only the first brings headers of the inner packet."""
    inner = bytes(IN_ETHER / (b"x" * 1000))
    frame = bytes(OVER_UDP4 / segment(stt(IN_ETHER / (b"x" * 1000))))
    sample = parse(frame, ports=PORTS, segments=3, segment_size=400)
    meta = sample.meta
    assert (meta.packets, meta.frame_octets, meta.ip_octets) == (3, len(inner), len(inner) - 14)
    assert 2 * meta.ip_length < meta.ip_octets <= 3 * meta.ip_length


def test_an_outer_header_that_forbids_fragments_is_followed():
    """Linux sets DF on most tunnels: it makes no fragment."""
    frame = bytearray(FRAMES["vxlan"].frame)
    frame[20] |= 0x40  # Ethernet has 14 octets
    assert octets(parse(bytes(frame), ports=PORTS)) == octets(parse(FRAMES["vxlan"].frame, ports=PORTS))
    assert parse(bytes(frame)).meta.fragment == lib.FRAGMENT_DONT
