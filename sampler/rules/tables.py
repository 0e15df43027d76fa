"""The tables [[flow_exporter]] and [[flow_exporter.sample]] of the configuration, checked into FlowExporters."""

from collections.abc import Mapping

from exporter.options import RAW, UINT32_MAX, ExporterOptions
from sampler import configkeys, readers
from sampler.errors import ConfigError
from sampler.readers import Reader, shown
from sampler.rules import match
from sampler.rules.rawrates import Rate, check_raw
from sampler.rules.rule import DIRECTIONS, PROBABILITY_ALL, RULES_MAX, FlowExporter, FlowRule
from sampler.tables import Document, tables, values

# Keys of [exporter] that mean nothing for a flow exporter, and where what they say is said.
ELSEWHERE = {
    "sampling": "each of its rules has a probability: write it in [[flow_exporter.sample]]",
    "obs_domain_id": "each of its rules has its own: write it in [[flow_exporter.sample]]",
    "obs_point_id": "each of its rules has its own: write it in [[flow_exporter.sample]]",
    "enable_input_sampling": "each of its rules has a direction: write it in [[flow_exporter.sample]]",
    "enable_output_sampling": "each of its rules has a direction: write it in [[flow_exporter.sample]]",
    "enable_tunnel_sampling": "[exporter] says it for all exporters",
}


def flow_exporters(value: object) -> tuple[FlowExporter, ...]:
    """Read the array of tables. ConfigError names the exporter by its collector_set_id, a rule by its place."""
    found: dict[int, FlowExporter] = {}
    for place, document in enumerate(tables("flow_exporter", value), 1):
        exporter = _flow_exporter(place, document)
        if exporter.collector_set_id in found:
            raise ConfigError(
                f"flow_exporter {place}: collector_set_id = {exporter.collector_set_id}: another flow exporter has "
                "it; give each a number of its own, and all rules of one number to one flow exporter"
            )
        found[exporter.collector_set_id] = exporter
    count = sum(len(exporter.rules) for exporter in found.values())
    if count > RULES_MAX:
        raise ConfigError(
            f"flow_exporter: {count} rules: all flow exporters together may have {RULES_MAX}; join some, for instance "
            "by a mask or a range"
        )
    return tuple(found.values())


def _flow_exporter(place: int, document: Document) -> FlowExporter:
    if "collector_set_id" not in document:
        raise ConfigError(f"flow_exporter {place}: collector_set_id is missing: a number from 0 to {UINT32_MAX}")
    number: int = COLLECTOR_SET_ID(f"flow_exporter {place}: collector_set_id", document["collector_set_id"])
    path = f"flow_exporter {number}: "
    for key, way_out in ELSEWHERE.items():
        if key in document:
            raise ConfigError(f"{path}{key} = {shown(document[key])}: is not for a flow exporter; {way_out}")
    options = values(path, document, EXPORTER, ("collector_set_id", "sample"))
    if not options.get("targets"):
        raise ConfigError(f'{path}targets is missing: a list of collectors, such as ["192.0.2.1:4739"]')
    samples = tables("flow_exporter.sample", document.get("sample", []))
    rules = tuple(_rule(f"{path}rule {place}: ", sample) for place, sample in enumerate(samples, 1))
    if options.get("counts") == RAW:
        check_raw(
            Rate(f"{path}rule {place}: probability", rule.probability, rule.obs_domain_id)
            for place, rule in enumerate(rules, 1)
        )
    return FlowExporter(number, ExporterOptions(**options), rules)


def _rule(path: str, document: Document) -> FlowRule:
    if "probability" not in document:
        raise ConfigError(f"{path}probability is missing: a number from 1 to 65535, which takes every packet")
    return FlowRule(**values(path, document, SAMPLE))


def _match(path: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f'{path} = {shown(value)}: must be a string such as "udp,tp_dst=53", or "" for every packet')
    try:
        match.compile_match(value, lambda _: None)
    except ConfigError as error:
        raise ConfigError(f"{path} = {shown(value)}: {error}") from None
    return value


def _probability(path: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= PROBABILITY_ALL:
        hint = "; take the rule out to sample nothing" if value == 0 and not isinstance(value, bool) else ""
        raise ConfigError(
            f"{path} = {shown(value)}: must be a whole number from 1 to {PROBABILITY_ALL}: so many out of "
            f"{PROBABILITY_ALL} packets are sampled{hint}"
        )
    return value


COLLECTOR_SET_ID = readers.integer(0, UINT32_MAX)
EXPORTER: Mapping[str, Reader] = {key: read for key, read in configkeys.EXPORTER.items() if key not in ELSEWHERE}
SAMPLE: Mapping[str, Reader] = {
    "match": _match,
    "probability": _probability,
    "obs_domain_id": readers.integer(0, UINT32_MAX),
    "obs_point_id": readers.integer(0, UINT32_MAX),
    "direction": readers.choice(*DIRECTIONS),
    "interfaces": configkeys.globs,
}
