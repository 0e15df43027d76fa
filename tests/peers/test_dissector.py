"""The native parser against tshark: every packet of the corpus, field by field, outermost headers.

Each difference must be of a class that is named here, and each class must occur. Left out are captures with a link
type that is not read, and those cut off inside a packet, where the two readers may end at different packets.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from lib.corpus import captures
from lib.dissector import Row, dissect, merge, number
from sampler.captures.capture import Capture, CaptureError, batches

TCP = 6
PORTS = {
    TCP: ("tcp.srcport", "tcp.dstport"),
    17: ("udp.srcport", "udp.dstport"),
    132: ("sctp.srcport", "sctp.dstport"),
    1: ("icmp.type", "icmp.code"),
    58: ("icmpv6.type", "icmpv6.code"),
}
EXTENSIONS = {
    0: "ipv6.hopopts.nxt",
    43: "ipv6.routing.nxt",
    44: "ipv6.fraghdr.nxt",
    60: "ipv6.dstopts.nxt",
    51: "ah.next_header",
}
TRUNCATED, MALFORMED = 1, 2  # bits of enum sample_flag
ANY, LATER, MORE, DONT = 1, 3, 0x20, 0x40  # enum fragment; a later one is a fragment
# Arista's timestamp, Cisco FabricPath, MACsec and the Network Service Header.
SHIMS = {"avsp", "cfp", "macsec", "nsh"}

Values = dict[str, object]


def ours(sample) -> Values:
    """A sample in the words of this test; None where there is nothing."""
    key, meta = sample.key, sample.meta
    size = {4: 4, 6: 16}.get(key.ip_version, 0)
    values: Values = {"version": key.ip_version, "flags": meta.flags, "ethertype": key.ethertype}
    if key.ethernet_header_length:
        values |= {"eth.src": bytes(key.src_mac).hex(":"), "eth.dst": bytes(key.dst_mac).hex(":")}
    values["vlan"] = [host16(key.vlan_tci[i]) & 0xFFF for i in range(key.vlan_count)]
    if not size:
        return values
    values |= {
        "src": str(ip_address(bytes(key.src_addr)[:size])),
        "dst": str(ip_address(bytes(key.dst_addr)[:size])),
        "tos": key.ip_tos,
        "ttl": key.ip_ttl,
        "protocol": key.ip_protocol,
        "length": meta.ip_octets,
        "fragment": meta.fragment,
        "flow label": host32(key.flow_label) if key.ip_version == 6 else None,
        "ports": (host16(key.src_port), host16(key.dst_port)),
        "tcp flags": meta.tcp_flags if key.ip_protocol == TCP else None,
    }
    return values


def host16(value: int) -> int:
    return int.from_bytes(value.to_bytes(2, sys.byteorder), "big")


def host32(value: int) -> int:
    return int.from_bytes(value.to_bytes(4, sys.byteorder), "big")


def chain(row: Row) -> tuple[int | None, int]:
    """Protocol behind IPv6's extension headers, and what makes it a fragment."""
    protocol = number(row["ipv6.nxt"])
    left = {name: list(row[name]) for name in EXTENSIONS.values()}
    fragment = 0
    while protocol in EXTENSIONS and left[EXTENSIONS[protocol]] and fragment & LATER != LATER:
        if protocol == 44:
            fragment = fragment_bits(number(row["ipv6.fraghdr.offset"]), row["ipv6.fraghdr.more"][0] == "1")
        protocol = int(left[EXTENSIONS[protocol]].pop(0), 0)
    return protocol, fragment


def fragment_bits(offset: int, more: bool) -> int:
    return LATER * bool(offset) | (ANY | MORE) * more


def theirs(row: Row) -> Values:
    """What tshark says, in the same words."""
    layers = protocols(row)
    found = [layer for layer in layers if layer in ("ip", "ipv6") and row[f"{layer}.src"]]
    values: Values = {"version": {"ip": 4, "ipv6": 6}[found[0]] if found else 0}
    if row["eth.src"]:
        values |= {"eth.src": row["eth.src"][0], "eth.dst": row["eth.dst"][0]}
    values["vlan"] = [int(tag, 0) for tag in row["ieee8021ad.id"] + row["vlan.id"]]
    if not found:
        return values
    values |= {"src": row[f"{found[0]}.src"][0], "dst": row[f"{found[0]}.dst"][0]}
    if found[0] == "ip":
        values |= {"tos": number(row["ip.dsfield"]), "ttl": number(row["ip.ttl"]), "length": number(row["ip.len"])}
        protocol, values["flow label"] = number(row["ip.proto"]), None
        fragment = fragment_bits(number(row["ip.frag_offset"]), bool(number(row["ip.flags.mf"])))
        fragment |= DONT * number(row["ip.flags.df"])
    else:
        values |= {"tos": number(row["ipv6.tclass"]), "ttl": number(row["ipv6.hlim"])}
        values |= {"flow label": number(row["ipv6.flow"]), "length": 40 + (number(row["ipv6.plen"]) or 0)}
        protocol, fragment = chain(row)
    values |= {"protocol": protocol, "fragment": fragment, "ports": (0, 0), "tcp flags": None}
    later = fragment & LATER == LATER
    if protocol in PORTS and not later:
        values["ports"] = tuple(number(row[field]) or 0 for field in PORTS[protocol])
    if protocol == TCP:
        values["tcp flags"] = 0 if later else number(row["tcp.flags"]) or 0
    return values


