"""Reloads while packets pass: nothing is lost, nothing counted twice, and what did not change is not touched."""

import random
import socket
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lib.daemon import Daemon
from lib.flowrules import configuration, flow_exporter, rule
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.traffic import send, udp_frame
from lib.wait import wait_until
from sampler.control.client import tell
from sampler.errors import XdpfixError

STEPS = 14
BACKGROUND = 1  # source port of the packets that pass all the time
PORTS = (2, 3, 4, 5)  # of those that are sent between two reloads
BURST = 20


def observed(daemon: Daemon) -> int:
    """Wire packets that passed the gates, now and on interfaces of before."""
    stats = daemon.show("stats")
    return int(sum(stats["packets_observed"].values()) + stats["packets_observed_before"])


class Background:
    """Packets into an interface from a thread, for as long as the context lasts."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        self._namespace, self._name = namespace, name
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def _run(self) -> None:
        frame = udp_frame(sport=BACKGROUND)
        with self._namespace.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((self._name, 0))
            while not self._stop.is_set():
                for _ in range(8):
                    sock.send(frame)
                    self.sent += 1
                self._stop.wait(0.001)

    def __enter__(self) -> "Background":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Walk:
    """Random configurations, and what each exporter is to count by them. Exporter 1 takes every packet, always."""

    def __init__(self, seed: int, targets: dict[int, tuple[str, str]], main: str) -> None:
        self._random = random.Random(seed)
        self._targets = targets
        self._main = main
        self.expected: Counter[int] = Counter()
        self.matching: Counter[int] = Counter()

    def _options(self) -> dict[str, Any]:
        choice = self._random.choice
        options = {
            "cache_active_timeout": choice([60, 60, 1, 0]),
            "cache_idle_timeout": choice([15, 1, 0]),
            "cache_max_flows": choice([65536, 3, 0]),
            "template_interval": choice([600, 1]),
            "profile": choice(["full", "full", "ovs"]),
            "message_size": choice([1400, 512, 9000]),
        }
        return {key: value for key, value in options.items() if self._random.random() < 0.5}

    def _exporter(self, number: int, rules: list[dict[str, Any]]) -> str:
        first, second = self._targets[number]
        more = self._random.choice([[], [], [second]])
        targets = [first, *more] if self._random.random() < 0.5 else [*more, first]
        return flow_exporter(number, targets, rules, **self._options())

    def _ids(self) -> dict[str, int]:
        return {"obs_domain_id": self._random.randrange(3), "obs_point_id": self._random.randrange(3)}

    def _rule(self, number: int) -> dict[str, Any]:
        low, high = sorted(self._random.choices(PORTS, k=2))
        interfaces = self._random.choice([["a"], ["c"], ["a", "c"]])
        direction = self._random.choice(["ingress", "ingress", "both", "egress"])
        if direction != "egress":
            self.matching[number] += (high - low + 1) * len(interfaces)
        return rule(f"udp,tp_src={low}-{high}", interfaces=interfaces, direction=direction, **self._ids())

    def configuration(self, *, everything: bool = False) -> str:
        """The next one. `everything`: with all exporters."""
        self.matching.clear()
        self.matching[1] = len(PORTS)
        every = rule("udp", interfaces=["a"], direction=self._random.choice(["ingress", "both"]), **self._ids())
        exporters = [self._exporter(1, [every])]
        for number in sorted(self._targets)[1:]:
            if everything or self._random.random() < 0.6:
                exporters.append(self._exporter(number, [self._rule(number) for _ in range(self._random.randrange(3))]))
        self._random.shuffle(exporters)
        main = {"targets": [self._main], "sampling": self._random.choice([1, 1, 10]), **self._options()}
        budget = self._random.choice([2_000_000, 0])
        interfaces = self._random.choice([["a"], ["a", "c"]])
        with_main = everything or self._random.random() < 0.5
        return configuration(*exporters, main=main if with_main else None, sample_budget=budget, interfaces=interfaces)

    def sent(self, count: int) -> None:
        """So many packets of each port were sent into each interface under the configuration of now."""
        for number, matching in self.matching.items():
            self.expected[number] += matching * count


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_sequence_of_configurations_counts_every_packet_once(
    wire: tuple[Namespace, Namespace], tmp_path: Path, seed: int
) -> None:
    """Packets pass all the time; those sent between two reloads are counted by the rules of then, each once."""
    left, right = wire
    veth(left, "c", None, right, "d", None)
    burst = [udp_frame(sport=port) for port in PORTS] * BURST
    with Sink(left) as main, Sink(left) as other:
        sinks = {number: Sink(left) for number in (1, 2, 3, 4)}
        walk = Walk(seed, {number: (sink.target, other.target) for number, sink in sinks.items()}, main.target)
        with Daemon(left, tmp_path, walk.configuration()).wait_ready() as daemon:
            into_a = 0
            for step in range(STEPS):
                with Background(right, "b") as background:
                    daemon.reload(walk.configuration(everything=step == STEPS - 1))
                    # Some more, by the new one alone.
                    wait_until(lambda so_far=background.sent: background.sent > so_far + 20)
                walk.expected[1] += background.sent
                into_a += background.sent + len(burst)
                assert send(right, "b", burst) == send(right, "d", burst) == len(burst)
                walk.sent(BURST)
                wait_until(lambda: daemon.show("stats")["packets_observed"][f"{left.ifindex('a')} ingress"] == into_a)  # noqa: B023 - called at once
            # All samples are read, and every column of the ledger sums, over exporters that came and went.
            wait_until(lambda: daemon.show("stats")["ring"]["pending"] == 0)
            stats = daemon.show("stats")
            assert stats["errors"] == []
            for name, column in stats["exporters"].items():
                losses = {key: value for key, value in column.items() if key.startswith("lost_") and value}
                assert losses == {}, name
            represented = stats["exporters"]["main"]["represented"]
            assert stats["samples"]["lost_nested"] == stats["ring"]["lost"] == 0
            assert daemon.stop() == 0, daemon.text()
        for number, sink in sinks.items():
            wait_until(lambda: sink.total() >= walk.expected[number], what=f"all of exporter {number}")  # noqa: B023
            assert sink.total() == walk.expected[number]
        wait_until(lambda: main.total() == represented, 5, f"{main.total()} of {represented}")
        for sink in (main, other, *sinks.values()):
            assert sink.decoder.stats.unknown_sets == sink.decoder.stats.sequence_gaps == 0
        for sink in sinks.values():
            sink.close()


def test_one_exporter_takes_over_from_another(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Turn and turn about, while packets pass: each packet is one's or the other's."""
    left, right = wire
    with Sink(left) as one, Sink(left) as other:
        configurations = [
            configuration(flow_exporter(number, sink.target, [rule("udp", direction="ingress", obs_domain_id=number)]))
            for number, sink in enumerate((one, other))
        ]
        with Daemon(left, tmp_path, configurations[0]).wait_ready() as daemon:
            with Background(right, "b") as background:
                for step in range(1, 20):
                    wait_until(lambda so_far=background.sent: background.sent > so_far + 20)
                    assert len(daemon.reload(configurations[step % 2])) == 2
                    assert daemon.show("stats")["ring"]["lost"] == 0
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == background.sent)
            assert daemon.stop() == 0
        wait_until(lambda: one.total() + other.total() >= background.sent)
        assert one.total() + other.total() == background.sent
        assert min(one.total(), other.total()) >= 20


