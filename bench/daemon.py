"""A daemon that is measured, on links a0, a1, … of a namespace of its own; frames go into their peers b0, b1, …."""

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.traffic import udp_frame
from lib.wait import wait_until
from sampler.control.client import tell
from sampler.kernel.xdpprograms import program_name

# Seconds between two frames of Traffic: how exactly the first sample's moment is known.
GAP = 0.005
CONFIG = """
[sampler]
interfaces = ["a*"]
loader = "{loader}"
[exporter]
targets = ["127.0.0.1:9"]
sampling = {sampling}
cache_max_flows = 2000000
cache_active_timeout = 4200
cache_idle_timeout = 4200
"""


@contextmanager
def interfaces(count: int) -> Iterator[Namespace]:
    """So many veth pairs in a namespace, without addresses and without traffic of their own."""
    with Namespace() as namespace:
        namespace.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        pairs = "".join(f"link add a{i} type veth peer name b{i}\n" for i in range(count))
        up = "".join(f"link set {side}{i} up\n" for i in range(count) for side in "ab")
        namespace.run("ip", "-batch", "-", input=pairs + up)
        yield namespace


class Traffic:
    """A frame into each of these links every GAP seconds, from a thread. A context manager."""

    def __init__(self, namespace: Namespace, links: list[str]) -> None:
        self._stop = threading.Event()
        self._sockets = []
        with namespace.enter():
            for link in links:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
                sock.bind((link, 0))
                self._sockets.append(sock)
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        frame = udp_frame(payload=18)
        while not self._stop.wait(GAP):
            for sock in self._sockets:
                sock.send(frame)

    def stop(self) -> None:
        """Send no more. Stopping twice does nothing."""
        self._stop.set()
        self._thread.join()
        while self._sockets:
            self._sockets.pop().close()

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Measured:
    """A running daemon. `ready` is in seconds since it was begun."""

    def __init__(self, daemon: Daemon, began_ns: int) -> None:
        self.daemon = daemon
        self.ready = (time.monotonic_ns() - began_ns) / 1e9
        self._began_ns = began_ns
        self._process = Path(f"/proc/{daemon.process.pid}")

    def first_sample(self, link: str = "a0") -> float:
        """Seconds from the fork to the kernel's time stamp of this link's first sample: its oldest flow's start."""

        def starts() -> list[int]:
            return [flow["started"] for flow in self.daemon.show("flows") if flow["interface"] == link]

        return float(min(wait_until(starts, what=f"the first flow of {link}")) - self._began_ns) / 1e9

    def set_sampling(self, interval: int) -> None:
        """Take one packet in this many."""
        tell(self.daemon.socket, {"set": {"sampling": interval}})

    def idle_stats(self) -> dict[str, Any] | None:
        """The ledger; None while samples wait on the ring."""
        stats: dict[str, Any] = self.daemon.show("stats")
        return None if stats["ring"]["pending"] else stats

    def resident(self) -> float:
        """MiB of memory, as ps, top and systemd tell it."""
        lines = (self._process / "status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def cpu(self) -> float:
        """Seconds that all its threads ran, as the scheduler counts them to the nanosecond."""
        threads = (self._process / "task").iterdir()
        return sum(int((path / "schedstat").read_text().split()[0]) for path in threads) / 1e9

    def idling(self, seconds: float, rounds: int) -> list[float]:
        """Percent of a core that it takes in windows of so many seconds. One before them has the rest of the start."""
        return [self._idle(seconds) for _ in range(1 + rounds)][1:]

    def _idle(self, seconds: float) -> float:
        before, began = self.cpu(), time.monotonic()
        time.sleep(seconds)  # the window
        return 100 * (self.cpu() - before) / (time.monotonic() - began)

    def program(self, name: str) -> int:
        """The number of a BPF program that it has, by its name as the kernel has it."""
        for path in (self._process / "fdinfo").iterdir():
            text = path.read_text()
            if "prog_id:" in text and "link_type" not in text:
                number = int(text.partition("prog_id:")[2].split()[0])
                if program_name(number) == name:
                    return number
        raise LookupError(name)


@contextmanager
def running(namespace: Namespace, sampling: int = 1, loader: str = "libbpf") -> Iterator[Measured]:
    """A daemon on all interfaces a*, ready."""
    with tempfile.TemporaryDirectory() as folder:
        config = CONFIG.format(loader=loader, sampling=sampling)
        began = time.monotonic_ns()
        with Daemon(namespace, Path(folder), config) as daemon:
            yield Measured(daemon.wait_ready(120), began)
