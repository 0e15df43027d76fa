"""The configuration: TOML and command-line overrides in, one checked frozen Config out.

What the values of single keys may be is in sampler.configkeys; who acts on them is the
service (SamplerOptions) and exporter.exporter (ExporterOptions).
"""

import difflib
import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exporter import transports
from exporter.errors import ExporterError
from exporter.options import ExporterOptions
from sampler import configkeys
from sampler.errors import ConfigError
from sampler.tunnels.ports import TunnelPorts

log = logging.getLogger(__name__)

DEFAULT_PATH = Path("/etc/xdpfix/xdpfix.toml")
DEFAULT_CONTROL_SOCKET = Path("/run/xdpfix/control.sock")
# Seconds after which `xdpfix run` without a configuration shows a flow: somebody is watching.
WATCH_ACTIVE_TIMEOUT = 5
WATCH_IDLE_TIMEOUT = 2
# Samples a CPU and second. Far above what flow export needs, below what would occupy a core (some 100 ns a sample).
DEFAULT_SAMPLE_BUDGET = 2_000_000

Document = Mapping[str, Any]


@dataclass(frozen=True)
class SamplerOptions:
    """What to sample and how.

    Attributes:
        interfaces: globs of interface names; empty means every physical interface.
        hook: "auto" (tc both ways), "tc", "xdp" (native XDP ingress, tc egress) or "xdp-generic".
        loader: "libbpf" or "bcc".
        ring_pages: pages of each CPU's perf ring, a power of two.
        sample_budget: samples a CPU and second; 0 means no limit.
        control_socket: path of the unix socket that `xdpfix show` talks to.
        obs_point_ids: pairs (interface name, observationPointId) that override the exporter's.
        tunnel_ports: ports that the parser takes for tunnels, besides those of tunnel netdevs.

    """

    interfaces: tuple[str, ...] = ()
    hook: str = "auto"
    loader: str = "libbpf"
    ring_pages: int = 256
    sample_budget: int = DEFAULT_SAMPLE_BUDGET
    control_socket: Path = DEFAULT_CONTROL_SOCKET
    obs_point_ids: tuple[tuple[str, int], ...] = ()
    tunnel_ports: TunnelPorts = field(default_factory=TunnelPorts)


@dataclass(frozen=True)
class Config:
    """One whole configuration, checked: what the service runs and what a reload compares."""

    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    exporter: ExporterOptions = field(default_factory=ExporterOptions)


@dataclass(frozen=True)
class Overrides:
    """Command-line options; None where the option was not given. They win over the file, and pass the same checks."""

    interfaces: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    sampling: str | None = None
    control_socket: Path | None = None


def load(path: Path | None, overrides: Overrides | None = None) -> Config:
    """Read the file, put the overrides over it and check both. None: the defaults instead of a file. ConfigError."""
    document = {} if path is None else _read(path)
    config = parse(document, overrides, str(path) if path is not None else "")
    _check_targets(config.exporter, "exporter")
    return config


def watching(overrides: Overrides) -> Config:
    """For `run` without a configuration and collector: every packet unless told otherwise, and short timeouts."""
    config = parse({}, overrides)
    exporter = replace(
        config.exporter,
        sampling=config.exporter.sampling if overrides.sampling is not None else 1,
        cache_active_timeout=WATCH_ACTIVE_TIMEOUT,
        cache_idle_timeout=WATCH_IDLE_TIMEOUT,
    )
    return replace(config, exporter=exporter)


def parse(document: Document, overrides: Overrides | None = None, source: str = "") -> Config:
    """Check a TOML document; `source` names it in errors. ConfigError."""
    prefix = f"{source}: " if source else ""
    try:
        if "flow_exporter" in document:
            raise ConfigError(
                "flow_exporter: exporters for single flow rules are not there yet; remove the table, the main exporter "
                "([exporter]) sees every flow"
            )
        _known("", document, ("sampler", "exporter"))
        sampler = dict(_table("sampler", document.get("sampler", {})))
        interfaces = _table("sampler.interface", sampler.pop("interface", {}))
        ports = _table("sampler.tunnel_ports", sampler.pop("tunnel_ports", {}))
        sampler_values = _values("sampler", sampler, configkeys.SAMPLER)
        exporter_values = _values("exporter", _table("exporter", document.get("exporter", {})), configkeys.EXPORTER)
        obs_point_ids = _interface_tables(interfaces)
        tunnel_ports = _tunnel_ports(ports)
    except ConfigError as error:
        raise ConfigError(prefix + str(error)) from None
    if overrides is not None:
        _override(overrides, sampler_values, exporter_values)
    return Config(
        SamplerOptions(**sampler_values, obs_point_ids=obs_point_ids, tunnel_ports=tunnel_ports),
        ExporterOptions(**exporter_values),
    )