def test_an_equal_file_touches_nothing(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """The same sockets, no templates again, flows go on."""
    left, right = wire
    with Sink(left) as main, Sink(left) as flow:
        config = configuration(
            flow_exporter(1, [flow.target], [rule("udp", obs_point_id=1)]),
            main={"targets": [main.target], "sampling": 1},
        )
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 8)
            wait_until(lambda: main.messages and flow.messages)
            first, second = daemon.show("exporters").values()  # in the configuration's order: main comes first
            before = first["targets"][0]["messages_sent"], second["targets"][0]["messages_sent"]
            wait_until(lambda: (len(main.messages), len(flow.messages)) == before)
            assert daemon.reload("# another comment\n" + config) == []
            assert daemon.show("exporters")["main"]["targets"][0]["sessions"] == 1
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 16)
            assert (len(main.messages), len(flow.messages)) == before
            assert [row["packets"] for row in daemon.show("flows")] == [16, 16]
            assert daemon.stop() == 0
        wait_until(lambda: (main.total(), flow.total()) == (16, 16))
        assert len(main.records) == len(flow.records) == 1


def test_a_wrong_file_changes_nothing_and_says_why(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    with Sink(left) as sink:
        config = configuration(flow_exporter(1, [sink.target], [rule("udp")]))
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            wrong = flow_exporter(2, [sink.target], [rule("tp_dst=53")])
            with pytest.raises(
                XdpfixError, match=r'flow_exporter 2: rule 1: match = "tp_dst=53": .* write tcp,tp_dst=53'
            ):
                daemon.reload(config + wrong)
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 8)
            assert list(daemon.show("exporters")) == ["collector-set-1"]
            with pytest.raises(XdpfixError, match="sampling 10: there is no main exporter to set it for"):
                tell(daemon.socket, {"set": {"sampling": 10}})
        wait_until(lambda: sink.total() == 8)


