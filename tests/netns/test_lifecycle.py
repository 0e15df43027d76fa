"""Start, stop, kill and reload, over and over: nothing of ours is left in the kernel, no descriptor leaks."""

import signal
from pathlib import Path

import pytest

from lib import kernel
from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.tc import WAYS, here
from lib.traffic import send, udp_frame
from lib.wait import PATIENCE, wait_until

CONFIG = """
[sampler]
interfaces = ["a", "vnet*"]
[exporter]
targets = ["{target}"]
sampling = 1
"""
CYCLES = 50 if PATIENCE == 1 else 4  # where a start takes many seconds


@pytest.mark.parametrize("tcx", WAYS)
def test_stop_and_kill(wire: tuple[Namespace, Namespace], tmp_path: Path, tcx: bool) -> None:
    """A hundred starts, over both kinds of attachment; every other one is killed."""
    left, right = wire
    environment = {} if tcx else {"XDPFIX_NO_TCX": "1"}
    objects: set[tuple[str, int]] = set()
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        for cycle in range(CYCLES):
            daemon = Daemon(left, tmp_path, config, environment=environment).wait_ready()
            send(right, "b", [udp_frame()])
            held = kernel.held(daemon.process.pid)
            assert {kind for kind, _ in held} == ({"prog", "map", "link"} if tcx else {"prog", "map"})
            objects.update(held)
            killed = cycle % 2 == 0
            code = daemon.stop(signal.SIGKILL if killed else signal.SIGTERM)
            assert code == (-signal.SIGKILL if killed else 0), daemon.text()
            if tcx or not killed:
                wait_until(lambda: not kernel.living(objects), what="programs, maps and links gone")
                assert kernel.filters(left, "a") == ""
        # The last cycle was stopped: it has cleaned up what the killed ones left too.
        wait_until(lambda: not kernel.living(objects), what="programs, maps and links gone")
        assert "Traceback" not in daemon.text()


def test_reload_of_interfaces(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """A hundred interfaces come and go, and the configuration is reloaded each time: no descriptor is left."""
    left, right = wire
    with Sink(left) as sink:
        with Daemon(left, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:

            def names() -> set[str]:
                return {row["name"] for row in daemon.show("interfaces") if row["state"] == "sampled"}

            def descriptors() -> int:
                return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))

            before: int | None = None
            for cycle in range(100):
                veth(left, f"vnet{cycle}", None, right, f"p{cycle}", None)
                daemon.process.send_signal(signal.SIGHUP)
                if cycle % 10 == 0:
                    wait_until(lambda: f"vnet{cycle}" in names())  # noqa: B023 - called at once
                left.run("ip", "link", "delete", f"vnet{cycle}")
                if cycle == 10:
                    wait_until(lambda: names() == {"a"})
                    before = descriptors()
            wait_until(lambda: names() == {"a"})
            wait_until(lambda: descriptors() <= (before or 0), what="descriptors closed")
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) >= 8)
        wait_until(lambda: sink.total() == 8)


def test_wrong_configuration_changes_nothing(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            daemon.configure(config.replace("sampling = 1", "sampling = 0"))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_log("exporter.sampling = 0")
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 8)
        wait_until(lambda: sink.total() == 8)


def test_changed_exporter_is_flushed_and_replaced(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """SIGHUP with another rate and domain: what was counted goes out at its old weight, templates first again."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 8)
            daemon.configure(config.replace("sampling = 1", "sampling = 1\nobs_domain_id = 9"))
            daemon.process.send_signal(signal.SIGHUP)
            wait_until(lambda: sink.total() == 8)
            assert {record.domain for record in sink.records} == {0}
            send(right, "b", [udp_frame()] * 5)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 13)
            stats = daemon.show("stats")
            assert stats["errors"] == []
            assert stats["exporters"]["main"]["received"] == stats["exporters"]["main"]["represented"] == 13
        wait_until(lambda: sink.total() == 13)
        assert {record.domain for record in sink.records} == {0, 9}
        assert sink.decoder.stats.unknown_sets == 0


def test_changed_rate_detaches_nothing(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """SIGHUP with another rate: a gap of billions is forgotten at the next packet, by the programs that were there."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        rare = config.replace("sampling = 1", "sampling = 4294967295")
        with Daemon(left, tmp_path, rare).wait_ready() as daemon:
            objects = kernel.held(daemon.process.pid)
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] == 8)
            assert daemon.show("stats")["samples"]["selected"] == 0
            daemon.configure(config)
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_log("configuration reloaded")
            send(right, "b", [udp_frame()] * 5)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 5)
            assert daemon.show("interfaces")[0]["packets_in"] == 13
            assert kernel.held(daemon.process.pid) == objects
        wait_until(lambda: sink.total() == 5)


def test_changed_hook_goes_on_counting(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """SIGHUP with another hook and nothing else: the exporter stays, and knows the new generation's weight."""
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 8)
            daemon.configure(config.replace("[sampler]", '[sampler]\nhook = "xdp"'))
            daemon.process.send_signal(signal.SIGHUP)
            places = here(["ingress xdp", "egress tcx"])
            wait_until(lambda: [row["hooks"] for row in daemon.show("interfaces")] == [places])
            send(right, "b", [udp_frame()] * 5)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 13)
            stats = daemon.show("stats")
            assert stats["exporters"]["main"]["lost_generation"] == 0
            assert stats["errors"] == []
        wait_until(lambda: sink.total() == 13)


def test_changed_budget_takes_effect(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            daemon.configure(config.replace("[sampler]", "[sampler]\nsample_budget = 5"))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_log("configuration reloaded")
            send(right, "b", [udp_frame()] * 2000)
            wait_until(lambda: daemon.show("stats")["samples"]["lost_budget"] > 0)
            assert "restart" not in daemon.text()


def test_a_reload_that_leaves_no_interface_is_told(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, _ = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            daemon.configure(config.replace('"a", "vnet*"', '"b[1]", "vnet*"'))
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_log("no interface is sampled yet: none of lo, a matches b[1], vnet*")
