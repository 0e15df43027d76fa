"""The tables [[psample]] of the configuration, checked into sources."""

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.options import RAW, UINT32_MAX, ExporterOptions
from sampler import readers
from sampler.errors import ConfigError
from sampler.readers import Reader
from sampler.rules.rule import FlowExporter
from sampler.tables import tables, values

DIRECTIONS = ("auto", "ingress")  # by enum psample_direction
# Octets of samples that wait for the reader, as the kernel counts them: of some 14 000 packets of 1500 octets.
RECEIVE_BUFFER = 16 << 20


@dataclass(frozen=True)
class PsampleSource:
    """One group of the kernel's psample, and whom its samples are for.

    Attributes:
        group: its number.
        exporter: name of the exporter.
        obs_domain_id: of samples without a cookie.
        obs_point_id: of samples without a cookie.
        direction: where a packet was sampled whose sample names two interfaces: "auto", where it leaves, as tc means
            it; "ingress", where it comes in, as switches do.
        receive_buffer: octets of samples that may wait.

    """

    group: int
    exporter: str
    obs_domain_id: int = 0
    obs_point_id: int = 0
    direction: str = "auto"
    receive_buffer: int = RECEIVE_BUFFER


_number = readers.integer(0, UINT32_MAX)


def _exporter(path: str, value: object) -> int:
    if value == "main":  # as it is shown
        raise ConfigError(f'{path} = "main": leave it out: the main exporter is meant without it')
    number: int = _number(path, value)
    return number


SOURCE: Mapping[str, Reader] = {
    "group": _number,
    "exporter": _exporter,
    "obs_domain_id": _number,
    "obs_point_id": _number,
    "direction": readers.choice(*DIRECTIONS),
    "receive_buffer": readers.integer(1 << 12, 1 << 30),
}


def psample_sources(
    value: object, main: tuple[str, ExporterOptions] | None, others: tuple[FlowExporter, ...]
) -> tuple[PsampleSource, ...]:
    """Read the array of tables. ConfigError names the source by its group.

    Args:
        value: what the document has.
        main: name and options of the main exporter; None: it does not run.
        others: the flow exporters.

    """
    found: dict[int, PsampleSource] = {}
    numbers = {exporter.collector_set_id: (exporter.name, exporter.options) for exporter in others}
    for place, document in enumerate(tables("psample", value), 1):
        if "group" not in document:
            raise ConfigError(f"psample {place}: group is missing: a number from 0 to {UINT32_MAX}")
        group: int = SOURCE["group"](f"psample {place}: group", document["group"])
        path = f"psample {group}: "
        if group in found:
            raise ConfigError(f"{path}another table has this group; name it once, with one exporter")
        read = values(path, document, SOURCE)
        chosen = numbers.get(read["exporter"]) if "exporter" in read else main
        if chosen is None and "exporter" in read:
            known = ", ".join(map(str, sorted(numbers))) or "none"
            raise ConfigError(
                f"{path}exporter = {read['exporter']}: no flow exporter has this collector_set_id; there are: {known}"
            )
        if chosen is None:
            raise ConfigError(
                f"{path}exporter is missing, and the main exporter does not run: name the collector_set_id of a flow "
                "exporter, or give [exporter] targets"
            )
        name, options = chosen
        if options.counts == RAW:
            raise ConfigError(
                f'{path}{name} has counts = "raw", and each sample brings a rate of its own: let it have '
                'counts = "scaled", or name another exporter'
            )
        defaults = {"obs_domain_id": options.obs_domain_id, "obs_point_id": options.obs_point_id}
        found[group] = PsampleSource(**(defaults | read | {"exporter": name}))
    return tuple(found.values())
