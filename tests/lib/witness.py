"""xdpfix beside datapaths: one that runs while they come and go, and what it saw of each link, by verdict.

Two namespaces joined by veths: a0, a1 in `host`, where the datapath and xdpfix run, b0, b1 in `peer`, which sends.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.wait import PATIENCE, wait_until
from sampler.control.client import tell
from sampler.kernel.tracerrefusal import NO_TRACING

IN, OUT = 0, 1
# forwardingStatus (89): what became of the frame at the XDP program; None where none was observed.
PASSED, SENT_ON, DROPPED, UNTOLD = 64, 66, 128, None
CONFIG = """
[sampler]
interfaces = ["a*"]
hook = "auto"
[exporter]
targets = ["{target}"]
sampling = 1
"""

Seen = Counter[tuple[int, int, int | None]]


class Witness:
    """A context manager: enters when xdpfix runs."""

    def __init__(self, folder: Path) -> None:
        self.host, self.peer = Namespace(), Namespace()
        self._sink = Sink(self.host)
        self.daemon = Daemon(self.host, folder, CONFIG.format(target=self._sink.target))

    def __enter__(self) -> Self:
        self.daemon.wait_ready()
        return self

    def __exit__(self, *error: object) -> None:
        self.daemon.__exit__(*error)
        self._sink.close()
        self.host.close()
        self.peer.close()

    @contextmanager
    def wires(self, count: int) -> Iterator[list[int]]:
        """Make so many links, aN to bN; their indexes in `host`. xdpfix samples them, at tc, when this enters."""
        indexes = [veth(self.host, f"a{number}", None, self.peer, f"b{number}", None)[0] for number in range(count)]
        names = [f"a{number}" for number in range(count)]
        wait_until(lambda: set(names) <= self._hooks().keys(), what=f"{names} sampled")
        try:
            yield indexes
        finally:
            for name in names:
                self.host.run("ip", "link", "delete", name)
            wait_until(lambda: not self._hooks(), what=f"{names} let go")

    def _hooks(self) -> dict[str, list[str]]:
        return {row["name"]: row["hooks"] for row in self.daemon.show("interfaces") if row["state"] == "sampled"}

    def wait_observed(self, *names: str, program: str = "") -> None:
        """Wait until xdpfix observes the XDP program on these links, one whose name contains `program`."""

        def observed() -> bool:
            ingress = [self._hooks()[name][0] for name in names]
            if any("(behind XDP program" in hook for hook in ingress):
                # Any other reason is a fault.
                assert NO_TRACING in self.daemon.text(), self.daemon.text()
                pytest.skip(f"{NO_TRACING}; run `make test-vm`")
            return all(hook.startswith(f"ingress observe ({program}") for hook in ingress)

        wait_until(observed, what=f"an observed XDP program {program} on {names}")

    def wait_unobserved(self, *names: str) -> None:
        """Wait until xdpfix samples these links at tc again."""

        def unobserved() -> bool:
            return not any("(" in self._hooks()[name][0] for name in names)

        wait_until(unobserved, what=f"{names} without an XDP program")

    def seen(self, *, until: int) -> Seen:
        """Packets by (index, direction, forwardingStatus) on all links so far, when they are `until` or more."""
        wait_until(lambda: self._total() >= until, 10, f"{until} packets; there are {self._count()}")
        return self._count()

    def _total(self) -> int:
        tell(self.daemon.socket, {"flush": True}, timeout=30 * PATIENCE)
        return sum(self._count().values())

    def _count(self) -> Seen:
        found: Seen = Counter()
        for record in list(self._sink.records):
            direction = record.get("flowDirection")
            index = record.get("ingressInterface" if direction == IN else "egressInterface")
            found[index, direction, record.get("forwardingStatus")] += record.get("packetDeltaCount")
        return found

    def dropped(self, index: int) -> int:
        """Packets that a program dropped (133) of those that came by this link."""
        return self._sink.total("droppedPacketDeltaCount", ingressInterface=index)
