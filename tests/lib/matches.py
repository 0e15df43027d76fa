"""Random matches of flow rules with what they mean, random packets to try them on, and a compiled Match's verdict.

What a piece of a match means is said here over whole numbers, without the compiler's octets.
"""

import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from sampler._native import ffi
from sampler.rules.match import Match

INTERFACES = {"eth0": 2, "vnet3": 0x01020304}

IPV6_WIDTH = 128  # bits
# Few values, so that packets and matches meet; single bits differ, so that masks matter.
MACS = (0x020000000001, 0x020000000002, 0x010000000001, 0xFFFFFFFFFFFF)
IPV4 = tuple(int(ipaddress.ip_address(text)) for text in ("192.0.2.1", "192.0.2.2", "192.0.3.1", "10.0.2.1"))
IPV6 = tuple(int(ipaddress.ip_address(text)) for text in ("2001:db8::1", "2001:db8::2", "2001:db8:1::1", "::1"))
PORTS = (0, 1, 53, 80, 0x150, 1000, 65535)
PROTOCOLS = {0x0800: {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}, 0x86DD: {"icmp6": 58, "tcp6": 6, "udp6": 17}}

Packet = dict[str, int]


@dataclass(frozen=True)
class Piece:
    """One assignment of a match, and whether a packet agrees with it."""

    text: str
    agrees: Callable[[Packet], bool]


@st.composite
def packets(draw: st.DrawFn, like: tuple[int, int] = (0, 0)) -> Packet:
    """A packet as whole numbers, by field; what it has not is 0. `like`: of this dl_type and nw_proto, often."""
    often = like if draw(st.booleans()) else (0, 0)
    dl_type = often[0] or draw(st.sampled_from((0x0800, 0x0800, 0x86DD, 0x86DD, 0x0806, 0x8847, 0x05FF)))
    tags = draw(st.integers(0, 2))
    packet = {
        "in_port": draw(st.sampled_from((0, 2, 3, 0x01020304, 0x04030201))),
        "dl_src": draw(st.sampled_from(MACS)),
        "dl_dst": draw(st.sampled_from(MACS)),
        "dl_type": dl_type,
        "tags": tags,
        "tci": draw(st.sampled_from((0x0005, 0x1005, 0x6005, 0x7006, 0))) if tags else 0,
        "mpls": draw(st.sampled_from((0x00005140, 0x00010E40))) if dl_type == 0x8847 else 0,
        "tun_version": draw(st.sampled_from((0, 4, 6))),
    }
    pool = {4: IPV4, 6: IPV6}
    for name in ("tun_src", "tun_dst"):
        packet[name] = draw(st.sampled_from(pool[packet["tun_version"]])) if packet["tun_version"] else 0
    packet["tun_id"] = draw(st.sampled_from((5, 0x105, 2**40 + 5))) if packet["tun_version"] else 0
    ip = dl_type in PROTOCOLS
    if not ip:
        names = ("src", "dst", "nw_proto", "tos", "ttl", "fragment", "label", "tp_src", "tp_dst", "tcp_flags")
        return packet | dict.fromkeys(names, 0)
    version = 4 if dl_type == 0x0800 else 6
    proto = often[1] or draw(st.sampled_from((*PROTOCOLS[dl_type].values(), 89)))
    fragment = draw(st.sampled_from((0, 0, 0x40, 0x21, 0x03, 0x23)))
    ports = proto != 89 and not fragment & 2
    numbers = st.sampled_from((8, 0, 3) if proto in (1, 58) else PORTS)
    return packet | {
        "src": draw(st.sampled_from(pool[version])),
        "dst": draw(st.sampled_from(pool[version])),
        "nw_proto": proto,
        "tos": draw(st.sampled_from((0, 0x20, 0x21, 0xB8))),
        "ttl": draw(st.sampled_from((1, 64, 255))),
        "fragment": fragment,
        "label": draw(st.sampled_from((0, 5, 0x12345))) if version == 6 else 0,
        "tp_src": draw(numbers) if ports else 0,
        "tp_dst": draw(numbers) if ports else 0,
        "tcp_flags": draw(st.sampled_from((0x002, 0x012, 0x010, 0x111))) if proto == 6 and ports else 0,
    }


