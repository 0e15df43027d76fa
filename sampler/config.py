"""The configuration: TOML and command-line overrides in, one checked frozen Config out.

What the values of single keys may be is in sampler.configkeys; who acts on them is the
service (SamplerOptions) and exporter.exporter (ExporterOptions).
"""

import logging
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from exporter import transports
from exporter.errors import ExporterError
from exporter.options import ExporterOptions
from sampler import configkeys, readers
from sampler.errors import ConfigError
from sampler.psample.options import PsampleSource, psample_sources
from sampler.rules.rule import FlowExporter, FlowRule
from sampler.rules.tables import flow_exporters
from sampler.tables import Document, known, table, values
from sampler.tunnels.ports import TunnelPorts

log = logging.getLogger(__name__)

MAIN = "main"  # the name of the main exporter
DEFAULT_PATH = Path("/etc/xdpfix/xdpfix.toml")
DEFAULT_METRICS = f"127.0.0.1:{configkeys.METRICS_PORT}"  # where there is a table for them
DEFAULT_CONTROL_SOCKET = Path("/run/xdpfix/control.sock")
# Seconds after which `xdpfix run` without a configuration shows a flow: somebody is watching.
WATCH_ACTIVE_TIMEOUT = 5
WATCH_IDLE_TIMEOUT = 2
# Samples a CPU and second. Far above what flow export needs, below what would occupy a core (some 100 ns a sample).
DEFAULT_SAMPLE_BUDGET = 2_000_000
# Of `xdpfix read`, which keeps no one waiting for memory: 220 MB where there are so many flows at once, 350 in tunnels.
READ_MAX_FLOWS = 1 << 20
NO_DEFAULTS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class SamplerOptions:
    """What to sample and how.

    Attributes:
        interfaces: globs of interface names; empty means every physical interface.
        hook: "tc"; "auto" and "observe" (tc, but ingress at a foreign XDP program where there is one); "xdp"
            (native XDP at ingress, tc at egress) or "xdp-generic".
        loader: "libbpf" or "bcc".
        ring_pages: pages of each CPU's perf ring, a power of two, 4 or more.
        sample_budget: samples a CPU and second; 0 means no limit.
        control_socket: path of the unix socket that `xdpfix show` talks to.
        obs_point_ids: pairs (interface name, observationPointId) that override the exporter's.
        tunnel_ports: ports that the parser takes for tunnels, besides those of tunnel netdevs.

    """

    interfaces: tuple[str, ...] = ()
    hook: str = "auto"
    loader: str = "libbpf"
    ring_pages: int = 512
    sample_budget: int = DEFAULT_SAMPLE_BUDGET
    control_socket: Path = DEFAULT_CONTROL_SOCKET
    obs_point_ids: tuple[tuple[str, int], ...] = ()
    tunnel_ports: TunnelPorts = field(default_factory=TunnelPorts)


@dataclass(frozen=True)
class MetricsOptions:
    """Where the service gives its figures as metrics.

    Attributes:
        listen: ADDRESS:PORT; "": nowhere.

    """

    listen: str = ""


@dataclass(frozen=True)
class Config:
    """One whole configuration, checked: what the service runs and what a reload compares.

    Attributes:
        sampler: what to sample and how.
        exporter: the main exporter's options; enable_tunnel_sampling is for all exporters.
        flow_exporters: exporters for what single rules take.
        has_main: the main exporter runs: it has targets, or there is no other exporter.
        metrics: where the figures are given as metrics.
        psample: groups of the kernel's psample whose samples are taken, too.

    """

    sampler: SamplerOptions = field(default_factory=SamplerOptions)
    exporter: ExporterOptions = field(default_factory=ExporterOptions)
    flow_exporters: tuple[FlowExporter, ...] = ()
    has_main: bool = True
    metrics: MetricsOptions = field(default_factory=MetricsOptions)
    psample: tuple[PsampleSource, ...] = ()

    @property
    def exporters(self) -> dict[str, ExporterOptions]:
        """The options of all exporters by name."""
        main = {MAIN: self.exporter} if self.has_main else {}
        return main | {exporter.name: exporter.options for exporter in self.flow_exporters}

    @property
    def rules(self) -> tuple[FlowRule, ...]:
        """The rules of all flow exporters, in the order of their bits in meta.rules."""
        return tuple(rule for exporter in self.flow_exporters for rule in exporter.rules)

    @property
    def sampled_globs(self) -> tuple[tuple[str, ...], ...]:
        """Lists of globs: what the main exporter and each rule samples."""
        main = (self.sampler.interfaces,) if self.has_main else ()
        return main + tuple(self.globs(rule) for rule in self.rules)

    def globs(self, rule: FlowRule) -> tuple[str, ...]:
        """The interfaces that a rule samples, as globs; empty: physical ones."""
        return rule.interfaces or self.sampler.interfaces


