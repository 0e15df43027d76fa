"""A running xdpfix on the wire of the live benchmarks: what it is told, what it has counted, what it has cost."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from bench.traffic import READER_CPU, RECEIVER, Wire
from lib.daemon import Daemon
from lib.wait import wait_until
from sampler.control.client import tell

# No timeout ends a flow while it is measured, unless the benchmark says so; the budget would be what is measured.
CONFIG = """
[sampler]
interfaces = ["{interface}"]
hook = "{hook}"
sample_budget = 0
[exporter]
targets = ["{target}"]
sampling = {sampling}
cache_max_flows = 2000000
cache_active_timeout = {active}
cache_idle_timeout = {idle}
"""
SETTLE = 3.0  # seconds: as long as any agent goes on working behind the last frame
CPU_CLOCK = 2  # CPUCLOCK_SCHED of <linux/posix-timers.h>


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes until now, all their threads: what /proc/PID/stat rounds to ticks."""
    return sum(time.clock_gettime(~pid << 3 | CPU_CLOCK) for pid in pids)


def cpu_meanwhile(pids: Callable[[], Iterable[int]], work: Callable[[], object]) -> float:
    """CPU seconds of processes while this is done, and for SETTLE seconds behind it, for the rest of the work.

    The same window for all: to ask them whether they are done would cost them CPU time.
    """
    before = cpu_seconds(pids())
    work()
    time.sleep(SETTLE)
    return cpu_seconds(pids()) - before


class Running:
    """xdpfix on the reader's processor, sampling nothing yet. A context manager; at its end flows are flushed.

    Args:
        wire: whose receiver is sampled.
        target: of its flow records.
        hook: "tc" or "xdp".
        active: cache_active_timeout.
        idle: cache_idle_timeout.

    """

    def __init__(self, wire: Wire, target: str, hook: str = "tc", active: int = 600, idle: int = 600) -> None:
        self.offered = 0  # frames that were sent while it sampled
        self._wire = wire
        self._values = {"target": target, "hook": hook, "active": active, "idle": idle}
        self._folder = TemporaryDirectory()
        pinned = ("taskset", "-c", str(READER_CPU))
        self._daemon = Daemon(wire.namespace, Path(self._folder.name), self._config(None), before=pinned)

    def _config(self, sampling: int | None) -> str:
        interface = "none*" if sampling is None else RECEIVER
        return CONFIG.format(interface=interface, sampling=sampling or 1, **self._values)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._daemon.process.pid

    def sample(self, sampling: int | None) -> None:
        """Take one frame in so many from now on; None: leave the receiver alone, with no program on it."""
        self._daemon.reload(self._config(sampling))

    def send(self, frames: int, flows: int, rate: float = 0) -> float:
        """Send over the wire, wait until all is accounted for; ns a frame.

        AssertionError unless the ledger is whole and every frame was observed.
        """
        before = observed(self.stats())
        spent = self._wire.send(frames, flows, rate)
        assert observed(self.settle()) - before == frames
        self.offered += frames
        return spent

    def settle(self) -> dict[str, Any]:
        """Wait until nothing is on its way; the ledger, which is whole."""
        wait_until(lambda: self.stats()["ring"]["pending"] == 0, what="the rings are read")
        stats = self.stats()
        assert stats["errors"] == [], stats["errors"]
        return stats

    def stats(self) -> dict[str, Any]:
        """The ledger."""
        return dict(self._daemon.show("stats"))

    def flush(self) -> None:
        """End all flows and send them."""
        tell(self._daemon.socket, {"flush": True}, timeout=60)

    def programs(self) -> tuple[int, int]:
        """(ns, runs) of its BPF programs, where the kernel counts that (bench.live.bpf_stats)."""
        return program_stats(Path(f"/proc/{self.pid}/fdinfo").iterdir())

    def __enter__(self) -> Self:
        self._daemon.__enter__()
        self._daemon.wait_ready()
        return self

    def __exit__(self, *error: object) -> None:
        self._daemon.__exit__(*error)
        self._folder.cleanup()


def program_stats(files: Iterable[Path]) -> tuple[int, int]:
    """(ns, runs) of the programs behind these files of /proc/PID/fdinfo, each program once."""
    found = {}
    for file in files:
        try:
            lines = file.read_text().splitlines()
        except FileNotFoundError:  # closed meanwhile
            continue
        fields = dict(line.split(":\t") for line in lines if ":\t" in line)
        if "run_time_ns" in fields:  # a link names its program, too
            found[fields["prog_id"]] = int(fields["run_time_ns"]), int(fields["run_cnt"])
    return sum(ns for ns, _ in found.values()), sum(runs for _, runs in found.values())


def observed(stats: dict[str, Any]) -> int:
    """Frames that came by the gates."""
    return sum(stats["packets_observed"].values())


def lost(stats: dict[str, Any]) -> int:
    """Samples lost for any cause: in the kernel, on the ring, in the cache."""
    kernel = sum(count for name, count in stats["samples"].items() if name.startswith("lost_"))
    cache = sum(count for name, count in stats["exporters"]["main"].items() if name.startswith("lost_"))
    return kernel + stats["ring"]["lost"] + cache
