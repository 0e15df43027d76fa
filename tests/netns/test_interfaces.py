"""Interfaces come and go under a running xdpfix: attached within a second, let go without an error."""

import signal
from pathlib import Path

from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.traffic import send, udp_frame
from lib.wait import wait_until

CONFIG = """
[sampler]
interfaces = [{interfaces}]
[exporter]
targets = ["{target}"]
sampling = 1
"""


def sampled(daemon: Daemon) -> set[str]:
    return {row["name"] for row in daemon.show("interfaces") if row["state"] == "sampled"}


def test_appear_rename_go_move(left: Namespace, right: Namespace, tmp_path: Path) -> None:
    with Sink(left) as sink, Namespace() as elsewhere:
        with Daemon(left, tmp_path, CONFIG.format(interfaces='"vnet*"', target=sink.target)).wait_ready() as daemon:
            daemon.wait_log("no interface is sampled yet")
            veth(left, "vnet0", None, right, "b0", None)
            # By netlink, which takes milliseconds; how long a loaded machine takes to show it is not asserted.
            wait_until(lambda: sampled(daemon) == {"vnet0"}, what="a link that appears is attached")
            send(right, "b0", [udp_frame()] * 5)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) == 5)

            veth(left, "other", None, right, "b1", None)
            left.run("ip", "link", "set", "other", "down")
            left.run("ip", "link", "set", "other", "name", "vnet1")
            wait_until(lambda: sampled(daemon) == {"vnet0", "vnet1"}, what="a renamed link matches")

            left.run("ip", "link", "set", "vnet1", "name", "other")
            wait_until(lambda: sampled(daemon) == {"vnet0"}, what="a link renamed away is let go")

            left.move("vnet0", elsewhere)
            wait_until(lambda: sampled(daemon) == set(), what="a link that moved is let go")
            elsewhere.up("vnet0")
            assert elsewhere.run("bpftool", "net", "show", "dev", "vnet0").stdout.count("sample_") == 0

            veth(left, "vnet2", None, right, "b2", None)
            wait_until(lambda: sampled(daemon) == {"vnet2"})
            left.run("ip", "link", "delete", "vnet2")
            wait_until(lambda: sampled(daemon) == set())
            assert "ERROR" not in daemon.text()
        wait_until(lambda: sink.total() == 5)


def test_overlap_is_warned_of(left: Namespace, tmp_path: Path) -> None:
    """A bridge and its member carry the same packets: both are named, once."""
    left.add("br0", "bridge")
    left.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    left.run("ip", "link", "set", "v0", "master", "br0", "up")
    with (
        Sink(left) as sink,
        Daemon(left, tmp_path, CONFIG.format(interfaces='"br0", "v0"', target=sink.target)).wait_ready() as daemon,
    ):
        daemon.wait_log("v0 is a member of br0")
        assert daemon.text().count("v0 is a member of br0") == 1


def test_flood_of_link_messages(left: Namespace, right: Namespace, tmp_path: Path) -> None:
    """Hundreds of links come and go while the daemon is stopped: afterwards it samples what there is."""

    with Sink(left) as sink:
        with Daemon(left, tmp_path, CONFIG.format(interfaces='"vnet*"', target=sink.target)).wait_ready() as daemon:
            daemon.process.send_signal(signal.SIGSTOP)
            batch = tmp_path / "batch"
            lines = []
            for i in range(300):
                lines += [f"link add gone{i} type veth peer name peer{i}", f"link set gone{i} up", f"link del gone{i}"]
            lines += ["link add vnet7 type veth peer name peer7", "link set vnet7 up", "link set peer7 up"]
            batch.write_text("\n".join(lines) + "\n")
            left.run("ip", "-batch", str(batch), timeout=300)
            daemon.process.send_signal(signal.SIGCONT)
            wait_until(lambda: sampled(daemon) == {"vnet7"}, 15)
            before = sum(daemon.show("stats")["packets_observed"].values())
            send(left, "peer7", [udp_frame()] * 9)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) >= before + 9)
        assert "Traceback" not in daemon.text()
