"""What `xdpfix check` says of a right configuration: what it would sample here, and what to mind."""

import asyncio
import ipaddress
from dataclasses import replace

from exporter.options import ExporterOptions
from sampler.config import Config
from sampler.daemon.links import dump
from sampler.daemon.linktable import Link, matches, overlaps, unmatched
from sampler.daemon.places import INGRESS, OBSERVING, Places, masters
from sampler.daemon.wanted import wanted
from sampler.kernel import capabilities
from sampler.kernel.tracerrefusal import lockdown, of_place, of_program
from sampler.kernel.xdpprograms import program_name, shown
from sampler.rules import advice


def lines(config: Config) -> list[str]:
    """Give the configuration in sentences: interfaces of this host, rate, collectors, flow rules."""
    sampler, exporter = config.sampler, config.exporter
    links = _links()
    names = [link.name for link in links if matches(link, sampler.interfaces)]
    globs = ", ".join(sampler.interfaces) or "physical"
    found = [f"interfaces ({globs}): {', '.join(names) or 'none here now'}"]
    if config.has_main:
        directions = [
            word
            for word, enabled in (("in", exporter.enable_input_sampling), ("out", exporter.enable_output_sampling))
            if enabled
        ]
        found += [
            f"sampling: one packet in {exporter.sampling}, {' and '.join(directions) or 'in no direction'}, "
            f"hook {sampler.hook}, loader {sampler.loader}",
            f"collectors: {', '.join(map(str, exporter.targets)) or 'none, `run` shows the flows itself'}",
        ]
    else:
        found.append(f"sampling: flow rules only, hook {sampler.hook}, loader {sampler.loader}")
    if sampler.hook in OBSERVING:
        found += [
            f"{link.name}: ingress is observed at {program}, by root or with the drop-in observe.conf, else at tc"
            for link, program, refused in _foreign(config, links)
            if refused is None
        ]
    if config.metrics.listen:
        found.append(f"metrics: http://{config.metrics.listen}/metrics")
    return found + advice.lines(config, links) + _psample_lines(config)


def _psample_lines(config: Config) -> list[str]:
    return [
        f"psample group {source.group}: its samples for {source.exporter}; observation domain and point of the cookie, "
        f"{source.obs_domain_id} and {source.obs_point_id} without one"
        for source in config.psample
    ]


def warnings(config: Config) -> list[str]:
    """Give what is allowed but surprises: sentences."""
    sampler = config.sampler
    links = _links()
    found = [f'no interface matches "{glob}" now' for glob in unmatched(links, sampler.interfaces)]
    sampled = [link.ifindex for link in links if any(matches(link, globs) for globs in config.sampled_globs)]
    found += overlaps(links, sampled)
    names = {link.name for link in links if link.ifindex in sampled}
    found += [
        f'sampler.interface."{name}": not among the sampled interfaces now'
        for name, _ in sampler.obs_point_ids
        if name not in names
    ]
    found += [
        f"{link.name}: {_beside(sampler.hook, program, refused)}"
        for link, program, refused in _foreign(config, links)
        if sampler.hook not in OBSERVING or refused is not None
    ]
    if config.has_main:
        found += _main_warnings(config.exporter)
    elif replace(config.exporter, enable_tunnel_sampling=True) != ExporterOptions():
        found.append(
            "exporter: has no targets, so beside flow exporters the main exporter does not run; of this table only "
            "enable_tunnel_sampling counts"
        )
    listen = config.metrics.listen
    if listen and not ipaddress.ip_address(listen.rpartition(":")[0].strip("[]")).is_loopback:
        found.append(f'metrics.listen = "{listen}": whoever reaches that address reads the figures, without a password')
    return found + advice.warnings(config, links)


def _foreign(config: Config, links: tuple[Link, ...]) -> list[tuple[Link, str, str | None]]:
    """Links whose ingress would be sampled and that have an XDP program, its name and id, and why not to observe it.

    Whoever asks may not be who will run: that this process may not open the program is no reason.
    """
    places = Places()
    places.masters = masters(links)
    found = []
    for link, directions in wanted(config, links)[1].items():
        program = places.of(link, INGRESS).program
        if INGRESS in directions and program is not None:
            said = f"XDP program {shown(program.id, program_name(program.id))}"
            refused = of_program(program) if capabilities.may_open_programs() else of_place(program) or lockdown()
            found.append((link, said, refused))
    return found


def _beside(hook: str, program: str, refused: str | None) -> str:
    """What is to be minded of a program that is not observed."""
    if hook not in OBSERVING and hook != "tc":
        return f'there is {program}, and no room for another: hook = "{hook}" is refused; use hook = "auto"'
    why = 'hook = "auto" observes it' if refused is None else f"it cannot be observed: {refused}"
    return f"packets that {program} drops, sends back or redirects are not seen at tc; {why}"


def _main_warnings(exporter: ExporterOptions) -> list[str]:
    found = []
    if exporter.sampling == 1:
        found.append("exporter.sampling = 1: every packet pays for parsing; a busy host wants 100 or more")
    for key in ("cache_active_timeout", "cache_max_flows"):
        if getattr(exporter, key) == 0:
            found.append(f"exporter.{key} = 0: no flow cache, every sampled packet becomes a record of its own")
    if not exporter.enable_input_sampling and not exporter.enable_output_sampling:
        found.append("exporter.enable_input_sampling and enable_output_sampling are both false: nothing is sampled")
    return found


def _links() -> tuple[Link, ...]:
    return asyncio.run(dump())
