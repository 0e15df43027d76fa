"""`xdpfix reload`, `flush` and `set` on a running xdpfix: what they print, their exit codes, and what happens."""

import signal
import subprocess
from pathlib import Path

from lib.daemon import PROGRAM, Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import send, udp_frame
from lib.wait import PATIENCE, wait_until

CONFIG = """
[sampler]
interfaces = ["a"]
[exporter]
targets = ["{target}"]
sampling = 1
"""


def command(daemon: Daemon, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    done = subprocess.run(
        [str(PROGRAM), *arguments, "--socket", str(daemon.socket)],
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_reload(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    with Sink(left) as sink:
        config = CONFIG.format(target=sink.target)
        with Daemon(left, tmp_path, config).wait_ready() as daemon:
            assert command(daemon, "reload") == (0, "nothing changed\n", "")
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 8)
            daemon.configure(config + "obs_domain_id = 9\n")
            assert command(daemon, "reload") == (0, "exporter.obs_domain_id: 0 → 9\n", "")
            # In force when the command is back: what comes now has the new domain.
            send(right, "b", [udp_frame(sport=9)] * 5)
            wait_until(lambda: daemon.show("stats")["ring"]["received"] == 13)
            daemon.configure(config.replace("sampling = 1", "sampling = 0"))
            code, out, error = command(daemon, "reload")
            assert (code, out) == (2, "")
            assert error == (
                f"xdpfix: {daemon.config_file}: exporter.sampling = 0: must be a whole number from 1 to 4294967295\n"
            )
            daemon.wait_log("configuration not reloaded, the one before stays")
            assert daemon.show("stats")["errors"] == []
        wait_until(lambda: sink.total() == 13)
        assert {record.domain for record in sink.records if record.get("sourceTransportPort") == 9} == {9}


def test_flush(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    with Sink(left) as sink, Daemon(left, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:
        send(right, "b", [udp_frame(sport=port) for port in range(2000, 5000)])
        wait_until(lambda: daemon.show("stats")["exporters"]["main"]["cached"] == 3000)
        before = daemon.show("exporters")["main"]["targets"][0]["records_sent"]
        code, out, error = command(daemon, "flush")
        wait_until(lambda: len(sink.records) == 3000)
        # And options data: which fields are the flow key of their template.
        sent = daemon.show("exporters")["main"]["targets"][0]["records_sent"] - before
        assert 3000 <= sent <= 3010
        assert (code, out, error) == (0, f"main: 3000 flows ended\n  {sink.target}: {sent} records sent\n", "")
        assert {record.get("flowEndReason") for record in sink.records} == {4}
        assert command(daemon, "flush", "main")[1].startswith("main: 0 flows ended\n")
        code, out, error = command(daemon, "flush", "dns")
        assert (code, out) == (2, "")
        assert error == 'xdpfix: flush "dns": there is no exporter of that name; there are main\n'
        send(right, "b", [udp_frame()] * 2)
        wait_until(lambda: daemon.show("stats")["exporters"]["main"]["cached"] == 2)


def test_set_sampling(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """The rate holds until the next reload, which takes the file's again."""
    left, right = wire
    with Sink(left) as sink, Daemon(left, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:
        assert command(daemon, "set", "sampling", "1") == (0, "sampling is 1 already\n", "")
        send(right, "b", [udp_frame()] * 4)
        wait_until(lambda: daemon.show("stats")["ring"]["received"] == 4)
        changed = "exporter.sampling: 1 → 4000000000, until the next reload or restart\n"
        assert command(daemon, "set", "sampling", "4000000000") == (0, changed, "")
        daemon.wait_log("one packet in 4000000000 is taken from now on, until the next reload or restart")
        send(right, "b", [udp_frame()] * 50)
        # One in four thousand million: the false-alarm rate is 1e-7.
        wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 54)
        assert daemon.show("stats")["ring"]["received"] == 4
        (row,) = daemon.show("rules")
        assert (row["probability"], row["selector_id"], row["samples"]) == ("1/4000000000", 2, 0)
        assert command(daemon, "set", "sampling", "0")[0] == 2
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log("configuration reloaded")
        wait_until(lambda: "one packet in 1\n" in daemon._read_notifications().rpartition("STATUS")[2])
        send(right, "b", [udp_frame()] * 6)
        wait_until(lambda: daemon.show("stats")["ring"]["received"] == 10)
        # The main exporter is a rule that takes every packet. At its first rate again it is the first selector again.
        rule = ["main", "every", "packet", "1/1", "both", "a", "0", "0", "1", "10", "10"]
        assert [line.split() for line in daemon.show_text("rules").splitlines()][1:] == [rule]
