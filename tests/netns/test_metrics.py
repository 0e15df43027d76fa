"""A running xdpfix scraped as Prometheus does: valid OpenMetrics, equal to `xdpfix show stats`, never going back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from lib.daemon import PROGRAM, Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import send, tcp_frame, udp_frame
from lib.wait import wait_until
from sampler.control.client import tell
from sampler.control.ledger import LEFT_OUT

CONFIG = """
[sampler]
interfaces = ["a", "vnet*"]
[exporter]
targets = ["{target}"]
sampling = 1
[metrics]
listen = "127.0.0.1:9477"
"""
GET = """
import sys, urllib.request
accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:9477/metrics", headers=accept)) as answer:
    sys.stdout.write(answer.read().decode())
"""


class Scrape:
    """The samples of one scrape."""

    def __init__(self, namespace: Namespace) -> None:
        text = namespace.run(sys.executable, "-c", GET).stdout
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): int(sample.value)
            for family in self.families.values()
            for sample in family.samples
        }

    def __getitem__(self, wanted: tuple[str, dict[str, str]]) -> int:
        return self.samples["xdpfix_" + wanted[0], frozenset(wanted[1].items())]

    @property
    def counters(self) -> dict[Any, int]:
        names = {name + "_total" for name, family in self.families.items() if family.type == "counter"}
        return {key: value for key, value in self.samples.items() if key[0] in names}


def assert_equal(scrape: Scrape, stats: dict[str, Any], ifindex: int) -> None:
    """All that the ledger counts is in the scrape."""
    for direction in ("ingress", "egress"):
        labels = {"interface": "a", "direction": direction}
        before = stats["packets_observed"][f"{ifindex} {direction}"]
        assert scrape["packets_observed_total", labels] >= before
    observed = sum(value for (name, _), value in scrape.samples.items() if name == "xdpfix_packets_observed_total")
    gone = scrape["packets_observed_gone_total", {}]
    assert observed + gone == sum(stats["packets_observed"].values()) + stats["packets_observed_before"]
    for noun in ("samples", "packets"):
        counts = dict(stats[noun])
        assert scrape[f"selected_{noun}_total", {}] == counts.pop("selected")
        for name in ("appended", *LEFT_OUT):
            assert scrape[f"kernel_{noun}_total", {"outcome": name}] == counts.pop(name)
        counts.pop("lost_ring")
        for name, count in counts.items():
            family = "without_tunnel" if name.startswith("tunnel_") else "parsed_in_part"
            assert scrape[f"{family}_{noun}_total", {"cause": name.removeprefix("tunnel_")}] == count
    ring = stats["ring"]
    assert scrape["samples_total", {"outcome": "received"}] == ring["received"]
    assert scrape["samples_total", {"outcome": "lost_ring"}] == ring["lost"]
    assert scrape["ring_pending_samples", {}] == ring["pending"]
    main = stats["exporters"]["main"]
    assert scrape["exporter_received_samples_total", {"exporter": "main"}] == main["received"]
    assert scrape["exporter_cached_samples", {"exporter": "main"}] == main["cached"] + main["pending"]
    assert scrape["exporter_represented_packets_total", {"exporter": "main"}] == main["represented"]
    outcomes = {name: n for name, n in main.items() if name.startswith(("excluded_", "lost_")) or name == "exported"}
    for name, count in outcomes.items():
        assert scrape["exporter_samples_total", {"exporter": "main", "outcome": name}] == count
    assert main["received"] == sum(outcomes.values()) + main["cached"] + main["pending"]


def test_scrapes(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    left.up("lo")
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:

            def show(received: int) -> dict[str, Any]:
                wait_until(lambda: daemon.show("stats")["ring"]["received"] == received)
                done = subprocess.run(
                    [str(PROGRAM), "show", "stats", "--json", "--socket", str(daemon.socket)],
                    capture_output=True,
                    check=True,
                )
                stats: dict[str, Any] = json.loads(done.stdout)
                return stats

            ifindex = left.ifindex("a")
            send(right, "b", [udp_frame(sport=port) for port in range(1000, 1040)])
            send(left, "a", [tcp_frame()] * 7)
            stats = show(47)
            first = Scrape(left)
            assert_equal(first, stats, ifindex)
            tell(daemon.socket, {"flush": True})
            labels = {"exporter": "main", "target": sink.target}
            flushed = Scrape(left)
            assert flushed["target_records_total", labels | {"outcome": "sent"}] >= 41
            assert flushed["target_connected", labels] == 1
            assert flushed["exporter_ended_flows_total", {"exporter": "main", "outcome": "forced"}] == 41
            # Another exporter, then another hook, whose gates start at 0 again.
            daemon.configure(config.replace("sampling = 1", "sampling = 1\nobs_domain_id = 5"))
            tell(daemon.socket, {"reload": True})
            send(right, "b", [udp_frame()] * 3)
            stats = show(50)
            second = Scrape(left)
            assert_equal(second, stats, ifindex)
            daemon.configure(config.replace("[sampler]", '[sampler]\nhook = "xdp"'))
            tell(daemon.socket, {"reload": True})
            send(right, "b", [udp_frame()] * 4)
            stats = show(54)
            third = Scrape(left)
            rule = {"exporter": "main", "match": "", "probability": "1/1", "direction": "both", "interfaces": "a,vnet*"}
            # Without the three that were of the other domain.
            assert third["rule_samples_total", rule | {"obs_domain_id": "0", "obs_point_id": "0"}] == 51
            assert_equal(third, stats, ifindex)
            assert third["packets_observed_total", {"interface": "a", "direction": "ingress"}] == 47
            for before, after in ((first, flushed), (flushed, second), (second, third)):
                # A rule with another domain is another series.
                counters = {key: n for key, n in before.counters.items() if not key[0].startswith("xdpfix_rule_")}
                back = {key: value for key, value in counters.items() if after.samples[key] < value}
                assert back == {}
            assert "Traceback" not in daemon.text()


def test_an_interface_that_goes_leaves_its_packets(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    left.up("lo")
    with Sink(left) as sink, Daemon(left, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:
        send(right, "b", [udp_frame()] * 5)
        wait_until(lambda: daemon.show("stats")["ring"]["received"] == 5)
        left.run("ip", "link", "delete", "dev", "a")
        wait_until(lambda: daemon.show("interfaces") == [])
        scrape = Scrape(left)
        assert scrape["packets_observed_gone_total", {}] == 5
        assert not [key for key in scrape.samples if key[0] == "xdpfix_packets_observed_total"]


def test_start_and_reload_say_why_they_cannot_listen(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, _ = wire  # whose loopback is down: nothing has the address 127.0.0.1
    config = CONFIG.format(target="192.0.2.1:4739").replace("127.0.0.1:9477", "192.0.2.77:9477")
    sentence = 'metrics.listen = "192.0.2.77:9477": cannot listen there: Cannot assign requested address'
    path = tmp_path / "wrong.toml"
    path.write_text(config)
    command = (str(PROGRAM), "run", "--config", str(path), "--socket", str(tmp_path / "other.sock"))
    done = left.run(*command, check=False)
    assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    without = config.partition("[metrics]")[0]
    with Daemon(left, tmp_path, without).wait_ready() as daemon:
        daemon.configure(config.replace("sampling = 1", "sampling = 2"))
        done = left.run(str(PROGRAM), "reload", "--socket", str(daemon.socket), check=False)
        assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr
        assert tell(daemon.socket, {"set": {"sampling": 1}}) == {"changes": []}  # nothing changed
