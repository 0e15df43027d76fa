"""One source as seen from Python: a context manager around sampler/native/psample.c. The data thread reads it."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from sampler._native import ffi, lib
from sampler.captures.capture import TUNNEL_MISSES
from sampler.daemon.linktable import Link
from sampler.psample.combinations import Combination, Place
from sampler.psample.options import DIRECTIONS, PsampleSource

FAMILY, MULTICAST_GROUP = b"psample", b"packets"
LOSSES = ("lost_socket", "lost_kernel", "lost_combinations", "lost_malformed")


@dataclass(frozen=True)
class Family:
    """The family's numbers, until its module is unloaded: its messages' type and the group that samples are sent to."""

    id: int
    group: int


def find_family() -> Family | None:
    """Look for the family in this network namespace; None where the module is not loaded. OSError."""
    found = ffi.new("struct genetlink_family *")
    code = lib.genetlink_find(FAMILY, MULTICAST_GROUP, found)
    if code == -2:  # ENOENT
        return None
    if code:
        raise OSError(-code, os.strerror(-code))
    return Family(int(found.id), int(found.group))


class Source:
    """A source, with or without a socket. All methods belong to one thread."""

    def __init__(self, options: PsampleSource) -> None:
        self.options = options
        out = ffi.new("struct psample **")
        direction = DIRECTIONS.index(options.direction)
        _check(lib.psample_new(out, options.group, options.obs_domain_id, options.obs_point_id, direction))
        self._handle: Any = out[0]

    @property
    def fd(self) -> int:
        """The socket's descriptor; -1 without."""
        return int(lib.psample_fd(self._handle))

    def connect(self, family: Family) -> None:
        """Receive what is sent from now on. OSError, and the socket of before stays."""
        _check(lib.psample_connect(self._handle, family.group, self.options.receive_buffer))

    def attach(self, fd: int) -> None:
        """Receive by this netlink socket, which is the source's from now on. OSError."""
        _check(lib.psample_attach(self._handle, fd, self.options.receive_buffer))

    def disconnect(self) -> None:
        """Close the socket. What waits there is lost: read before."""
        lib.psample_disconnect(self._handle)

    def set_links(self, links: Iterable[Link]) -> None:
        """Take in all links: which have no Ethernet header, how long their packets are, which tunnel they are."""
        rows = [_link(link) for link in sorted(links, key=lambda link: link.ifindex)]
        _check(lib.psample_set_links(self._handle, ffi.new("struct psample_link[]", rows), len(rows)))

    def set_ports(self, types: bytes | None) -> None:
        """Take in the octet of every port (sampler.tunnels.ports.port_types); None: no tunnel is looked into."""
        ports = ffi.NULL if types is None else ffi.cast("struct port_tunnels *", ffi.from_buffer(types))
        _check(lib.psample_set_ports(self._handle, ports))

    def read(self, batch: bytearray) -> int:
        """Samples written to the batch; 0 where none waits, or the next one's combination is unknown()."""
        samples = ffi.from_buffer("struct sample[]", batch)
        return int(lib.psample_read(self._handle, samples, len(samples)))

    def unknown(self) -> Combination | None:
        """Give the combination that the next sample has, if it must be added first."""
        found = ffi.new("struct psample_combination *")
        if not lib.psample_unknown(self._handle, found):
            return None
        probability = bool(found.probability)
        return Combination(self.options.group, int(found.rate), probability, int(found.domain), int(found.point))

    def add(self, combination: Combination, place: Place) -> None:
        """Let its samples have this generation and rule. OSError."""
        ids = combination.obs_domain_id, combination.obs_point_id
        native = ffi.new("struct psample_combination *", (combination.rate, *ids, combination.probability))
        _check(lib.psample_add(self._handle, native, place.generation, place.rule))

    def forget(self) -> None:
        """Know no combination any more: each is unknown() again when its next sample comes."""
        lib.psample_forget(self._handle)

    def add_no_more(self) -> None:
        """Count samples of combinations that were not added as lost, until forget()."""
        lib.psample_add_no_more(self._handle)

    def look(self) -> None:
        """Count what was lost; from time to time, when read() has read all."""
        lib.psample_look(self._handle)

    def stats(self) -> dict[str, int]:
        """Counters of struct psample_stats by name, tunnel_missed spread by cause."""
        stats = ffi.new("struct psample_stats *")
        lib.psample_get_stats(self._handle, stats)
        names = [name for name, _ in ffi.typeof("struct psample_stats").fields if name != "tunnel_missed"]
        missed = {f"tunnel_{name}": int(stats.tunnel_missed[i]) for i, name in enumerate(TUNNEL_MISSES, start=1)}
        return {name: int(getattr(stats, name)) for name in names} | missed

    def seen(self) -> list[tuple[int, int]]:
        """Where samples were observed: (ifindex, enum direction)."""
        places = ffi.new("struct psample_seen[]", lib.PSAMPLE_SEEN)
        count = lib.psample_get_seen(self._handle, places)
        return [(int(place.ifindex), int(place.direction)) for place in places[0:count]]

    def close(self) -> None:
        """Close socket and source. Idempotent."""
        handle, self._handle = self._handle, ffi.NULL
        lib.psample_free(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _link(link: Link) -> tuple[int, int, int, int, int, int, int]:
    tunnel = link.tunnel if link.bare else None
    known = (tunnel.port, tunnel.type, tunnel.key_length, tunnel.protocol) if tunnel else (0, 0, 0, 0)
    return link.ifindex, link.mtu, known[0], link.l3, *known[1:]


def _check(code: int) -> None:
    if code:
        raise OSError(-code, os.strerror(-code))
