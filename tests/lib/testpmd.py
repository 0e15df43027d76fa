"""DPDK's testpmd as a test's child process: started on ports of any driver, told to forward, asked for its counts.

It is driven by its own command line, through a pipe. Drivers and programs are those of Debian's dpdk-dev.
"""

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lib.netns import Namespace
from lib.refusal import mounting
from lib.wait import PATIENCE, wait_until

PROMPT = "testpmd> "
COUNTS = re.compile(r"NIC statistics for port (\d+) .*?RX-packets: (\d+).*?TX-packets: (\d+)", re.DOTALL)
# Two threads, wherever the kernel runs them: a machine may have one CPU.
CORES = ("--lcores", f"(0,1)@(0-{(os.cpu_count() or 1) - 1})")
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
PAGES = 64
PREFIX = "xdpfix"  # by which processes of DPDK find each other
BUFFERS = 8192  # each AF_XDP port has 4096 of its own


@dataclass(frozen=True)
class Memory:
    """Where DPDK keeps its packets.

    Attributes:
        arguments: for EAL.
        before: a command that starts the program given behind it.
        environment: added to the process's.

    """

    arguments: Sequence[str]
    before: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


# Ordinary memory, for ports that no other process looks into.
ANONYMOUS = Memory(("--no-huge", "-m", "128"))


class Testpmd:
    """It forwards nothing until it is told to. A context manager: enters when its ports are there.

    Args:
        namespace: where it runs.
        folder: for what it prints.
        devices: one a port, as `--vdev` takes it: "net_af_xdp0,iface=a".
        mode: "rxonly" (counts frames and lets them go) or "io" (out of the other port of a pair).
        memory: ANONYMOUS or that of shared_memory().

    """

    __test__ = False  # pytest takes the name for a test's

    def __init__(
        self,
        namespace: Namespace,
        folder: Path,
        devices: Sequence[str],
        mode: str = "rxonly",
        memory: Memory = ANONYMOUS,
    ) -> None:
        self._namespace = namespace
        self._log = folder / "testpmd.log"
        ports = [argument for device in devices for argument in ("--vdev", device)]
        eal = ("--no-pci", "--no-telemetry", *CORES, *memory.arguments, *ports)
        buffers = f"--total-num-mbufs={BUFFERS}"
        # What has come before it forwards counts like the rest.
        own = ("--interactive", f"--forward-mode={mode}", buffers, "--no-mlockall", "--no-flush-rx")
        with self._log.open("w") as log:
            self._process = namespace.popen(
                # Else its answers wait in a buffer while prompts do not.
                *(*memory.before, "stdbuf", "-oL", "dpdk-testpmd", *eal, "--", *own),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | memory.environment,
            )
        self._environment = memory.environment
        self._prompts = 0

    def __enter__(self) -> Self:
        try:
            self._wait_prompt()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def text(self) -> str:
        """All that it wrote."""
        return self._log.read_text(errors="replace")

    def command(self, line: str) -> str:
        """Give it a command; what it answers."""
        before = len(self.text())
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._wait_prompt()
        return self.text()[before:]

    def counts(self) -> list[tuple[int, int]]:
        """(received, sent) of each port, as its driver counts."""
        return [(int(rx), int(tx)) for _, rx, tx in sorted(COUNTS.findall(self.command("show port stats all")))]

    def secondary(self, *command: str, environment: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
        """Start another process of DPDK that sees this one's memory."""
        entered = ("nsenter", f"--target={self._process.pid}", "--mount", *command)
        return self._namespace.popen(*entered, env=os.environ | self._environment | environment, **options)

    def _wait_prompt(self) -> None:
        def prompted() -> bool:
            assert self._process.poll() is None, f"testpmd ended with {self._process.returncode}: {self.text()}"
            return self.text().count(PROMPT) > self._prompts and self.text().endswith(PROMPT)

        wait_until(prompted, 30, f"testpmd's prompt in {self._log}")
        self._prompts = self.text().count(PROMPT)

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.write("quit\n")
        self._process.stdin.close()
        code = self._process.wait(20 * PATIENCE)
        assert code == 0, f"testpmd ended with {code}: {self.text()}"


@contextmanager
def shared_memory(folder: Path) -> Iterator[Memory]:
    """Huge pages, which other processes of DPDK need to look into one. They go back to the kernel at the end."""
    pages = folder / "huge"
    pages.mkdir()
    with HUGE_PAGES.open("r+") as count:
        # One test at a time: the number is the whole host's.
        fcntl.flock(count, fcntl.LOCK_EX)
        before = int(HUGE_PAGES.read_text())
        HUGE_PAGES.write_text(f"{before + PAGES}\n")
        try:
            assert int(HUGE_PAGES.read_text()) >= before + PAGES, "this host has no huge pages of 2 MiB to give"
            yield Memory(
                ("--huge-dir", str(pages), "--file-prefix", PREFIX, "-m", "64"),
                mounting(f"mount -t hugetlbfs -o pagesize=2M none {pages}"),
                {"RUNTIME_DIRECTORY": str(folder)},
            )
        finally:
            HUGE_PAGES.write_text(f"{before}\n")
