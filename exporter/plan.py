"""Plans: templates compiled to the operations that exporter/native/encode.c runs a record by."""

from dataclasses import dataclass
from functools import cache, lru_cache

from exporter._native import ffi, lib
from exporter.profiles import Profile
from exporter.template import Template

COPY: int = lib.OP_COPY
FIELD_OP = {1: lib.OP_UINT8, 2: lib.OP_UINT16, 4: lib.OP_UINT32, 8: lib.OP_UINT64}

# Fields of struct flow that hold the octets of the wire already: (field, octets into it, octets).
COPIES: dict[str, tuple[str, int]] = {
    "flowDirection": ("key.direction", 0),
    "sourceMacAddress": ("key.src_mac", 0),
    "destinationMacAddress": ("key.dst_mac", 0),
    "ethernetType": ("key.ethertype", 0),
    "ethernetHeaderLength": ("key.ethernet_header_length", 0),
    "ipVersion": ("key.ip_version", 0),
    "ipTTL": ("key.ip_ttl", 0),
    "minimumTTL": ("ttl_min", 0),
    "maximumTTL": ("ttl_max", 0),
    "tcpControlBits": ("tcp_flags", 0),
    "mplsTopLabelStackSection": ("key.mpls_label", 0),
    "protocolIdentifier": ("key.ip_protocol", 0),
    "ipClassOfService": ("key.ip_tos", 0),
    "sourceIPv4Address": ("key.src_addr", 0),
    "destinationIPv4Address": ("key.dst_addr", 0),
    "sourceIPv6Address": ("key.src_addr", 0),
    "destinationIPv6Address": ("key.dst_addr", 0),
    "flowLabelIPv6": ("key.flow_label", 0),
    "sourceTransportPort": ("key.src_port", 0),
    "destinationTransportPort": ("key.dst_port", 0),
    # The parser keeps ICMP's type and code as 16-bit numbers in the ports: their low octet.
    "icmpTypeIPv4": ("key.src_port", 1),
    "icmpCodeIPv4": ("key.dst_port", 1),
    "icmpTypeIPv6": ("key.src_port", 1),
    "icmpCodeIPv6": ("key.dst_port", 1),
    "tunnelSourceIPv4Address": ("key.tunnel.src_addr", 0),
    "tunnelDestinationIPv4Address": ("key.tunnel.dst_addr", 0),
    "tunnelProtocolIdentifier": ("key.tunnel.protocol", 0),
    "tunnelSourceTransportPort": ("key.tunnel.src_port", 0),
    "tunnelDestinationTransportPort": ("key.tunnel.dst_port", 0),
    "tunnelType": ("key.tunnel.type", 0),
    "UNTUNNELED_IPV6_SRC_ADDR": ("key.tunnel.src_addr", 0),
    "UNTUNNELED_IPV6_DST_ADDR": ("key.tunnel.dst_addr", 0),
    # A number of 64 bits in network order: its low 32.
    "greKey": ("key.tunnel.key", 4),
}

# Fields of struct flow in host byte order.
INTEGERS: dict[str, str] = {
    "observationPointId": "point",
    "packetDeltaCount": "packets",
    "layer2OctetDeltaCount": "frame_octets",
    "octetDeltaCount": "ip_octets",
    "octetDeltaSumOfSquares": "ip_octets_sumsq",
    "minimumIpTotalLength": "ip_length_min",
    "maximumIpTotalLength": "ip_length_max",
    "flowEndReason": "end_reason",
}

# Values that C derives from the flow.
DERIVED: dict[str, int] = {
    "ipDiffServCodePoint": lib.OP_DSCP,
    "ipPrecedence": lib.OP_PRECEDENCE,
    "vlanId": lib.OP_VLAN_ID,
    "dot1qVlanId": lib.OP_VLAN_ID,
    "dot1qPriority": lib.OP_VLAN_PRIORITY,
    "dot1qCustomerVlanId": lib.OP_CUSTOMER_VLAN_ID,
    "dot1qCustomerPriority": lib.OP_CUSTOMER_VLAN_PRIORITY,
    "fragmentFlags": lib.OP_FRAGMENT_FLAGS,
    "icmpTypeCodeIPv4": lib.OP_ICMP_TYPE_CODE,
    "icmpTypeCodeIPv6": lib.OP_ICMP_TYPE_CODE,
    "flowStartDeltaMicroseconds": lib.OP_START_DELTA,
    "flowEndDeltaMicroseconds": lib.OP_END_DELTA,
    "flowStartMilliseconds": lib.OP_START_MILLISECONDS,
    "flowEndMilliseconds": lib.OP_END_MILLISECONDS,
    "ingressInterface": lib.OP_INGRESS_INTERFACE,
    "egressInterface": lib.OP_EGRESS_INTERFACE,
    "tunnelKey": lib.OP_TUNNEL_KEY,
    "layer2SegmentId": lib.OP_LAYER2_SEGMENT,
    "forwardingStatus": lib.OP_FORWARDING_STATUS,
    "droppedPacketDeltaCount": lib.OP_DROPPED_PACKETS,
    "droppedOctetDeltaCount": lib.OP_DROPPED_OCTETS,
}