def protocols(row: Row) -> list[str]:
    return row["frame.protocols"][0].split(":") if row["frame.protocols"] else []


def shim(our: Values, their: Values, row: Row) -> bool:
    """Headers that are not parsed stand between Ethernet and IP: the frame is one of layer 2, by its ethertype."""
    return our["version"] == our["flags"] == 0 and bool(SHIMS & set(protocols(row)))


def inter_switch_link(our: Values, their: Values, row: Row) -> bool:
    """Cisco ISL wraps a frame into another, whose own addresses are the outermost."""
    return our["version"] == 0 and protocols(row)[:2] == ["eth", "eth"]


def contradiction(our: Values, their: Values, row: Row) -> bool:
    """An IP header that contradicts itself or the frame describes nothing: the frame counts as layer 2."""
    return our["version"] == 0 and our["flags"] == MALFORMED


def short_header(our: Values, their: Values, row: Row) -> bool:
    """A header shorter than its protocol's smallest one gives no ports and no flags, as in OVS; tshark shows a part."""
    cut = our["flags"] == TRUNCATED and our.get("ports") == (0, 0) and not our["tcp flags"]
    return cut and differences(our, their) <= {"ports", "tcp flags"}


def short_extension(our: Values, their: Values, row: Row) -> bool:
    """Of an IPv6 extension header that is cut short tshark takes the next one's number; here it is the last."""
    return our["flags"] == TRUNCATED and our.get("protocol") in EXTENSIONS and differences(our, their) == {"protocol"}


def bogus_offset(our: Values, their: Values, row: Row) -> bool:
    """Where TCP's data offset is below 5 words, tshark shows ports but no flags."""
    return not row["tcp.flags"] and differences(our, their) == {"tcp flags"}


def longer_than_the_wire(our: Values, their: Values, row: Row) -> bool:
    """A damaged record says it captured more than there was: what was on the wire counts."""
    return int(row["frame.len"][0]) < int(row["frame.cap_len"][0])


CLASSES: list[Callable[[Values, Values, Row], bool]] = [
    shim,
    inter_switch_link,
    contradiction,
    short_header,
    short_extension,
    bogus_offset,
    longer_than_the_wire,
]


def differences(our: Values, their: Values) -> set[str]:
    return {name for name in their if our.get(name) != their[name]}


def is_whole(path: Path) -> bool:
    try:
        with Capture(str(path)) as capture:
            return sum(count for _, count in batches(capture)) > 0
    except CaptureError:
        return False


def samples(paths: list[Path]) -> Iterator[tuple[str, Values]]:
    """Each packet's place and values."""
    for path in paths:
        with Capture(str(path)) as capture:
            packets = (ours(batch[i]) for batch, count in batches(capture) for i in range(count))
            for packet, values in enumerate(packets, 1):
                yield f"{path.name} packet {packet}", values


def test_tshark_reads_the_same(tmp_path: Path) -> None:
    if not captures():
        pytest.skip("the corpus is not there: python3 tests/lib/corpus.py fetches it")
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed: apt-get install tshark")
    paths = [path for path in captures() if is_whole(path)]
    assert len(paths) > len(captures()) // 2
    merge(paths, tmp_path / "all.pcapng")
    met: Counter[str] = Counter()
    unexplained = []
    for (place, our), row in zip(samples(paths), dissect(tmp_path / "all.pcapng"), strict=True):
        their = theirs(row)
        if not differences(our, their):
            met["the same"] += 1
            continue
        names = [explains.__name__ for explains in CLASSES if explains(our, their, row)]
        met.update(names[:1])
        if not names:
            unexplained.append((place, {name: (our.get(name), their[name]) for name in differences(our, their)}))
    assert unexplained == []
    assert set(met) == {"the same", *(explains.__name__ for explains in CLASSES)}, "a class that does not occur"
    assert met["the same"] > 0.99 * met.total()