def sample(packet: Packet) -> bytes:
    """The packet as struct sample, which the parser would make of it."""
    item = ffi.new("struct sample *")
    meta, key, tunnel = item.meta, item.key, item.key.tunnel
    meta.ingress_ifindex, meta.tcp_flags, meta.fragment = packet["in_port"], packet["tcp_flags"], packet["fragment"]
    key.src_mac, key.dst_mac = (list(packet[name].to_bytes(6, "big")) for name in ("dl_src", "dl_dst"))
    key.vlan_count = packet["tags"]
    key.vlan_tci[0] = _network(packet["tci"], 2)
    key.ethertype, key.mpls_label = _network(packet["dl_type"], 2), _network(packet["mpls"], 4)
    key.ip_version = {0x0800: 4, 0x86DD: 6}.get(packet["dl_type"], 0)
    key.ip_protocol, key.ip_tos, key.ip_ttl = packet["nw_proto"], packet["tos"], packet["ttl"]
    key.flow_label = _network(packet["label"], 4)
    key.src_port, key.dst_port = _network(packet["tp_src"], 2), _network(packet["tp_dst"], 2)
    key.src_addr, key.dst_addr = (_address(packet[name], key.ip_version) for name in ("src", "dst"))
    tunnel.ip_version, tunnel.key = packet["tun_version"], _network(packet["tun_id"], 8)
    tunnel.src_addr, tunnel.dst_addr = (_address(packet[name], tunnel.ip_version) for name in ("tun_src", "tun_dst"))
    return bytes(ffi.buffer(item))


def _network(value: int, size: int) -> int:
    """The number whose octets in this host's order are those of `value` in network order."""
    return int.from_bytes(value.to_bytes(size, "big"), sys.byteorder)


def _address(value: int, version: int) -> list[int]:
    return list(value.to_bytes(4 if version == 4 else 16, "big").ljust(16, b"\0"))


def takes(match: Match, octets: bytes) -> bool:
    """Whether the compiled match accepts this struct sample, by what the Match's documentation promises."""

    def port(name: str, ranges: Any) -> bool:
        offset = ffi.offsetof("struct sample", "key", name)
        number = int.from_bytes(octets[offset : offset + 2], "big")
        return ranges is None or any(low <= number <= high for low, high in ranges)

    return (
        all(mask >> octets[offset] & 1 for offset, mask in match.octets.items())
        and port("src_port", match.src_port)
        and port("dst_port", match.dst_port)
    )


def _readable(mask: int) -> int:
    """An IPv6 mask that begins with no digit: ovs-ofctl takes digits behind a slash for a length, whatever follows."""
    return mask | 0xA << IPV6_WIDTH - 4 if str(ipaddress.IPv6Address(mask))[0].isdigit() else mask


def _masked(name: str, show: Callable[[int], str], pool: tuple[int, ...], width: int, field: str) -> Any:
    """Pieces name=VALUE and name=VALUE/MASK."""
    full = 2**width - 1
    masks = st.one_of(st.just(full), st.integers(0, full), st.integers(0, width).map(lambda n: full - 2**n + 1))
    if width == IPV6_WIDTH:
        masks = masks.map(_readable)

    def piece(value: int, mask: int) -> Piece:
        text = f"{name}={show(value)}" + ("" if mask == full else f"/{show(mask)}")
        return Piece(text, lambda packet: packet[field] & mask == value & mask)

    return st.builds(piece, st.sampled_from(pool), masks)


def _exact(name: str, pool: tuple[int, ...], get: Callable[[Packet], int]) -> Any:
    return st.sampled_from(pool).map(lambda value: Piece(f"{name}={value}", lambda packet: get(packet) == value))


def _mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


def _ip(kind: type) -> Callable[[int], str]:
    return lambda value: str(kind(value))


def _tunnel(name: str, version: int, field: str) -> Any:
    pool, kind = (IPV4, ipaddress.IPv4Address) if version == 4 else (IPV6, ipaddress.IPv6Address)
    pieces = _masked(name, _ip(kind), pool, 32 if version == 4 else IPV6_WIDTH, field)

    def of_its_version(piece: Piece) -> Piece:
        # The field is 0 where there is no tunnel of this version.
        return Piece(piece.text, lambda p: piece.agrees(p if p["tun_version"] == version else p | {field: 0}))

    # A mask that takes 0 too would take the tunnels of the other version in Open vSwitch: left out, see docs/rules.md.
    return pieces.map(of_its_version).filter(lambda piece: not piece.agrees({field: 0, "tun_version": 0}))


