"""Records of options templates from Python values; the counterpart of exporter/values.py, which reads them."""

import struct

from exporter.elements import VARIABLE_LENGTH
from exporter.template import Field, Template

SHORT = 255  # RFC 7011 section 7: values below it say their length in one octet

Plain = int | float | str


def clean(text: str, limit: int) -> str:
    """Make a text that fits `limit` octets of UTF-8, and says what could be no text as "?" (RFC 7011 section 6.1.6).

    Names of Linux interfaces are octets of any kind; Python hands those that are no UTF-8 on as surrogates.
    """
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    shown = valid.replace("\0", "?").replace("\ufffd", "?")
    return shown.encode("utf-8")[:limit].decode("utf-8", "ignore")


def _encode(item: Field, value: Plain) -> bytes:
    kind = item.element.type
    if kind == "string":
        if item.length == VARIABLE_LENGTH:
            octets = clean(str(value), SHORT - 1).encode("utf-8")
            return bytes([len(octets)]) + octets
        # A zero at the end always, for collectors that take it for C's end of a string.
        return clean(str(value), item.length - 1).encode("utf-8").ljust(item.length, b"\0")
    if kind == "float64":
        return struct.pack(">d", value)
    if not isinstance(value, int):
        raise TypeError(f"{item.element.name} takes a whole number, not {value!r}")
    # Counters wrap as they do in C.
    return (value % (1 << 8 * item.length)).to_bytes(item.length, "big")


def record(template: Template, *values: Plain) -> bytes:
    """One record of this template; as many values as fields, in their order."""
    return b"".join(_encode(item, value) for item, value in zip(template.fields, values, strict=True))
