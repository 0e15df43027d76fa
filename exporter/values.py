"""The abstract data types of RFC 7012 section 3.1 as Python values, by the encodings of RFC 7011 section 6.

exporter.decoder reads every field of a record through `reader`; a length that the type cannot have is an error there.
"""

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from exporter.elements import VARIABLE_LENGTH

Value = int | float | bool | str | bytes | datetime | IPv4Address | IPv6Address

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NTP_ERA = 2**32  # seconds of one NTP era
_NTP_TO_UNIX = 2_208_988_800  # seconds from 1900 to 1970
_UNSIGNED = {"unsigned8": 1, "unsigned16": 2, "unsigned32": 4, "unsigned64": 8, "unsigned256": 32}
_SIGNED = {"signed8": 1, "signed16": 2, "signed32": 4, "signed64": 8}


def _unsigned(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _signed(octets: bytes) -> int:
    return int.from_bytes(octets, "big", signed=True)


def _float32(octets: bytes) -> float:
    return float(struct.unpack(">f", octets)[0])


def _float64(octets: bytes) -> float:
    return float(struct.unpack(">d", octets)[0])


def _boolean(octets: bytes) -> bool | int:
    """1 is true and 2 is false (RFC 7011 section 6.1.5); what is neither stays the number it is."""
    return {1: True, 2: False}.get(octets[0], octets[0])


def _mac(octets: bytes) -> str:
    return octets.hex(":")


def _string(octets: bytes) -> str:
    """UTF-8; octets that are none are shown by the replacement character, as the record is worth more than its name."""
    return octets.rstrip(b"\0").decode("utf-8", "replace")


def _seconds(octets: bytes) -> datetime:
    return _UNIX_EPOCH + timedelta(seconds=_unsigned(octets))


def _milliseconds(octets: bytes) -> datetime | int:
    """A number where it lies beyond the year 9999, which datetime does not reach."""
    number = _unsigned(octets)
    try:
        return _UNIX_EPOCH + timedelta(milliseconds=number)
    except OverflowError:
        return number


def _ntp(octets: bytes) -> datetime:
    """NTP's 32.32 format since 1900; seconds before 1970 belong to the era that starts in 2036 (RFC 5905 section 6)."""
    seconds, fraction = struct.unpack(">II", octets)
    if seconds < _NTP_TO_UNIX:
        seconds += _NTP_ERA
    return _UNIX_EPOCH + timedelta(seconds=seconds - _NTP_TO_UNIX, microseconds=fraction * 1_000_000 >> 32)


_FIXED: dict[tuple[str, int], Callable[[bytes], Value]] = {
    ("float32", 4): _float32,
    ("float64", 8): _float64,
    ("float64", 4): _float32,  # the one reduced-size float, RFC 7011 section 6.2
    ("boolean", 1): _boolean,
    ("macAddress", 6): _mac,
    ("ipv4Address", 4): IPv4Address,
    ("ipv6Address", 16): IPv6Address,
    ("dateTimeSeconds", 4): _seconds,
    ("dateTimeMilliseconds", 8): _milliseconds,
    ("dateTimeMicroseconds", 8): _ntp,
    ("dateTimeNanoseconds", 8): _ntp,  # datetime holds microseconds; no exporter here has more
}


def reader(data_type: str, length: int) -> Callable[[bytes], Value] | None:
    """Return what turns the octets of a field into its value.

    Reduced-size encoding (RFC 7011 section 6.2) is allowed for integers and float64 only.

    Args:
        data_type: abstract data type's name; one that is not known is read as octets.
        length: the template's field length, VARIABLE_LENGTH (RFC 7011 section 7) allowed for octets and strings.

    Returns:
        None where the type cannot have this length.

    """
    if length == 0:
        return None  # a record of 1 octet could else have 16 000 fields: a message would decode to 10^9 values
    if data_type in _UNSIGNED:
        return _unsigned if 0 < length <= _UNSIGNED[data_type] else None
    if data_type in _SIGNED:
        return _signed if 0 < length <= _SIGNED[data_type] else None
    if data_type == "string":
        return _string
    if any(data_type == known for known, _ in _FIXED):
        # A few exporters send fixed types with a variable length; the length is then known only in the record.
        return None if length == VARIABLE_LENGTH else _FIXED.get((data_type, length))
    return bytes
