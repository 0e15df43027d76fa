"""The plan of a reload: what differs between two configurations, as steps of the service. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from exporter.options import ExporterOptions
from sampler.config import Config

# What a running service cannot change: it says so, and keeps what it has.
FIXED_OPTIONS = ("loader", "ring_pages", "control_socket")


@dataclass(frozen=True)
class Plan:
    """What to do. What each generation takes is decided by the links as well: see sampler.daemon.wanted.

    Attributes:
        config: to go by from now on: the new one, with what only a restart changes as it was.
        restart: keys that differ and change with a restart only.
        added: options of exporters that come, by name.
        changed: options of exporters that stay and have other ones.
        removed: names of exporters that go.

    """

    config: Config
    restart: tuple[str, ...]
    added: Mapping[str, ExporterOptions]
    changed: Mapping[str, ExporterOptions]
    removed: tuple[str, ...]


def plan(old: Config, new: Config) -> Plan:
    """Compare a configuration with the one that is to take its place."""
    fixed = {name: getattr(old.sampler, name) for name in FIXED_OPTIONS}
    restart = tuple(f"sampler.{name}" for name in FIXED_OPTIONS if getattr(new.sampler, name) != fixed[name])
    config = replace(new, sampler=replace(new.sampler, **fixed))
    before, after = old.exporters, config.exporters
    return Plan(
        config,
        restart,
        added={name: options for name, options in after.items() if name not in before},
        changed={name: options for name, options in after.items() if before.get(name, options) != options},
        removed=tuple(name for name in before if name not in after),
    )
