"""Open vSwitch's userspace datapath as a forwarder between two links, read through AF_XDP or AF_PACKET sockets."""

import re
from pathlib import Path

from lib.netns import Namespace
from lib.ovs import BRIDGE, OpenVSwitch

# Read by the daemon's main thread: one that polls all the time would take an emulated machine's time from the rest.
AFXDP = "afxdp-nonpmd"
AF_PACKET = "system"
COUNTS = re.compile(r"port +(\w+): rx pkts=(\d+).*?tx pkts=(\d+)", re.DOTALL)


class ForwardingSwitch(OpenVSwitch):
    """A bridge that sends what comes from one of its two ports out of the other. A context manager.

    Args:
        namespace: where it runs.
        folder: for database, sockets, logs. Kept short: paths of unix sockets have 107 octets.
        links: the two ports.
        kind: how it reads them: AFXDP or AF_PACKET.

    """

    def __init__(self, namespace: Namespace, folder: Path, links: tuple[str, str], kind: str) -> None:
        super().__init__(namespace, folder, links[0])
        self._links = links
        self._kind = kind

    def _build(self) -> None:
        ports: list[str] = []
        for number, link in enumerate(self._links, 1):
            settings = (f"type={self._kind}", f"ofport_request={number}")
            ports += ["--", "add-port", BRIDGE, link, "--", "set", "interface", link, *settings]
        self._add_bridge(BRIDGE, *ports)
        for number in (1, 2):
            self._ofctl("add-flow", BRIDGE, f"in_port={number},actions=output:{3 - number}")

    def counts(self) -> list[tuple[int, int]]:
        """(received, sent) of each port, as Open vSwitch counts."""
        found = {port: (int(rx), int(tx)) for port, rx, tx in COUNTS.findall(self._ofctl("dump-ports", BRIDGE))}
        return [found["1"], found["2"]]
