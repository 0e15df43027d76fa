"""The same packets sampled by the same rules: the flows that Open vSwitch and xdpfix tell collectors of, by match.

Each rule has an observation domain of its own; the collector sets that they are spread over have a collector each.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.decoder import Decoder, Record
from lib.daemon import Daemon
from lib.flowdiff import collect
from lib.flowrules import configuration, flow_exporter, rule
from lib.netns import Namespace, veth
from lib.ovs import BRIDGE, OpenVSwitch, OvsRule
from lib.ovs_rules import Flows
from lib.sink import Sink
from lib.traffic import send
from lib.wait import wait_until


class EveryDomain(Decoder):
    """Takes a template for one of all domains; does not follow sequence numbers.

    Open vSwitch 3.1 sends the templates of an exporter with several for the first only (mended by OVS commit 2b1c70656,
    3.2).
    """

    def decode(self, octets: bytes, source: Hashable) -> list[Record]:
        """Decode one message as if it were of domain 0; the records say the domain that it had."""
        domain = int.from_bytes(octets[12:16], "big")
        return [replace(found, domain=domain) for found in super().decode(octets[:12] + bytes(4) + octets[16:], source)]


@contextmanager
def collectors(namespace: Namespace, rules: Iterable[OvsRule]) -> Iterator[dict[int, Sink]]:
    """Run a collector for each collector set."""
    with ExitStack() as stack:
        yield {number: stack.enter_context(Sink(namespace)) for number in sorted({r.collector_set_id for r in rules})}


def oracle_flows(
    switch: OpenVSwitch,
    ends: tuple[Namespace, Namespace],
    rules: Sequence[OvsRule],
    frames: Sequence[bytes],
    bridge: str = BRIDGE,
) -> dict[str, Flows]:
    """Give Open vSwitch's flows; the frames are sent out of "b" at the second end."""
    left, right = ends
    with collectors(left, rules) as sinks:
        for sink in sinks.values():
            sink.decoder = EveryDomain()
        switch.sample_rules(rules, {number: sink.target for number, sink in sinks.items()}, bridge)
        switch.replay(right, "b", frames)
        due = switch.flows_of_rules(bridge)
        switch.flush_rules()
        _await_records(sinks.values(), due)
        return _by_match(sinks, rules)


@dataclass(frozen=True)
class Sampler:
    """How xdpfix is to run: [sampler], the profile, whether it looks into tunnels, and the links' MTU."""

    settings: Mapping[str, str]
    profile: str
    tunnels: bool
    mtu: int


def our_flows(folder: Path, sampler: Sampler, rules: Sequence[OvsRule], frames: Sequence[bytes]) -> dict[str, Flows]:
    """Give xdpfix's flows of what comes in. One of the rules must take every frame; the ledger must be whole."""
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=sampler.mtu)
        with Sink(left) as main, collectors(left, rules) as sinks:
            config = _config(sampler, rules, main, sinks)
            with Daemon(left, folder, config).wait_ready() as daemon:
                sent = send(right, "b", frames)
                wait_until(lambda: daemon.show("stats")["ring"]["received"] == sent, 30, f"{sent} samples")
                assert daemon.show("stats")["errors"] == []
                exporters = daemon.show("exporters")
                due = sum(exporters[f"collector-set-{number}"]["flows_created"] for number in sinks)
            _await_records(sinks.values(), due)
            for sink in sinks.values():
                assert (sink.decoder.stats.unknown_sets, sink.decoder.stats.sequence_gaps) == (0, 0)
            return _by_match(sinks, rules)


def _config(sampler: Sampler, rules: Sequence[OvsRule], main: Sink, sinks: Mapping[int, Sink]) -> str:
    """Give a flow exporter for each collector set; the main one is there to say whether tunnels are looked into."""
    keys: dict[str, Any] = {"profile": sampler.profile, "cache_active_timeout": 4200, "cache_idle_timeout": 4200}
    exporters = []
    for number, sink in sinks.items():
        own = [
            rule(
                item.match,
                item.probability,
                obs_domain_id=item.obs_domain_id,
                obs_point_id=item.obs_point_id,
                direction="ingress",
            )
            for item in rules
            if item.collector_set_id == number
        ]
        exporters.append(flow_exporter(number, sink.target, own, **keys))
    tunnels = {"targets": [main.target], "sampling": 1000, "enable_tunnel_sampling": sampler.tunnels}
    return configuration(*exporters, main=tunnels, ring_pages=1024, **sampler.settings)


def _await_records(sinks: Collection[Sink], due: int) -> None:
    """Wait for as many records as there were flows, and no more."""

    def arrived() -> int:
        return sum(len(sink.records) for sink in sinks)

    wait_until(lambda: arrived() >= due, 30, f"{due} flows")
    assert arrived() == due


def _by_match(sinks: Mapping[int, Sink], rules: Iterable[OvsRule]) -> dict[str, Flows]:
    """Give the flows of each rule. Collector set, domain and point must be the rule's."""
    records: dict[tuple[int, int], list[Record]] = {}
    for number, sink in sinks.items():
        for record in sink.records:
            records.setdefault((number, record.domain), []).append(record)
    flows = {}
    for item in rules:
        own = records.pop((item.collector_set_id, item.obs_domain_id), [])
        assert {record.get("observationPointId") for record in own} <= {item.obs_point_id}, item
        flows[item.match] = collect(own)
    assert not records, f"collector sets and domains of no rule: {sorted(records)}"
    return flows
