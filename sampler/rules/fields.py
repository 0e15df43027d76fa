"""The fields of a match: their names in ovs-fields(7), what they require, and where struct sample has them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sampler.errors import ConfigError
from sampler.rules import values
from sampler.rules.terms import PortTerm, Term, among, bits

IPV4, IPV6, MPLS = 0x0800, 0x86DD, (0x8847, 0x8848)
ICMP, TCP, UDP, ICMP6, SCTP = 1, 6, 17, 58, 132
VLAN_PRESENT = 0x1000  # Open vSwitch's bit of "there is a tag", in the place of the tag's DEI
UNTAGGED = 0xFFFF  # dl_vlan's value for that


@dataclass(frozen=True)
class Protocol:
    """What a match says of the packet's protocols; None where it leaves that open."""

    dl_type: int | None
    nw_proto: int | None

    @property
    def ip(self) -> bool:
        """Both versions have what is asked."""
        return self.dl_type in (IPV4, IPV6)

    @property
    def transport(self) -> int | None:
        """The protocol over IP, where that is known; ICMP only over its own version."""
        own = {ICMP: IPV4, ICMP6: IPV6}
        return self.nw_proto if self.ip and own.get(self.nw_proto or 0, self.dl_type) == self.dl_type else None


Holds = Callable[[Protocol], bool]
Terms = Callable[[str, str, Protocol], tuple[Term, ...]]

# Prerequisites: when they hold, and what the user must add.
ANY: tuple[Holds, str] = (lambda _: True, "")
IP: tuple[Holds, str] = (lambda p: p.ip, "ip (or ipv6)")
ONLY_IPV4: tuple[Holds, str] = (lambda p: p.dl_type == IPV4, "ip")
ONLY_IPV6: tuple[Holds, str] = (lambda p: p.dl_type == IPV6, "ipv6")
ONLY_MPLS: tuple[Holds, str] = (lambda p: p.dl_type in MPLS, "mpls")
PORTS: tuple[Holds, str] = (lambda p: p.transport in (ICMP, TCP, UDP, ICMP6, SCTP), "tcp (or udp, sctp, tcp6 …)")
ICMP6_ONLY: tuple[Holds, str] = (lambda p: p.transport == ICMP6, "icmp6")
ICMP_ANY: tuple[Holds, str] = (lambda p: p.transport in (ICMP, ICMP6), "icmp (or icmp6)")


def _over(number: int, word: str) -> tuple[Holds, str]:
    return (lambda p: p.transport == number), f"{word} (or {word}6)"


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: the one that is used in errors.
        read: gives the terms of a value: (assignment as shown, value, protocol of the match).
        needs: when it may be asked, and the keyword to add where it may not.

    """

    name: str
    read: Terms
    needs: tuple[Holds, str] = ANY

    def require(self, protocol: Protocol, value: str) -> None:
        """ConfigError where the match does not say that the packet has this field."""
        holds, keyword = self.needs
        if not holds(protocol):
            if protocol.dl_type in (0x0806, 0x8035):
                raise ConfigError(f"{self.name}={value}: a sample has no fields of ARP; match arp alone")
            first = keyword.split()[0]
            raise ConfigError(
                f"{self.name}={value}: is a field of {keyword} packets; write {first},{self.name}={value}"
            )

    def number(self, value: str) -> int:
        """Give the number of dl_type and nw_proto."""
        return values.number(f"{self.name}={value}", value, 0xFFFF if self.name == "dl_type" else 0xFF)

    def same(self, one: str, other: str) -> bool:
        """Whether both values say the same, as the keywords udp and ip do of dl_type."""
        return one == other or (self.name in ("dl_type", "nw_proto") and self.number(one) == self.number(other))


def _bits(path: str, read: values.Read, shift: int = 0, length: int | None = None) -> Terms:
    """Give the reader of a field that is a run of bits, `shift` above the lowest."""

    def terms(shown: str, text: str, _: Protocol) -> tuple[Term, ...]:
        value, mask = read(shown, text)
        return bits(path, value << shift, mask << shift, length)

    return terms


def _port(name: str) -> Terms:
    """Give the reader of a port: one, FIRST-LAST (ours alone) or VALUE/MASK; of ICMP, where OVS takes them, exact."""

    def terms(shown: str, text: str, protocol: Protocol) -> tuple[Term, ...]:
        if protocol.transport in (ICMP, ICMP6):
            return _bits(f"key.{name}", values.exact(8))(shown, text, protocol)
        first, dash, last = text.partition("-")
        if dash:
            low, high = (values.number(shown, end, 0xFFFF) for end in (first, last))
            if low > high:
                raise ConfigError(f"{shown}: the range ends before it begins; write {last}-{first}")
            return (PortTerm(name, ((low, high),)),)
        value, mask = values.masked(16)(shown, text)
        if mask == 0xFFFF:
            return (PortTerm(name, ((value, value),)),)
        return bits(f"key.{name}", value, mask)

    return terms


def _vlan(value: int, mask: int) -> tuple[Term, ...]:
    """Terms of Open vSwitch's tag control information: bit 12 says that there is a tag, the outer one."""
    terms = bits("key.vlan_tci.0", value & ~VLAN_PRESENT, mask & ~VLAN_PRESENT)
    if mask & VLAN_PRESENT:
        terms += (among("key.vlan_count", (1, 2) if value & VLAN_PRESENT else (0,)),)
    return terms


