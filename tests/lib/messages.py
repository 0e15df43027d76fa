"""Hand-built IPFIX messages: what the tests of decoders feed, independent of our encoder."""

import struct

Spec = tuple[int, int] | tuple[int, int, int]  # id, length[, enterprise number]


def message(*sets: bytes, sequence: int = 0, domain: int = 1, export_time: int = 1_700_000_000) -> bytes:
    body = b"".join(sets)
    return struct.pack(">HHIII", 10, 16 + len(body), export_time, sequence, domain) + body


def ipfix_set(set_id: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">HH", set_id, 4 + len(body)) + body


def specifiers(fields: tuple[Spec, ...]) -> bytes:
    out = b""
    for spec in fields:
        number, length, *pen = spec
        out += struct.pack(">HH", number | (0x8000 if pen else 0), length)
        out += struct.pack(">I", pen[0]) if pen else b""
    return out


def template(template_id: int, *fields: Spec) -> bytes:
    return ipfix_set(2, struct.pack(">HH", template_id, len(fields)), specifiers(fields))


def options_template(template_id: int, scope_count: int, *fields: Spec) -> bytes:
    return ipfix_set(3, struct.pack(">HHH", template_id, len(fields), scope_count), specifiers(fields))


def variable(value: bytes) -> bytes:
    """RFC 7011 section 7."""
    return bytes([len(value)]) + value if len(value) < 255 else b"\xff" + struct.pack(">H", len(value)) + value
