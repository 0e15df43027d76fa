"""What each key of the configuration may be: its reader, of sampler.readers or of its own here.

Ranges of keys that OVS has are OVS's (ovs-vswitchd.conf.db(5), tables IPFIX and Flow_Sample_Collector_Set).
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.options import (
    COUNTS,
    LARGEST_MESSAGE,
    PROFILES,
    SMALLEST_MESSAGE,
    TARGETS_MODES,
    UINT32_MAX,
    FileOptions,
    Target,
    TlsOptions,
)
from sampler.address import AddressError, parse_address, parse_target
from sampler.errors import ConfigError
from sampler.readers import Reader, boolean, choice, integer, power_of_two, shown
from sampler.tables import table, values

# sun_path of struct sockaddr_un is 108 octets with its terminating zero.
UNIX_PATH_MAX = 107
# IFNAMSIZ is 16 with the terminating zero; a glob may be longer than the names it matches.
GLOB_MAX = 64
# Among those that exporters for Prometheus take.
METRICS_PORT = 9477
# RFC 7011 section 7: with one octet for the length; Open vSwitch has the same limit.
VIRTUAL_OBS_ID_MAX = 254
# Perf rings are locked memory; 2^14 pages of 4 KiB are 64 MiB a CPU.
RING_PAGES_MIN, RING_PAGES_MAX = 4, 2**14  # a batch takes three


def virtual_obs_id(path: str, value: object) -> str:
    """Read what stands in every record as virtualObsID; "" for none. A longer one has no length octet."""
    if not isinstance(value, str) or len(value.encode()) > VIRTUAL_OBS_ID_MAX:
        raise ConfigError(
            f'{path} = {shown(value)}: must be a text of at most {VIRTUAL_OBS_ID_MAX} octets of UTF-8; "" for none'
        )
    return value


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
    """Read HOST:PORT and the other forms of sampler.address."""
    if not isinstance(value, str):
        raise ConfigError(f"{path} = {shown(value)}: must be a string HOST:PORT or TRANSPORT://HOST:PORT")
    try:
        return parse_target(value)
    except AddressError as error:
        raise ConfigError(f"{path} = {shown(value)}: {error}") from None


def listen(path: str, value: object) -> str:
    """Read where to listen: ADDRESS or ADDRESS:PORT, no name, for it might mean several; "" for nowhere."""
    example = f'must be an address and port of this host, such as "127.0.0.1:{METRICS_PORT}"; "" for none'
    if value == "":
        return ""
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?", str(value))
    if not isinstance(value, str) or match is None:
        raise ConfigError(f"{path} = {shown(value)}: {example}")
    port = int(match["port"] or METRICS_PORT)
    try:
        address = ipaddress.ip_address(match["v6"] or match["v4"])
    except ValueError:
        raise ConfigError(f"{path} = {shown(value)}: {example}") from None
    if (address.version == 6) != bool(match["v6"]) or not 1 <= port <= 65535:
        raise ConfigError(f"{path} = {shown(value)}: {example}")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def table_of(make: type, readers: Mapping[str, Reader]) -> Reader:
    """Read a table whose keys are those of `readers`, into a dataclass that has the defaults."""

    def read(path: str, value: object) -> Any:
        return make(**values(f"{path}.", table(path, value), readers))

    return read


def file_path(path: str, value: object) -> str:
    """Read the absolute path of a file."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ConfigError(f"{path} = {shown(value)}: must be the absolute path of a PEM file")
    return value


def server_name(path: str, value: object) -> str:
    """Read a host name or an address, without a port."""
    try:
        host, port = parse_address(value if isinstance(value, str) else "", 0)
    except AddressError as error:
        raise ConfigError(f"{path} = {shown(value)}: {error}") from None
    if port:
        raise ConfigError(f"{path} = {shown(value)}: must be a host name or an address without a port")
    return host


def fingerprints(path: str, value: object) -> tuple[str, ...]:
    """Read a list of SHA-256 fingerprints, as `openssl x509 -fingerprint -sha256` prints them or without colons."""
    if not isinstance(value, list):
        raise ConfigError(f"{path} = {shown(value)}: must be a list of SHA-256 fingerprints")
    found = []
    for item in value:
        digits = item.replace(":", "").lower() if isinstance(item, str) else ""
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            raise ConfigError(
                f"{path} = {shown(item)}: must be 64 hexadecimal digits: see `openssl x509 -noout -fingerprint -sha256`"
            )
        found.append(digits)
    return tuple(dict.fromkeys(found))


SAMPLER: dict[str, Reader] = {
    "interfaces": globs,
    "hook": choice("auto", "observe", "tc", "xdp", "xdp-generic"),
    "loader": choice("libbpf", "bcc"),
    "ring_pages": power_of_two(RING_PAGES_MIN, RING_PAGES_MAX),
    "sample_budget": integer(0, UINT32_MAX),
    "control_socket": socket_path,
}

METRICS: dict[str, Reader] = {
    "listen": listen,
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

TLS: dict[str, Reader] = {
    "ca_file": file_path,
    "certificate": file_path,
    "key": file_path,
    "server_name": server_name,
    "fingerprints": fingerprints,
}

FILE: dict[str, Reader] = {
    "rotate_size": integer(0, 2**40),
    "rotate_interval": integer(0, 31 * 86400),
    "keep": integer(0, 1_000_000),
}

EXPORTER: dict[str, Reader] = {
    "targets": targets,
    "targets_mode": choice(*TARGETS_MODES),
    "reconnect_interval": integer(1, 3600),
    "tls": table_of(TlsOptions, TLS),
    "file": table_of(FileOptions, FILE),
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
    "message_size": integer(SMALLEST_MESSAGE, LARGEST_MESSAGE),
    "profile": choice(*PROFILES),
    "counts": choice(*COUNTS),
    "virtual_obs_id": virtual_obs_id,
    "options_data": boolean,
    "announce_selector": boolean,
}