def _tci(packet: Packet) -> int:
    return packet["tci"] & ~0x1000 | (0x1000 if packet["tags"] else 0)


def _vlan() -> Any:
    return st.one_of(
        st.sampled_from((5, 6, 0)).map(
            lambda vid: Piece(f"dl_vlan={vid}", lambda p: bool(p["tags"]) and p["tci"] & 0xFFF == vid)
        ),
        st.just(Piece("dl_vlan=0xffff", lambda p: not p["tags"])),
        st.sampled_from((0, 3)).map(
            lambda pcp: Piece(f"dl_vlan_pcp={pcp}", lambda p: bool(p["tags"]) and p["tci"] >> 13 == pcp)
        ),
        st.tuples(st.sampled_from((0, 0x1005, 0x7006, 0x1000)), st.integers(0, 0xFFFF)).map(
            lambda pair: Piece(f"vlan_tci={pair[0]:#x}/{pair[1]:#x}", lambda p: (_tci(p) ^ pair[0]) & pair[1] == 0)
        ),
        st.tuples(st.sampled_from((0x1005, 0x1006, 0x1000)), st.integers(0, 0x1FFF)).map(
            lambda pair: Piece(f"vlan_vid={pair[0]}/{pair[1]}", lambda p: (_tci(p) ^ pair[0]) & pair[1] & 0x1FFF == 0)
        ),
    )


def _ports(prefix: str) -> list[Any]:
    found = []
    for side in ("src", "dst"):
        found.append(_masked(f"{prefix}_{side}", str, PORTS, 16, f"tp_{side}"))
    return found


def _range(side: str, ends: list[int]) -> Piece:
    low, high = sorted(ends)
    return Piece(f"tp_{side}={low}-{high}", lambda p: low <= p[f"tp_{side}"] <= high)


@st.composite
def cases(draw: st.DrawFn, ranges: bool = True) -> tuple[list[Piece], list[Packet]]:
    """A match and packets to try it on, half of them of the protocol that it is about."""
    parts = draw(pieces(ranges))
    text = {part.text for part in parts}
    words = {"arp": 0x0806, "mpls": 0x8847, "ip": 0x0800, "ipv6": 0x86DD}
    like = [(number, 0) for word, number in words.items() if word in text]
    like += [(kind, number) for kind, found in PROTOCOLS.items() for word, number in found.items() if word in text]
    return parts, draw(st.lists(packets(*like), min_size=8, max_size=16))


FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns")


def _tcp_flags() -> Any:
    def signed(on: set[int], off: set[int]) -> Piece:
        off = off - on
        text = "".join(f"+{FLAGS[i]}" for i in sorted(on)) + "".join(f"-{FLAGS[i]}" for i in sorted(off))
        value, mask = sum(1 << i for i in on), sum(1 << i for i in on | off)
        return Piece(f"tcp_flags={text}", lambda p: p["tcp_flags"] & mask == value)

    def listed(on: set[int]) -> Piece:
        value = sum(1 << i for i in on)
        return Piece(f"tcp_flags={'|'.join(FLAGS[i] for i in sorted(on))}", lambda p: p["tcp_flags"] == value)

    some = st.sets(st.integers(0, 8), min_size=1, max_size=3)
    numbers = _masked("tcp_flags", hex, (0x002, 0x012, 0x111), 12, "tcp_flags")
    return st.one_of(st.builds(signed, some, some), some.map(listed), numbers)


FRAGMENTS: dict[str, Callable[[int], bool]] = {
    "no": lambda bits: not bits & 1,
    "yes": lambda bits: bool(bits & 1),
    "first": lambda bits: bits & 3 == 1,
    "later": lambda bits: bits & 3 == 3,
    "not_later": lambda bits: not bits & 2,
}


