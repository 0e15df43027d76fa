"""The figures of a running service as metrics, by the rules of OpenMetrics. Pure; sampler.control.scrapes serves them.

Counters end in _total and never go back while the service runs; where several are parts of one sum, a label tells
them apart. prometheus_client is imported here, and by the service only where metrics are asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from sampler.control.ledger import LEFT_OUT, Ledger
from sampler.control.reports import Measured
from sampler.daemon.retired import WAITING, Figures

DIRECTIONS = ("ingress", "egress")
TUNNEL = "tunnel_"

# Labels and values of one series each.
Series = Iterable[tuple[Mapping[str, str], int]]


def families(measured: Measured) -> Iterator[Metric]:
    """All metrics of one scrape."""
    yield InfoMetricFamily("xdpfix", "The running xdpfix.", {"version": version("xdpfix")})
    ledger = measured.totals.ledger
    yield from _interfaces(measured)
    yield from _kernel(ledger)
    yield from _psample(ledger)
    yield from _exporters(ledger, measured.totals.exporters)
    yield from _targets(measured.totals.exporters)
    yield from _rules(measured.rules)
    yield _counter(
        "xdpfix_data_thread_ticks",
        "Ticks of the data thread: it hangs when they stand still.",
        [({}, measured.totals.ticks)],
    )


def _counter(name: str, text: str, series: Series, unit: str = "") -> Metric:
    return _filled(CounterMetricFamily, name, text, series, unit)


def _gauge(name: str, text: str, series: Series, unit: str = "") -> Metric:
    return _filled(GaugeMetricFamily, name, text, series, unit)


def _filled(kind: type, name: str, text: str, series: Series, unit: str) -> Metric:
    items = list(series)
    labels = list(items[0][0]) if items else []
    family: Any = kind(name, text, labels=labels, unit=unit)
    for values, count in items:
        family.add_metric([values[label] for label in labels], count)
    metric: Metric = family
    return metric


def _by(label: str, counts: Mapping[str, int], **more: str) -> list[tuple[dict[str, str], int]]:
    return [(more | {label: name}, count) for name, count in counts.items()]


def _interfaces(measured: Measured) -> Iterator[Metric]:
    yield _counter(
        "xdpfix_packets_observed",
        "Wire packets that passed a sampled interface, exact, sampled or not.",
        [
            ({"interface": name, "direction": DIRECTIONS[direction]}, packets)
            for (name, direction), packets in sorted(measured.observed.items())
        ],
    )
    gone = "Wire packets that had passed interfaces that are gone."
    yield _counter("xdpfix_packets_observed_gone", gone, [({}, measured.observed_gone)])
    states = {"sampled": measured.sampled, "refused": measured.refused}
    yield _gauge("xdpfix_interfaces", "Interfaces that match the configuration.", _by("state", states))
    yield _counter(
        "xdpfix_netlink_resyncs",
        "How often netlink messages were lost and everything was read anew.",
        _by("subject", measured.resyncs),
    )
    yield _gauge("xdpfix_tunnels", "What the kernel side knows of tunnel interfaces.", _by("what", measured.tunnels))


def _kernel(ledger: Ledger) -> Iterator[Metric]:
    samples, packets, ring = ledger.samples, ledger.packets, ledger.ring
    left_out = {name: samples[name] for name in LEFT_OUT}
    yield _counter(
        "xdpfix_samples",
        "What became of the samples that the gates selected; xdpfix_ring_pending_samples are the rest.",
        _by("outcome", {"received": ring["received"], "lost_ring": ring["lost"]} | left_out),
        "samples",
    )
    waiting = "Samples on the rings, not read yet."
    yield _gauge("xdpfix_ring_pending_samples", waiting, [({}, ring["pending"])], "samples")
    for noun, counts, what in (("samples", samples, "Samples"), ("packets", packets, "Wire packets of the samples")):
        outcomes = {name: counts[name] for name in ("appended", *LEFT_OUT)}
        yield _counter(f"xdpfix_selected_{noun}", f"{what} that the gates selected.", [({}, counts["selected"])], noun)
        yield _counter(
            f"xdpfix_kernel_{noun}",
            f"{what} that the gates selected, by what became of them in the kernel.",
            _by("outcome", outcomes),
            noun,
        )
        missed = {name.removeprefix(TUNNEL): count for name, count in counts.items() if name.startswith(TUNNEL)}
        yield _counter(
            f"xdpfix_without_tunnel_{noun}", f"{what} whose tunnel was not looked into.", _by("cause", missed), noun
        )
        # lost_ring is among xdpfix_samples, exactly: the kernel counts what had been read already, too.
        others = {"selected", "lost_ring", *outcomes}
        partly = {name: n for name, n in counts.items() if name not in others and not name.startswith(TUNNEL)}
        yield _counter(
            f"xdpfix_parsed_in_part_{noun}", f"{what} with headers that were not read.", _by("cause", partly), noun
        )


def _psample(ledger: Ledger) -> Iterator[Metric]:
    """Of groups that were ever configured: nothing of hosts without."""
    if not ledger.psample:
        return

    def series(choose: Callable[[str], bool], label: str) -> Series:
        for group, counts in ledger.psample.items():
            yield from _by(label, {name: n for name, n in counts.items() if choose(name)}, group=str(group))

    outcomes = ("samples", *(name for name in next(iter(ledger.psample.values())) if name.startswith("lost_")))
    yield _counter(
        "xdpfix_psample_messages",
        "Samples that a psample group sent, by what became of them: samples are those that its exporter got.",
        series(lambda name: name in outcomes, "outcome"),
    )
    notes = "Samples of a psample group of which something is to be known."
    yield _counter("xdpfix_psample_notes", notes, series(lambda name: name not in (*outcomes, "messages"), "what"))


def _exporters(ledger: Ledger, exporters: Mapping[str, Figures]) -> Iterator[Metric]:
    def counts(prefix: str, *more: str) -> Series:
        for name, figures in exporters.items():
            chosen = {key: n for key, n in figures.stats.items() if key.startswith(prefix) or key in more}
            yield from _by("outcome", {key.removeprefix(prefix): n for key, n in chosen.items()}, exporter=name)

    def one(key: str) -> Series:
        return [({"exporter": name}, figures.stats[key]) for name, figures in exporters.items()]

    results = {name: dict(column.causes) | {"exported": column.exported} for name, column in ledger.exporters.items()}
    yield _counter(
        "xdpfix_exporter_samples",
        "What became of xdpfix_exporter_sample_pairs; xdpfix_exporter_cached_samples are the rest.",
        [series for name, counted in results.items() for series in _by("outcome", counted, exporter=name)],
        "samples",
    )
    yield _gauge(
        "xdpfix_exporter_cached_samples",
        "Samples in flows that were not exported yet.",
        [({"exporter": name}, column.cached + column.pending) for name, column in ledger.exporters.items()],
        "samples",
    )
    yield _counter("xdpfix_exporter_received_samples", "Samples handed over.", one("samples_ingested"), "samples")
    yield _counter("xdpfix_exporter_selected_samples", "Samples it has use for.", one("samples_selected"), "samples")
    only = "Samples that only other exporters have use for."
    yield _counter("xdpfix_exporter_unselected_samples", only, one("samples_unselected"), "samples")
    pairs = "Selected samples, once for each rule of the exporter that took them."
    yield _counter("xdpfix_exporter_sample_pairs", pairs, one("samples_pairs"))
    yield _counter(
        "xdpfix_exporter_ip_samples",
        'Counted samples of IP, by version and by protocol: "known" are TCP, UDP, SCTP and ICMP.',
        [
            ({"exporter": name, "version": key[8:12], "protocol": key[13:]}, count)
            for name, figures in exporters.items()
            for key, count in figures.stats.items()
            if key.startswith("samples_ipv")
        ],
        "samples",
    )
    represented = "Wire packets that the counted samples stand for."
    yield _counter("xdpfix_exporter_represented_packets", represented, one("packets_represented"), "packets")
    yield _gauge("xdpfix_exporter_flows", "Flows in the cache.", one("flows"), "flows")
    yield _counter("xdpfix_exporter_created_flows", "Flows that ever started.", one("flows_created"), "flows")
    yield _counter("xdpfix_exporter_ended_flows", "Flows that ended, by cause.", counts("flows_ended_"), "flows")
    yield _counter(
        "xdpfix_exporter_records",
        "Data records, by what became of them before they were sent.",
        [
            ({"exporter": name, "outcome": outcome}, figures.stats[key])
            for name, figures in exporters.items()
            for outcome, key in (("encoded", "records"), ("lost_memory", "records_lost_memory"))
        ],
        "records",
    )
    yield _counter("xdpfix_exporter_messages", "IPFIX messages of data records.", one("messages"), "messages")


def _rules(rows: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    names = ("exporter", "match", "probability", "direction", "interfaces", "obs_domain_id", "obs_point_id")
    for key, noun, text in (
        ("samples", "samples", "Samples that a rule took."),
        ("packets", "represented_packets", "Wire packets that the samples of a rule stand for."),
    ):
        sums: dict[tuple[str, ...], int] = {}
        for row in rows:
            interfaces = ",".join(row["interfaces"]) or "physical"
            values = tuple(str((row | {"interfaces": interfaces})[name]) for name in names)
            sums[values] = sums.get(values, 0) + row[key]
        series = [(dict(zip(names, values, strict=True)), count) for values, count in sums.items()]
        yield _counter(f"xdpfix_rule_{noun}", text, series, key)


def _targets(exporters: Mapping[str, Figures]) -> Iterator[Metric]:
    rows = [(name, row) for name, figures in exporters.items() for row in figures.targets]

    def labelled(label: str, choose: Callable[[str], str]) -> Series:
        """What `choose` gives a value for; "" is none."""
        for name, row in rows:
            for key, count in sorted(row.items()):
                if key != WAITING and isinstance(count, int) and not isinstance(count, bool) and (value := choose(key)):
                    yield {"exporter": name, "target": row["target"], label: value}, count

    def outcome(noun: str) -> Callable[[str], str]:
        return lambda key: key.removeprefix(noun) if key.startswith((f"{noun}sent", f"{noun}lost")) else ""

    def event(key: str) -> str:
        return "" if outcome("records_")(key) or outcome("messages_")(key) else key

    sent = "Data records for a target, by what became of them."
    yield _counter("xdpfix_target_records", sent, labelled("outcome", outcome("records_")), "records")
    yield _counter(
        "xdpfix_target_messages",
        "IPFIX messages for a target, by what became of them.",
        labelled("outcome", outcome("messages_")),
        "messages",
    )
    yield _counter("xdpfix_target_events", "Sessions, refusals, errors and more of a target.", labelled("event", event))
    waiting = [({"exporter": name, "target": row["target"]}, row.get(WAITING, 0)) for name, row in rows]
    yield _gauge("xdpfix_target_waiting_records", "Data records that wait for a target.", waiting, "records")
    up = [
        ({"exporter": name, "target": row["target"]}, int(row["state"].startswith("connected"))) for name, row in rows
    ]
    yield _gauge("xdpfix_target_connected", "Whether there is a session with a target.", up)
