"""Plans: templates compiled to the operations that exporter/native/encode.c runs a record by."""

from dataclasses import dataclass

from exporter._native import ffi, lib
from exporter.profiles import Profile
from exporter.template import Template

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
    "flowEndReason": ("end_reason", 0),
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
    "tcpControlBits": "tcp_flags",
}

# Values that C derives from the flow.
DERIVED: dict[str, int] = {
    "ipDiffServCodePoint": lib.OP_DSCP,
    "ipPrecedence": lib.OP_PRECEDENCE,
    "vlanId": lib.OP_VLAN_ID,
    "dot1qVlanId": lib.OP_VLAN_ID,
    "dot1qPriority": lib.OP_VLAN_PRIORITY,
    "flowStartDeltaMicroseconds": lib.OP_START_DELTA,
    "flowEndDeltaMicroseconds": lib.OP_END_DELTA,
    "flowStartMilliseconds": lib.OP_START_MILLISECONDS,
    "flowEndMilliseconds": lib.OP_END_MILLISECONDS,
    "ingressInterface": lib.OP_INGRESS_INTERFACE,
    "egressInterface": lib.OP_EGRESS_INTERFACE,
    "tunnelKey": lib.OP_TUNNEL_KEY,
    "layer2SegmentId": lib.OP_LAYER2_SEGMENT,
}


@dataclass(frozen=True)
class Op:
    """One struct op: what to write, from which octet of struct flow, in how many octets."""

    code: int
    offset: int
    length: int


def _field_of(path: str) -> tuple[int, int]:
    """Offset and size of a field of struct flow."""
    names = path.split(".")
    offset = ffi.offsetof("struct flow", *names)
    kind = ffi.typeof("struct flow")
    for name in names:
        kind = dict(kind.fields)[name].type
    return offset, ffi.sizeof(kind)


def compile_template(template: Template) -> tuple[Op, ...]:
    """Compile to operations; copies of neighbouring octets become one."""
    ops: list[Op] = []
    for item in template.fields:
        name = item.element.name
        if name in COPIES:
            path, skip = COPIES[name]
            op = Op(lib.OP_COPY, _field_of(path)[0] + skip, item.length)
        elif name in INTEGERS:
            offset, size = _field_of(INTEGERS[name])
            op = Op(FIELD_OP[size], offset, item.length)
        else:
            op = Op(DERIVED[name], 0, item.length)
        last = ops[-1] if ops else None
        if last and op.code == last.code == lib.OP_COPY and last.offset + last.length == op.offset:
            ops[-1] = Op(lib.OP_COPY, last.offset, last.length + op.length)
        else:
            ops.append(op)
    return tuple(ops)


def make_encoder(profile: Profile) -> "ffi.CData":
    """Make C's encoder for this profile: a struct encoder that is destroyed with the object."""
    arrays = [
        ffi.new("struct op[]", [(op.code, op.offset, op.length) for op in compile_template(t)])
        for t in profile.templates
    ]
    plans = ffi.new("struct plan[]", len(profile.templates))
    for plan, template, ops in zip(plans, profile.templates, arrays, strict=True):
        plan.ops = ops
        plan.op_count = len(ops)
        plan.record_size = template.fixed_length
        plan.template_id = template.id
        names = {item.element.name for item in template.fields}
        plan.ip = "octetDeltaCount" in names
        plan.tunnel_key = "tunnelKey" in names
    result = ffi.new("struct encoder **")
    code = lib.encoder_create(result, plans, len(profile.templates), list(profile.by_kind))
    if code:
        raise OSError(-code, f"no encoder for profile {profile.name}")
    return ffi.gc(result[0], lib.encoder_destroy)