def _dl_vlan(shown: str, text: str, _: Protocol) -> tuple[Term, ...]:
    value, _mask = values.exact(16)(shown, text)
    if value == UNTAGGED:
        return _vlan(0, 0xFFFF)
    if value > 0xFFF:
        raise ConfigError(f"{shown}: must be a VLAN id from 0 to 4095, or 0xffff for packets without a tag")
    return _vlan(VLAN_PRESENT | value, VLAN_PRESENT | 0xFFF)


def _vlan_vid(shown: str, text: str, _: Protocol) -> tuple[Term, ...]:
    value, mask = values.masked(13)(shown, text)
    if mask & VLAN_PRESENT and value and not value & VLAN_PRESENT:
        raise ConfigError(
            f"{shown}: matches no packet, as in Open vSwitch; write {value | VLAN_PRESENT:#06x} or dl_vlan={value}"
        )
    return _vlan(value, mask)


def _vlan_tci(shown: str, text: str, _: Protocol) -> tuple[Term, ...]:
    return _vlan(*values.masked(16)(shown, text))


def _vlan_pcp(shown: str, text: str, _: Protocol) -> tuple[Term, ...]:
    value, mask = values.exact(3)(shown, text)
    return _vlan(VLAN_PRESENT | value << 13, VLAN_PRESENT | mask << 13)


def _nw_tos(shown: str, text: str, _: Protocol) -> tuple[Term, ...]:
    value, _mask = values.exact(8)(shown, text)
    if value & 3:
        raise ConfigError(f"{shown}: its two lowest bits are ECN; write nw_tos={value & ~3} and nw_ecn={value & 3}")
    return bits("key.ip_tos", value, 0xFC)


def _tunnel(path: str, version: int) -> Terms:
    """Give the reader of a tunnel's outer address: 0 without a tunnel, as in Open vSwitch."""
    read, length = values.address(version), 4 if version == 4 else 16

    def terms(shown: str, text: str, _: Protocol) -> tuple[Term, ...]:
        value, mask = read(shown, text)
        if not mask:
            return ()
        return (*bits(path, value, mask, length), among("key.tunnel.ip_version", (0, version)))

    return terms


def _in_port(*_: object) -> tuple[Term, ...]:
    raise AssertionError("compile_match() resolves in_port")


_ICMP_TYPE, _ICMP_CODE = _bits("key.src_port", values.exact(8)), _bits("key.dst_port", values.exact(8))
# An entry of a label stack: label, traffic class, bottom of stack, time to live (RFC 3032).
_LABEL, _CLASS, _BOTTOM, _LABEL_TTL = ((20, 12), (3, 9), (1, 8), (8, 0))