def test_an_exporter_that_is_taken_out_ends_its_flows_as_forced(
    wire: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    """With all that was sampled for it; the other one's flow goes on."""
    left, right = wire
    with Sink(left) as stays, Sink(left) as goes:
        kept = flow_exporter(1, [stays.target], [rule("udp")])
        gone = flow_exporter(2, [goes.target], [rule("udp,tp_dst=53")])
        with Daemon(left, tmp_path, configuration(gone, kept)).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 30)
            assert daemon.reload(configuration(kept)) == ["collector-set-2: removed"]
            wait_until(lambda: goes.total() == 30)
            assert [record.get("flowEndReason") for record in goes.records] == [4]
            send(right, "b", [udp_frame()] * 5)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 35)
            assert daemon.show("stats")["errors"] == []
            assert stays.records == []
            assert daemon.stop() == 0
        wait_until(lambda: stays.total() == 35)
        assert len(stays.records) == 1
        assert goes.total() == 30


def test_a_rate_is_that_of_its_samples(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """From 1:1 to 1 in 1000 and back: what was counted keeps its weight."""
    left, right = wire
    with Sink(left) as sink:

        def config(sampling: int) -> str:
            return configuration(main={"targets": [sink.target], "sampling": sampling})

        with Daemon(left, tmp_path, config(1)).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 70)
            assert daemon.reload(config(1000)) == ["exporter.sampling: 1 → 1000"]
            assert daemon.reload(config(1)) == ["exporter.sampling: 1000 → 1"]
            send(right, "b", [udp_frame()] * 30)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 100)
            assert daemon.show("stats")["errors"] == []
            assert daemon.stop() == 0
        wait_until(lambda: sink.total() == 100)
        assert len(sink.records) == 1


def test_two_exporters_over_a_sampled_interface_leave_out_each_others_messages(
    wire: tuple[Namespace, Namespace], tmp_path: Path
) -> None:
    """Or the one would count the other's records for ever."""
    left, right = wire
    left.run("ip", "address", "add", "192.0.2.1/24", "dev", "a")
    right.run("ip", "address", "add", "192.0.2.2/24", "dev", "b")
    with Sink(right, "192.0.2.2") as one, Sink(right, "192.0.2.2") as other:
        options = {"cache_active_timeout": 1}
        config = configuration(
            flow_exporter(1, [one.target], [rule("udp")], **options),
            flow_exporter(2, [other.target], [rule("udp")], **options),
        )
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 10)
            wait_until(lambda: (one.total(), other.total()) == (10, 10), 10)
            for name in ("collector-set-1", "collector-set-2"):
                wait_until(lambda: daemon.show("stats")["exporters"][name]["excluded_own"] > 0, 10)  # noqa: B023
        for sink in (one, other):
            assert sink.total(destinationTransportPort=one.port) == sink.total(destinationTransportPort=other.port) == 0