# Places in struct flow's flag_counts: the flags' bits in the TCP header.
FLAG_COUNTS = {
    "tcpFinTotalCount": 0,
    "tcpSynTotalCount": 1,
    "tcpRstTotalCount": 2,
    "tcpPshTotalCount": 3,
    "tcpAckTotalCount": 4,
    "tcpUrgTotalCount": 5,
}


@dataclass(frozen=True)
class Op:
    """One struct op: what to write, from which octet of struct flow, in how many octets."""

    code: int
    offset: int
    length: int


@cache
def _field_of(path: str) -> tuple[int, int]:
    """Offset and size of a field of struct flow."""
    names = path.split(".")
    kind = ffi.typeof("struct flow")
    for name in names:
        kind = _members(kind)[name]
    return ffi.offsetof("struct flow", *names), ffi.sizeof(kind)


def _members(kind: "ffi.CType") -> "dict[str, ffi.CType]":
    """Types by name, those of unions without a name among them."""
    members: dict[str, ffi.CType] = {}
    for name, member in kind.fields:
        members |= {name: member.type} if name else _members(member.type)
    return members


@cache
def _op(name: str, length: int) -> Op:
    """Write the element of this name, in so many octets."""
    if name in COPIES:
        path, skip = COPIES[name]
        return Op(COPY, _field_of(path)[0] + skip, length)
    if name in INTEGERS:
        offset, size = _field_of(INTEGERS[name])
        return Op(FIELD_OP[size], offset, length)
    if name in FLAG_COUNTS:
        return Op(lib.OP_FLAG_COUNT, FLAG_COUNTS[name], length)
    return Op(DERIVED[name], 0, length)


def compile_template(template: Template, virtual_obs_id: bytes = b"") -> tuple[Op, ...]:
    """Compile to operations; copies of neighbouring octets become one."""
    ops: list[Op] = []
    for item in template.fields:
        if item.element.name == "virtualObsID":
            op = Op(lib.OP_CONSTANT, 0, 1 + len(virtual_obs_id))
        else:
            op = _op(item.element.name, item.length)
        last = ops[-1] if ops else None
        if last and op.code == COPY == last.code and last.offset + last.length == op.offset:
            ops[-1] = Op(COPY, last.offset, last.length + op.length)
        else:
            ops.append(op)
    return tuple(ops)


@lru_cache(maxsize=8)  # one for all exporters alike; there are as many as texts in the configuration
def _plans(profile: Profile, value: bytes) -> "tuple[ffi.CData, list[ffi.CData]]":
    """Make the struct plan[] of a profile, for records with this virtualObsID, and the arrays that it points into."""
    arrays = [
        ffi.new("struct op[]", [(op.code, op.offset, op.length) for op in compile_template(t, value)])
        for t in profile.templates
    ]
    plans = ffi.new("struct plan[]", len(profile.templates))
    for plan, template, ops in zip(plans, profile.templates, arrays, strict=True):
        plan.ops = ops
        plan.op_count = len(ops)
        names = {item.element.name for item in template.fields}
        # A text has its length in one octet.
        plan.record_size = template.fixed_length + (1 + len(value) if "virtualObsID" in names else 0)
        plan.template_id = template.id
        plan.ip = "octetDeltaCount" in names
        plan.flags = not names.isdisjoint(FLAG_COUNTS)
        plan.verdict = "droppedPacketDeltaCount" in names
        plan.tunnel_key = "tunnelKey" in names
    return plans, arrays


def make_encoder(profile: Profile, virtual_obs_id: str = "") -> "ffi.CData":
    """Make C's encoder for this profile: a struct encoder that is destroyed with the object."""
    value = virtual_obs_id.encode()
    # Below 255 octets a value has its length in one octet (RFC 7011 section 7).
    constant = bytes([len(value)]) + value
    plans, _ = _plans(profile, value)
    result = ffi.new("struct encoder **")
    code = lib.encoder_create(result, plans, len(plans), list(profile.by_kind), constant, len(constant))
    if code:
        raise OSError(-code, f"no encoder for profile {profile.name}")
    return ffi.gc(result[0], lib.encoder_destroy)
