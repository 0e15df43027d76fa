"""What each key of the configuration may be: readers that turn a TOML value into a checked one.

A reader takes the key's path and its value and returns what the options hold, or raises
a ConfigError that names path, value and range. Ranges of keys that OVS has are OVS's
(ovs-vswitchd.conf.db(5), tables IPFIX and Flow_Sample_Collector_Set).
"""

import ipaddress
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter.options import DEFAULT_PORT, UINT32_MAX, Target
from sampler.errors import ConfigError

Reader = Callable[[str, object], Any]

# sun_path of struct sockaddr_un is 108 octets with its terminating zero.
UNIX_PATH_MAX = 107
# IFNAMSIZ is 16 with the terminating zero; a glob may be longer than the names it matches.
GLOB_MAX = 64
# Perf rings are locked memory; 2^14 pages of 4 KiB are 64 MiB a CPU.
RING_PAGES_MAX = 2**14
# RFC 1123 section 2.1 names; the underscore is outside of it but in use.
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
SCOPED = re.compile(r"[^%]+%[^%\s\]]+")


def decimal(text: str) -> int | None:
    """Read a number of up to 10 digits, which hold every number here; None where the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def shown(value: object) -> str:
    """Write the value as TOML would, for an error message."""
    if isinstance(value, bool | str | int | float):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def integer(low: int, high: int) -> Reader:
    """Read a whole number from low to high. TOML's booleans are no numbers, though Python's are."""

    def read(path: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{path} = {shown(value)}: must be a whole number from {low} to {high}")
        return value

    return read


def power_of_two(high: int) -> Reader:
    """Read 1, 2, 4, … high."""
    whole = integer(1, high)

    def read(path: str, value: object) -> int:
        try:
            number: int = whole(path, value)
        except ConfigError:
            number = 0
        if number == 0 or number & (number - 1):
            raise ConfigError(f"{path} = {shown(value)}: must be a power of two from 1 to {high}")
        return number

    return read


def boolean(path: str, value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{path} = {shown(value)}: must be true or false")
    return value


def choice(*words: str) -> Reader:
    """Read one of the words."""

    def read(path: str, value: object) -> str:
        if not isinstance(value, str) or value not in words:
            listed = ", ".join(f'"{word}"' for word in words)
            raise ConfigError(f"{path} = {shown(value)}: must be one of {listed}")
        return value

    return read


def counts(path: str, value: object) -> str:
    """Read the meaning of counters; "raw" is known and refused by a sentence of its own."""
    if value == "raw":
        raise ConfigError(
            f'{path} = "raw": unscaled counters are not there yet and come in a later version; '
            'use "scaled", which every collector reads right'
        )
    if value != "scaled":
        raise ConfigError(f'{path} = {shown(value)}: must be "scaled"')
    return "scaled"


def globs(path: str, value: object) -> tuple[str, ...]:
    """Read a list of interface names or globs."""
    if not isinstance(value, list) or not value:
        raise ConfigError(f'{path} = {shown(value)}: must be a list of interface names or globs, such as ["eth*"]')
    for item in value:
        if not isinstance(item, str) or not 0 < len(item) <= GLOB_MAX or re.search(r"[\s/\0]", item):
            raise ConfigError(
                f"{path} = {shown(item)}: must be an interface name or a glob of 1 to {GLOB_MAX} characters "
                "without space or slash"
            )
    return tuple(dict.fromkeys(value))


def ports(path: str, value: object) -> tuple[int, ...]:
    """Read a list of ports, which may be empty; the same one twice counts once."""
    if not isinstance(value, list):
        raise ConfigError(f"{path} = {shown(value)}: must be a list of ports, such as [4789]; [] for none")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or not 1 <= item <= 65535:
            raise ConfigError(f"{path} = {shown(item)}: a port must be a whole number from 1 to 65535")
    return tuple(dict.fromkeys(value))


def socket_path(path: str, value: object) -> Path:
    """Read the absolute path of a unix socket."""
    if (
        not isinstance(value, str)
        or not value.startswith("/")
        or len(os.fsencode(value)) > UNIX_PATH_MAX
        or "\0" in value
    ):
        raise ConfigError(f"{path} = {shown(value)}: must be an absolute path of at most {UNIX_PATH_MAX} bytes")
    return Path(value)


def targets(path: str, value: object) -> tuple[Target, ...]:
    """Read a list of collector addresses; the same one twice counts once."""
    if not isinstance(value, list):
        raise ConfigError(f'{path} = {shown(value)}: must be a list of addresses, such as ["192.0.2.1:4739"]')
    return tuple(dict.fromkeys(target(path, item) for item in value))


def target(path: str, value: object) -> Target:
    """Read HOST, HOST:PORT, ADDRESS:PORT or [IPV6]:PORT."""
    if not isinstance(value, str):
        raise ConfigError(f"{path} = {shown(value)}: must be a string HOST:PORT")
    if value.startswith("["):
        host, bracket, rest = value[1:].partition("]")
        if not bracket or not _is_ipv6(host):
            raise ConfigError(f"{path} = {shown(value)}: between the brackets must be an IPv6 address")
        if rest and not rest.startswith(":"):
            raise ConfigError(f"{path} = {shown(value)}: behind the brackets may only be :PORT")
        return Target(host, _port(path, value, rest[1:] if rest else None))
    if value.count(":") > 1:
        way_out = f'write "[{value}]:{DEFAULT_PORT}"' if _is_ipv6(value) else "must be HOST:PORT"
        raise ConfigError(f"{path} = {shown(value)}: an IPv6 address goes in brackets: {way_out}")
    host, colon, port = value.partition(":")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ConfigError(f"{path} = {shown(value)}: {shown(host)} is no IPv4 address") from None
    elif len(host) > 253 or not HOST_NAME.fullmatch(host):
        raise ConfigError(f"{path} = {shown(value)}: {shown(host)} is neither a host name nor an address")
    return Target(host, _port(path, value, port if colon else None))


def _is_ipv6(text: str) -> bool:
    if "%" in text and not SCOPED.fullmatch(text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(path: str, value: str, text: str | None) -> int:
    if text is None:
        return DEFAULT_PORT
    number = decimal(text)
    if number is None or not 1 <= number <= 65535:
        raise ConfigError(f"{path} = {shown(value)}: the port must be a number from 1 to 65535")
    return number


SAMPLER: dict[str, Reader] = {
    "interfaces": globs,
    "hook": choice("auto", "tc", "xdp", "xdp-generic"),
    "loader": choice("libbpf", "bcc"),
    "ring_pages": power_of_two(RING_PAGES_MAX),
    "sample_budget": integer(0, UINT32_MAX),
    "control_socket": socket_path,
}

INTERFACE: dict[str, Reader] = {
    "obs_point_id": integer(0, UINT32_MAX),
}

TUNNEL_PORTS: dict[str, Reader] = {
    "vxlan": ports,
    "geneve": ports,
    "lisp": ports,
    "stt": ports,
}

EXPORTER: dict[str, Reader] = {
    "targets": targets,
    "sampling": integer(1, UINT32_MAX),
    "obs_domain_id": integer(0, UINT32_MAX),
    "obs_point_id": integer(0, UINT32_MAX),
    "cache_active_timeout": integer(0, 4200),
    "cache_idle_timeout": integer(0, 4200),
    "cache_max_flows": integer(0, UINT32_MAX),
    "template_interval": integer(1, 3600),
    "stats_interval": integer(1, 3600),
    "enable_tunnel_sampling": boolean,
    "enable_input_sampling": boolean,
    "enable_output_sampling": boolean,
    "message_size": integer(512, 65467),
    "profile": choice("full", "ovs"),
    "counts": counts,
    "options_data": boolean,
    "announce_selector": boolean,
}
