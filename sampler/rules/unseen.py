"""What ovs-ofctl(8) takes in a match and a rule of xdpfix cannot ask, each with the sentence that says why."""

import re

OPENFLOW_PORTS = frozenset(
    {"LOCAL", "CONTROLLER", "ANY", "NONE", "ALL", "NORMAL", "FLOOD", "TABLE", "IN_PORT", "UNSET"}
)

# Patterns over the whole name, with the rest of the sentence.
REASONS = (
    (
        r"ct_\w+|recirc_id|dp_hash|conj_id|actset_output|metadata|x{0,2}reg\d+",
        "is state that Open vSwitch keeps beside a packet; a rule here sees what is on the wire",
    ),
    (r"pkt_mark|skb_priority", "is the kernel's mark on a packet, which samples do not carry"),
    (r"in_port_oxm|in_phy_port", "is a number of OpenFlow; write in_port=NAME"),
    (
        r"arp_\w+|nd_\w+",
        "is not in a sample, which has no fields of ARP and neighbour discovery; match arp, or icmp6 with its type",
    ),
    (
        r"tun_(flags|tos|ttl|gbp_\w+|erspan_\w+|gtpu_\w+|metadata\d+)",
        "is not in a sample, which has of a tunnel tun_id, tun_src, tun_dst, tun_ipv6_src and tun_ipv6_dst",
    ),
    (r"nsh(_\w+)?|nsp|nsi", "is not in a sample: the Network Service Header is not looked into"),
    (r"packet_type|eth", "is not in a sample; leave it out: a rule takes frames and bare IP packets alike"),
    (
        r"actions?|priority|table|cookie|duration|n_\w+|\w+_timeout|\w+_age|importance|check_overlap|reset_counts|"
        r"send_flow_rem|no_packet_counts|no_byte_counts|out_port|out_group",
        "belongs to a flow of Open vSwitch and not to its match; leave it out",
    ),
)


def reason(name: str) -> str | None:
    """Say why this name of Open vSwitch cannot be matched, as the rest of a sentence; None for all other names."""
    return next((text for pattern, text in REASONS if re.fullmatch(pattern, name)), None)
