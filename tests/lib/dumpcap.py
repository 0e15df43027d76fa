"""dpdk-dumpcap piped into `xdpfix read -`: the packets of a DPDK application as flows, as an operator gets them."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

from lib.daemon import PROGRAM
from lib.testpmd import PREFIX, Testpmd
from lib.wait import PATIENCE, wait_until

# Debian's testpmd links a driver of memory pools that dumpcap does not, and DPDK knows pools by their drivers' numbers.
POOLS = Path("/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0/librte_mempool_dpaa.so.23")


class DumpcapIntoRead:
    """Both processes. A context manager: enters when the application gives copies of its packets.

    Args:
        testpmd: the application, with shared memory.
        folder: for what dumpcap prints.
        options: for dumpcap.

    """

    def __init__(self, testpmd: Testpmd, folder: Path, *options: str) -> None:
        self._log = folder / "dumpcap.log"
        command = ("dpdk-dumpcap", f"--file-prefix={PREFIX}", "-i", "0", *options, "-w", "-")
        with self._log.open("w") as log:
            self._dumpcap = testpmd.secondary(
                *command, environment={"LD_PRELOAD": str(POOLS)}, stdout=subprocess.PIPE, stderr=log
            )
        pipe = subprocess.PIPE
        read = [str(PROGRAM), "read", "--json", "-"]
        self._read = subprocess.Popen(read, stdin=self._dumpcap.stdout, stdout=pipe, stderr=pipe, text=True)
        assert self._dumpcap.stdout
        self._dumpcap.stdout.close()

    def __enter__(self) -> Self:
        try:
            self.wait_captured(0)
        except BaseException:
            self._kill()
            raise
        return self

    def wait_captured(self, count: int) -> None:
        """Wait until dumpcap says that it has captured so many packets."""

        def captured() -> bool:
            said = self._log.read_text(errors="replace")
            assert self._dumpcap.poll() is None, said
            # The number moves on by backspaces.
            return str(count) in re.findall(r"\d+", said.partition("Packets captured:")[2])

        wait_until(captured, 20, f"{count} packets in {self._log}")

    def finish(self) -> tuple[list[dict[str, Any]], str]:
        """End the capture; the records and what `xdpfix read` said at its end."""
        self._dumpcap.send_signal(signal.SIGINT)  # Control-C, as its manual says
        out, said = self._read.communicate(timeout=30 * PATIENCE)
        assert self._read.returncode == 0, said
        return [json.loads(line) for line in out.splitlines()], said

    def __exit__(self, *_: object) -> None:
        self._kill()

    def _kill(self) -> None:
        for process in (self._dumpcap, self._read):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