def _check_targets(exporter: ExporterOptions, path: str) -> None:
    try:
        for sentence in transports.check(exporter, path):
            log.warning("%s", sentence)
    except ExporterError as error:
        raise ConfigError(str(error)) from None


def _read(path: Path) -> Document:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: no valid TOML: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; TOML files are UTF-8") from None
    except (ValueError, RecursionError) as error:  # of a number of thousands of digits, of as many nested arrays
        raise ConfigError(f"{path}: no configuration: {error}; start from /etc/xdpfix/xdpfix.toml") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; name another file with --config") from None


def _override(overrides: Overrides, sampler: dict[str, Any], exporter: dict[str, Any]) -> None:
    if overrides.interfaces is not None:
        sampler["interfaces"] = configkeys.SAMPLER["interfaces"]("--interface", list(overrides.interfaces))
    if overrides.control_socket is not None:
        # A shell's paths may be relative, those of a file that a service reads may not.
        absolute = str(overrides.control_socket.absolute())
        sampler["control_socket"] = configkeys.SAMPLER["control_socket"]("--socket", absolute)
    if overrides.targets is not None:
        exporter["targets"] = configkeys.EXPORTER["targets"]("--target", list(overrides.targets))
    if overrides.sampling is not None:
        # What is no number goes on as it is, so that the key's own check words the error.
        number = configkeys.decimal(overrides.sampling)
        value = overrides.sampling if number is None else number
        exporter["sampling"] = configkeys.EXPORTER["sampling"]("--sampling", value)


def _table(path: str, value: object) -> Document:
    if not isinstance(value, dict):
        raise ConfigError(f"{path} = {configkeys.shown(value)}: must be a table: write [{path}] on a line of its own")
    return value


def _known(path: str, table: Document, keys: Sequence[str]) -> None:
    for key in table:
        if key not in keys:
            where = f"{path}.{key}" if path else key
            close = difflib.get_close_matches(key, keys, n=1)
            way_out = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(keys))}"
            value = table[key]
            shown = "" if isinstance(value, dict | list) else f" = {configkeys.shown(value)}"
            raise ConfigError(f"{where}{shown}: unknown key; {way_out}")


def _values(path: str, table: Document, readers: Mapping[str, configkeys.Reader]) -> dict[str, Any]:
    _known(path, table, (*readers, "interface", "tunnel_ports") if path == "sampler" else tuple(readers))
    return {key: readers[key](f"{path}.{key}", value) for key, value in table.items()}


def _interface_tables(tables: Document) -> tuple[tuple[str, int], ...]:
    pairs = []
    for name, table in tables.items():
        path = f'sampler.interface."{name}"'
        values = _values(path, _table(path, table), configkeys.INTERFACE)
        if "obs_point_id" in values:
            pairs.append((name, values["obs_point_id"]))
    return tuple(pairs)


def _tunnel_ports(table: Document) -> TunnelPorts:
    path = "sampler.tunnel_ports"
    ports = TunnelPorts(**_values(path, table, configkeys.TUNNEL_PORTS))
    taken: dict[int, str] = {}
    # STT's are ports of TCP: they may be the same numbers.
    for kind in ("vxlan", "geneve", "lisp"):
        for port in getattr(ports, kind):
            if port in taken:
                lists = " and ".join(f"{path}.{name} = {list(getattr(ports, name))}" for name in (taken[port], kind))
                raise ConfigError(f"{lists}: a UDP port carries one kind of tunnel; take {port} out of one of them")
            taken[port] = kind
    return ports