@dataclass(frozen=True)
class Overrides:
    """Command-line options; None where the option was not given. They win over the file, and pass the same checks."""

    interfaces: Sequence[str] | None = None
    targets: Sequence[str] | None = None
    sampling: str | None = None
    control_socket: Path | None = None


def load(path: Path | None, overrides: Overrides | None = None, *, defaults: Mapping[str, Any] = NO_DEFAULTS) -> Config:
    """Read the file, put the overrides over it and check both. None: the defaults instead of a file. ConfigError.

    `defaults` are a command's own, of options of the exporter, for what the file does not say.
    """
    document = {} if path is None else _read(path)
    config = parse(document, overrides, str(path) if path is not None else "", defaults=defaults)
    if config.has_main:
        _check_targets(config.exporter, "exporter")
    for exporter in config.flow_exporters:
        _check_targets(exporter.options, f"flow_exporter {exporter.collector_set_id}")
    _check_files(config)
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


def parse(
    document: Document,
    overrides: Overrides | None = None,
    source: str = "",
    *,
    defaults: Mapping[str, Any] = NO_DEFAULTS,
) -> Config:
    """Check a TOML document; `source` names it in errors, `defaults` as in load(). ConfigError."""
    prefix = f"{source}: " if source else ""
    try:
        known("", document, ("sampler", "exporter", "flow_exporter", "metrics", "psample"))
        sampler = table("sampler", document.get("sampler", {}))
        sampler_values = values("sampler.", sampler, configkeys.SAMPLER, ("interface", "tunnel_ports"))
        exporter_values = values("exporter.", table("exporter", document.get("exporter", {})), configkeys.EXPORTER)
        metrics = {"listen": DEFAULT_METRICS} if "metrics" in document else {}
        metrics |= values("metrics.", table("metrics", document.get("metrics", {})), configkeys.METRICS)
        obs_point_ids = _interface_tables(table("sampler.interface", sampler.get("interface", {})))
        tunnel_ports = _tunnel_ports(table("sampler.tunnel_ports", sampler.get("tunnel_ports", {})))
        others = flow_exporters(document.get("flow_exporter", []))
    except ConfigError as error:
        raise ConfigError(prefix + str(error)) from None
    has_main = bool(exporter_values.get("targets")) or not others
    if overrides is not None:
        _override(overrides, sampler_values, exporter_values)
        has_main = has_main or overrides.targets is not None or overrides.sampling is not None
    exporter = ExporterOptions(**{**defaults, **exporter_values})
    try:
        psample = psample_sources(document.get("psample", []), (MAIN, exporter) if has_main else None, others)
    except ConfigError as error:
        raise ConfigError(prefix + str(error)) from None
    return Config(
        SamplerOptions(**sampler_values, obs_point_ids=obs_point_ids, tunnel_ports=tunnel_ports),
        exporter,
        others,
        has_main,
        MetricsOptions(**metrics),
        psample,
    )


def _check_targets(exporter: ExporterOptions, path: str) -> None:
    try:
        for sentence in transports.check(exporter, path):
            log.warning("%s", sentence)
    except ExporterError as error:
        raise ConfigError(str(error)) from None


def _check_files(config: Config) -> None:
    """No file is written by two exporters."""
    writers: dict[str, str] = {}
    for name, options in config.exporters.items():
        for target in options.targets:
            if target.path and writers.setdefault(target.path, name) != name:
                raise ConfigError(
                    f"{target}: a target of {writers[target.path]} and of {name}: name another file for one"
                )


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
        number = readers.decimal(overrides.sampling)
        value = overrides.sampling if number is None else number
        exporter["sampling"] = configkeys.EXPORTER["sampling"]("--sampling", value)


def _interface_tables(interfaces: Document) -> tuple[tuple[str, int], ...]:
    pairs = []
    for name, value in interfaces.items():
        path = f'sampler.interface."{name}"'
        found = values(f"{path}.", table(path, value), configkeys.INTERFACE)
        if "obs_point_id" in found:
            pairs.append((name, found["obs_point_id"]))
    return tuple(pairs)


def _tunnel_ports(document: Document) -> TunnelPorts:
    path = "sampler.tunnel_ports"
    ports = TunnelPorts(**values(f"{path}.", document, configkeys.TUNNEL_PORTS))
    taken: dict[int, str] = {}
    # STT's are ports of TCP: they may be the same numbers.
    for kind in ("vxlan", "geneve", "lisp"):
        for port in getattr(ports, kind):
            if port in taken:
                lists = " and ".join(f"{path}.{name} = {list(getattr(ports, name))}" for name in (taken[port], kind))
                raise ConfigError(f"{lists}: a UDP port carries one kind of tunnel; take {port} out of one of them")
            taken[port] = kind
    return ports
