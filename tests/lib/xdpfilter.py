"""xdp-filter of Debian's xdp-tools as a foreign XDP program: a member of a libxdp dispatcher that drops by UDP port."""

import re
from pathlib import Path
from typing import Self

from lib.netns import Namespace

# Another program of xdp-tools, which lets pass what no rule names; it has none.
SECOND = Path("/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_tcp.o")
COUNTS = re.compile(r"XDP_(DROP|PASS) +(\d+) pkts")
MEMBERS = re.compile(r"^ =>\s+\d+\s+(\w+)", re.MULTILINE)


class XdpFilter:
    """xdp-filter on a link. A context manager: enters when it drops UDP to a port; leaving it unloads all programs."""

    def __init__(self, namespace: Namespace, link: str, port: int) -> None:
        self._namespace = namespace
        self._link = link
        self._port = port

    def __enter__(self) -> Self:
        self._namespace.run("xdp-filter", "load", "--mode", "native", "--features", "udp", self._link)
        self._namespace.run("xdp-filter", "port", "--proto", "udp", "--mode", "dst", str(self._port))
        return self

    def add_second(self) -> None:
        """Load another program beside it: libxdp puts a dispatcher with both in the place of the one before."""
        pins = f"/sys/fs/bpf/second-{self._link}"
        self._namespace.run("xdp-loader", "load", "--mode", "native", "--pin-path", pins, self._link, str(SECOND))

    def members(self) -> list[str]:
        """Programs that the dispatcher calls, in order."""
        return MEMBERS.findall(self._namespace.run("xdp-loader", "status", self._link).stdout)

    def counts(self) -> tuple[int, int]:
        """Frames that it dropped and that it let pass, by its own counters."""
        # It ends with an error, behind all that is wanted: there are no addresses to filter by, and no map of them.
        found = dict(COUNTS.findall(self._namespace.run("xdp-filter", "status", check=False).stdout))
        return int(found["DROP"]), int(found["PASS"])

    def __exit__(self, *_: object) -> None:
        self._namespace.run("xdp-loader", "unload", self._link, "--all")
        # Its pinned maps would otherwise go on with their counts.
        self._namespace.run("xdp-filter", "unload", "--all", check=False)