@st.composite
def pieces(draw: st.DrawFn, ranges: bool = True) -> list[Piece]:
    """A match as its pieces, in any order. Without `ranges`: nothing that Open vSwitch lacks."""
    found = []
    some = [_masked(f"dl_{side}", _mac, MACS, 48, f"dl_{side}") for side in ("src", "dst")]
    some += [_vlan(), _masked("tun_id", hex, (5, 0x105, 2**40 + 5), 64, "tun_id")]
    some += [_tunnel(f"tun_{side}", 4, f"tun_{side}") for side in ("src", "dst")]
    some += [_tunnel(f"tun_ipv6_{side}", 6, f"tun_{side}") for side in ("src", "dst")]
    if ranges:
        some.append(
            st.sampled_from(sorted(INTERFACES)).map(
                lambda name: Piece(f"in_port={name}", lambda p: p["in_port"] == INTERFACES[name])
            )
        )
    layer3 = draw(st.sampled_from(("", "arp", "mpls", *["ip", "ipv6"] * 4)))
    if layer3 in ("arp", "mpls"):
        number = 0x0806 if layer3 == "arp" else 0x8847
        found.append(Piece(layer3, lambda p: p["dl_type"] == number))
    if layer3 == "mpls":
        some = [
            _exact("mpls_label", (5, 16), lambda p: p["mpls"] >> 12),
            _exact("mpls_tc", (0, 7), lambda p: p["mpls"] >> 9 & 7),
            _exact("mpls_bos", (0, 1), lambda p: p["mpls"] >> 8 & 1),
        ]
    if layer3 in ("ip", "ipv6"):
        version, dl_type = (4, 0x0800) if layer3 == "ip" else (6, 0x86DD)
        keyword = draw(st.sampled_from((layer3, *PROTOCOLS[dl_type])))
        proto = PROTOCOLS[dl_type].get(keyword)
        found.append(Piece(keyword, lambda p: p["dl_type"] == dl_type and (proto is None or p["nw_proto"] == proto)))
        own = _over_ip(version) + _over_transport(proto, keyword, ranges)
        some = own if draw(st.booleans()) else own + some
    # One more often than several, which seldom all agree.
    most = draw(st.sampled_from((1, 1, 1, 2, 4)))
    chosen = draw(st.lists(st.integers(0, len(some) - 1), min_size=1, max_size=most, unique=True))
    found += [draw(some[index]) for index in chosen]
    return list(draw(st.permutations(found)))


def _over_ip(version: int) -> list[Any]:
    pool, kind = (IPV4, ipaddress.IPv4Address) if version == 4 else (IPV6, ipaddress.IPv6Address)
    prefix = "nw" if version == 4 else "ipv6"
    width = 32 if version == 4 else IPV6_WIDTH
    some = [_masked(f"{prefix}_{side}", _ip(kind), pool, width, side) for side in ("src", "dst")]
    some += [
        _exact("nw_tos", (0, 0x20, 0xB8), lambda p: p["tos"] & 0xFC),
        _exact("nw_ecn", (0, 1), lambda p: p["tos"] & 3),
        _exact("nw_ttl", (1, 64), lambda p: p["ttl"]),
        st.sampled_from(sorted(FRAGMENTS)).map(
            lambda word: Piece(f"nw_frag={word}", lambda p: FRAGMENTS[word](p["fragment"]))
        ),
    ]
    if version == 6:
        some.append(_masked("ipv6_label", hex, (0, 5, 0x12345), 20, "label"))
    return some


def _over_transport(proto: int | None, keyword: str, ranges: bool) -> list[Any]:
    if proto in (1, 58):
        return [
            _exact("icmp_type", (8, 3), lambda p: p["tp_src"]),
            _exact("icmp_code", (0, 3), lambda p: p["tp_dst"]),
        ]
    if proto is None:
        return []
    some = _ports("tp") if keyword.endswith("6") else _ports(keyword)
    if ranges:
        ends = st.lists(st.sampled_from(PORTS), min_size=2, max_size=2)
        # In place of the others: a field may be given once.
        some = [st.one_of(one, ends.map(lambda e, side=side: _range(side, e)))  # type: ignore[misc]
                for one, side in zip(some, ("src", "dst"), strict=True)]  # fmt: skip
    if proto == 6:
        some.append(_tcp_flags())
    return some
