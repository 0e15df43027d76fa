"""Matches of flow rules mean what ovs-ofctl(8) makes of the same text: its NXM fields, asked of random packets."""

import re
import subprocess

from hypothesis import given, settings

from lib.matches import Packet, Piece, cases, sample, takes
from sampler.rules.match import compile_match

FIELD = re.compile(r"(NXM|OXM)_\w+?_(\w+?)(_W)?\(([0-9a-f]+)(?:/([0-9a-f]+))?\)")

# The names of NXM and OXM without their class, and what a packet has there.
VALUES = {
    "PACKET_TYPE": lambda _: 0,  # Ethernet
    "ETH_SRC": lambda p: p["dl_src"],
    "ETH_DST": lambda p: p["dl_dst"],
    "ETH_TYPE": lambda p: p["dl_type"],
    "VLAN_TCI": lambda p: p["tci"] & ~0x1000 | (0x1000 if p["tags"] else 0),
    "MPLS_LABEL": lambda p: p["mpls"] >> 12,
    "MPLS_TC": lambda p: p["mpls"] >> 9 & 7,
    "MPLS_BOS": lambda p: p["mpls"] >> 8 & 1,
    "IP_PROTO": lambda p: p["nw_proto"],
    "IP_SRC": lambda p: p["src"],
    "IP_DST": lambda p: p["dst"],
    "IPV6_SRC": lambda p: p["src"],
    "IPV6_DST": lambda p: p["dst"],
    "IPV6_LABEL": lambda p: p["label"],
    "IP_TOS": lambda p: p["tos"] & 0xFC,
    "IP_ECN": lambda p: p["tos"] & 3,
    "IP_TTL": lambda p: p["ttl"],
    "IP_FRAG": lambda p: p["fragment"] & 3,
    "TCP_FLAGS": lambda p: p["tcp_flags"],
    "TUN_ID": lambda p: p["tun_id"],
    "TUN_IPV4_SRC": lambda p: p["tun_src"] if p["tun_version"] == 4 else 0,
    "TUN_IPV4_DST": lambda p: p["tun_dst"] if p["tun_version"] == 4 else 0,
    "TUN_IPV6_SRC": lambda p: p["tun_src"] if p["tun_version"] == 6 else 0,
    "TUN_IPV6_DST": lambda p: p["tun_dst"] if p["tun_version"] == 6 else 0,
}
VALUES |= {f"{proto}_SRC": lambda p: p["tp_src"] for proto in ("TCP", "UDP", "SCTP")}
VALUES |= {f"{proto}_DST": lambda p: p["tp_dst"] for proto in ("TCP", "UDP", "SCTP")}
VALUES |= {f"{proto}_TYPE": lambda p: p["tp_src"] for proto in ("ICMP", "ICMPV6")}
VALUES |= {f"{proto}_CODE": lambda p: p["tp_dst"] for proto in ("ICMP", "ICMPV6")}


def nxm(text: str) -> list[tuple[str, int, int]]:
    """What ovs-ofctl makes of a match: field, value and mask."""
    command = ["ovs-ofctl", "-m", "-m", "-m", "-F", "nxm", "parse-flow", f"{text} actions=drop"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{text}: {done.stderr}"
    fields = done.stdout.split("ADD ")[1]
    found = []
    for _, name, _, value, mask in FIELD.findall(fields):
        full = "f" * len(value)
        found.append((name, int(value, 16), int(mask or full, 16)))
    assert len(found) == len(re.findall(r"[NO]XM_", fields)), fields
    return found


@settings(max_examples=300, deadline=None)
@given(cases(ranges=False))
def test_the_same_packets_are_taken(case: tuple[list[Piece], list[Packet]]) -> None:
    parts, some = case
    text = ",".join(part.text for part in parts)
    match = compile_match(text, lambda _: None)
    fields = nxm(text)
    for packet in some:
        theirs = all((VALUES[name](packet) ^ value) & mask == 0 for name, value, mask in fields)
        assert takes(match, sample(packet)) == theirs, (text, fields)