_FIELDS = (
    Field("in_port", _in_port),
    Field("dl_src", _bits("key.src_mac", values.mac)),
    Field("dl_dst", _bits("key.dst_mac", values.mac)),
    Field("dl_type", _bits("key.ethertype", values.exact(16))),
    Field("dl_vlan", _dl_vlan),
    Field("dl_vlan_pcp", _vlan_pcp),
    Field("vlan_tci", _vlan_tci),
    Field("vlan_vid", _vlan_vid),
    Field("vlan_pcp", _vlan_pcp),
    Field("mpls_label", _bits("key.mpls_label", values.exact(_LABEL[0]), _LABEL[1]), ONLY_MPLS),
    Field("mpls_tc", _bits("key.mpls_label", values.exact(_CLASS[0]), _CLASS[1]), ONLY_MPLS),
    Field("mpls_bos", _bits("key.mpls_label", values.exact(_BOTTOM[0]), _BOTTOM[1]), ONLY_MPLS),
    Field("mpls_ttl", _bits("key.mpls_label", values.exact(_LABEL_TTL[0]), _LABEL_TTL[1]), ONLY_MPLS),
    Field("nw_proto", _bits("key.ip_protocol", values.exact(8)), IP),
    Field("nw_src", _bits("key.src_addr", values.address(4), length=4), ONLY_IPV4),
    Field("nw_dst", _bits("key.dst_addr", values.address(4), length=4), ONLY_IPV4),
    Field("ipv6_src", _bits("key.src_addr", values.address(6)), ONLY_IPV6),
    Field("ipv6_dst", _bits("key.dst_addr", values.address(6)), ONLY_IPV6),
    Field("ipv6_label", _bits("key.flow_label", values.masked(20)), ONLY_IPV6),
    Field("nw_tos", _nw_tos, IP),
    Field("ip_dscp", _bits("key.ip_tos", values.exact(6), 2), IP),
    Field("nw_ecn", _bits("key.ip_tos", values.exact(2)), IP),
    Field("nw_ttl", _bits("key.ip_ttl", values.exact(8)), IP),
    Field("nw_frag", _bits("meta.fragment", values.fragment), IP),
    Field("tp_src", _port("src_port"), PORTS),
    Field("tp_dst", _port("dst_port"), PORTS),
    Field("tcp_src", _port("src_port"), _over(TCP, "tcp")),
    Field("tcp_dst", _port("dst_port"), _over(TCP, "tcp")),
    Field("udp_src", _port("src_port"), _over(UDP, "udp")),
    Field("udp_dst", _port("dst_port"), _over(UDP, "udp")),
    Field("sctp_src", _port("src_port"), _over(SCTP, "sctp")),
    Field("sctp_dst", _port("dst_port"), _over(SCTP, "sctp")),
    Field("tcp_flags", _bits("meta.tcp_flags", values.tcp_flags), _over(TCP, "tcp")),
    Field("icmp_type", _ICMP_TYPE, ICMP_ANY),
    Field("icmp_code", _ICMP_CODE, ICMP_ANY),
    Field("icmpv6_type", _ICMP_TYPE, ICMP6_ONLY),
    Field("icmpv6_code", _ICMP_CODE, ICMP6_ONLY),
    Field("tun_id", _bits("key.tunnel.key", values.masked(64))),
    Field("tun_src", _tunnel("key.tunnel.src_addr", 4)),
    Field("tun_dst", _tunnel("key.tunnel.dst_addr", 4)),
    Field("tun_ipv6_src", _tunnel("key.tunnel.src_addr", 6)),
    Field("tun_ipv6_dst", _tunnel("key.tunnel.dst_addr", 6)),
)
FIELDS: Mapping[str, Field] = {field.name: field for field in _FIELDS}

ALIASES: Mapping[str, str] = {
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
    "eth_type": "dl_type",
    "ip_proto": "nw_proto",
    "ip_src": "nw_src",
    "ip_dst": "nw_dst",
    "ip_frag": "nw_frag",
    "ip_ecn": "nw_ecn",
    "tunnel_id": "tun_id",
}


def _keyword(dl_type: int, nw_proto: int | None = None) -> tuple[tuple[str, str], ...]:
    first = (("dl_type", f"{dl_type:#06x}"),)
    return first if nw_proto is None else (*first, ("nw_proto", str(nw_proto)))


KEYWORDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "ip": _keyword(IPV4),
    "ipv6": _keyword(IPV6),
    "ip6": _keyword(IPV6),
    "icmp": _keyword(IPV4, ICMP),
    "icmp6": _keyword(IPV6, ICMP6),
    "tcp": _keyword(IPV4, TCP),
    "tcp6": _keyword(IPV6, TCP),
    "udp": _keyword(IPV4, UDP),
    "udp6": _keyword(IPV6, UDP),
    "sctp": _keyword(IPV4, SCTP),
    "sctp6": _keyword(IPV6, SCTP),
    "arp": _keyword(0x0806),
    "rarp": _keyword(0x8035),
    "mpls": _keyword(MPLS[0]),
    "mplsm": _keyword(MPLS[1]),
}
