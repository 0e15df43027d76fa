"""Readers of the values in a match: numbers, addresses and their masks, as ovs-ofctl(8) writes them.

Each gives (value, mask) as whole numbers, a bit of the mask being 1 where the packet must agree.
`shown` is the assignment as the user wrote it, for the error.
"""

import ipaddress
import re
from collections.abc import Callable

from sampler.errors import ConfigError

MAC = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")
NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,32}|[1-9][0-9]{0,38}|0")
# RFC 9293 and, for ns, RFC 3540; from the lowest bit.
TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns")
TCP_FLAGS_MAX = 0xFFF
# Bits FRAGMENT_ANY and FRAGMENT_LATER of meta.fragment, which are Open vSwitch's.
FRAGMENTS = {"no": (0, 3), "yes": (1, 1), "first": (1, 3), "later": (3, 3), "not_later": (0, 2)}

Bits = tuple[int, int]
Read = Callable[[str, str], Bits]


def number(shown: str, text: str, high: int) -> int:
    """Read a decimal or hexadecimal number from 0 to `high`."""
    value = int(text, 0) if NUMBER.fullmatch(text) else -1
    if not 0 <= value <= high:
        limit = f"{high}" if high < 65536 else f"{high:#x}"
        raise ConfigError(f"{shown}: must be a number from 0 to {limit}, decimal or hexadecimal (0x…)")
    return value


def exact(width: int) -> Read:
    """Read a number of this many bits."""

    def read(shown: str, text: str) -> Bits:
        if "/" in text:
            raise ConfigError(f"{shown}: takes no mask, as in Open vSwitch")
        return number(shown, text, 2**width - 1), 2**width - 1

    return read


def masked(width: int) -> Read:
    """Read VALUE or VALUE/MASK of this many bits; bits of the value outside of the mask count for nothing."""

    def read(shown: str, text: str) -> Bits:
        value, slash, mask = text.partition("/")
        high = 2**width - 1
        wanted = number(shown, mask, high) if slash else high
        return number(shown, value, high) & wanted, wanted

    return read


def mac(shown: str, text: str) -> Bits:
    """Read XX:XX:XX:XX:XX:XX, with a mask of the same form or without."""
    value, slash, mask = text.partition("/")
    wanted = mask if slash else "ff:ff:ff:ff:ff:ff"
    if not MAC.fullmatch(value) or not MAC.fullmatch(wanted):
        raise ConfigError(
            f"{shown}: must be a MAC address, such as 02:00:00:00:00:01 or 01:00:00:00:00:00/01:00:00:00:00:00"
        )
    numbers = [int("".join(part.zfill(2) for part in item.split(":")), 16) for item in (value, wanted)]
    return numbers[0] & numbers[1], numbers[1]


def address(version: int) -> Read:
    """Read an IP address of this version, with a prefix length or any mask or without."""
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    width = 32 if version == 4 else 128
    example = "192.0.2.0/24 or 192.0.0.1/255.0.0.255" if version == 4 else "2001:db8::/32 or ::1/::ffff"

    def read(shown: str, text: str) -> Bits:
        value, slash, mask = text.partition("/")
        try:
            if "%" in text:
                raise ValueError
            if not slash:
                wanted = 2**width - 1
            elif re.fullmatch(r"[0-9]{1,3}", mask) and int(mask) <= width:
                wanted = 2**width - 2 ** (width - int(mask))
            else:
                wanted = int(kind(mask))
            return int(kind(value)) & wanted, wanted
        except ValueError:
            raise ConfigError(f"{shown}: must be an IPv{version} address, such as {example}") from None

    return read


def tcp_flags(shown: str, text: str) -> Bits:
    """Read VALUE/MASK, "syn|ack" (these and no others) or "+syn-ack" (this one and not that one)."""
    if text[:1].isdecimal():
        return masked(12)(shown, text)
    if re.fullmatch(r"([+-]\w+)+", text):
        on, off = (_flags(shown, re.findall(rf"[{sign}](\w+)", text)) for sign in ("+", "-"))
        if on & off:
            raise ConfigError(f"{shown}: a flag cannot be both set and not set")
        return on, on | off
    return _flags(shown, text.split("|")), TCP_FLAGS_MAX


def _flags(shown: str, names: list[str]) -> int:
    unknown = [name for name in names if name not in TCP_FLAGS]
    if unknown:
        raise ConfigError(
            f'{shown}: no TCP flag is called "{unknown[0]}"; write +syn-ack, syn|ack or 0x2/0x12 '
            f"with {', '.join(TCP_FLAGS)}"
        )
    return sum({1 << TCP_FLAGS.index(name) for name in names})


def fragment(shown: str, text: str) -> Bits:
    """Read a word of nw_frag."""
    if text not in FRAGMENTS:
        raise ConfigError(f"{shown}: must be one of {', '.join(FRAGMENTS)}")
    return FRAGMENTS[text]
