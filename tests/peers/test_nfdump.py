"""nfcapd and nfdump read the stream.

nfdump 1.7.1 cannot show, and these are not asked of it:
- tunnels, IP TTL, flow label, frame octets, sums of squares, lengths, the inner VLAN tag, fragment flags, packets by
  TCP flag, dropped packets and octets: it has no fields for them;
- forwardingStatus, which it reads of NetFlow 9 alone;
- the TOS of ICMP, which its output "raw" leaves out;
- profile "ovs": times, because it takes the microseconds of 158 and 159 for milliseconds since 1970; interfaces and
  TCP flags, because OVS's templates have none; ICMP type and code, because it reads icmpTypeCodeIPv4 (32) and IPv6
  (139), not 176 to 179.
"""

from lib.peers import Row
from lib.stream import Flow

from .conftest import DOMAIN, Stream


def expected(flow: Flow, profile: str) -> Row:
    key, ip = flow.key, flow.has_ip(profile)
    row = {
        "in packets": flow.packets,
        "in bytes": flow.octets if ip else 0,
        "proto": key.get("ip_protocol", 0) if ip else 0,
        "direction": key["direction"],
        "end reason": flow.reason,
        "in src mac": flow.mac,
        "in dst mac": key["dst_mac"],
        "obs domainID": DOMAIN,
        "obs pointID": flow.point,
    }
    if ip:
        row |= {"src addr": key["src_addr"], "dst addr": key["dst_addr"]}
    if not (ip and flow.is_icmp):
        row |= {"src tos": key["ip_tos"] if ip else 0}
    if ip and flow.has_ports:
        row |= {"src port": key["src_port"], "dst port": key["dst_port"]}
    if flow.vlan is not None:
        row |= {"src vlan": flow.vlan}
    if profile == "full":
        row |= {
            "first": flow.start // 10**6,
            "last": flow.end // 10**6,
            "input": flow.other if key["direction"] else key["ifindex"],
            "output": key["ifindex"] if key["direction"] else flow.other,
            "tcp flags": flow.flags,
        }
        if flow.is_icmp:
            row |= {"ICMP": f"{key['src_port']}.{key['dst_port']}"}
        if "mpls_label" in key:
            label = key["mpls_label"]
            row |= {"MPLS Lbl  1": f"{label >> 12}-{label >> 9 & 7}-{label >> 8 & 1}"}
    return row


def shown(row: Row, like: Row) -> Row:
    """Return the expected fields of a row: numbers as numbers, the hexadecimal ones too."""
    return {name: int(row[name], 0) if isinstance(value, int) else row[name] for name, value in like.items()}


def test_every_flow_is_shown_as_it_was(stream: Stream):
    for flow, row in stream.matched(stream.nfcapd.records(), "in src mac"):
        like = expected(flow, stream.profile)
        assert shown(row, like) == like


def test_it_does_not_read_the_forwarding_status(stream: Stream):
    """When a release does, the note in docs/ipfix.md goes."""
    assert {row["fwd status"] for row in stream.nfcapd.records()} == {"0"}


def test_nothing_is_multiplied(stream: Stream):
    """It multiplies by whatever it is told: it was told 1."""
    assert stream.nfcapd.samplers() == [1]
    totals = stream.nfcapd.totals()
    assert totals["Flows"] == len(stream.flows)
    assert totals["Packets"] == sum(flow.packets for flow in stream.flows)
    assert totals["Bytes"] == sum(flow.octets for flow in stream.flows if flow.has_ip(stream.profile))


def test_sequence_numbers_hold(stream: Stream):
    """It leaves options records out of its count, which RFC 7011 3.1 includes: one failure each at most."""
    assert stream.nfcapd.totals()["Sequence failures"] <= len(stream.options)


def test_it_complains_of_nothing(stream: Stream):
    log = stream.nfcapd.log.read_text()
    assert "Bad Packets: 0" in log
    assert "rror" not in log.replace("Sequence Errors", "")
