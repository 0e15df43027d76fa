"""Reads samples as the kernel left them in the map `cpus`, and runs the programs on made-up packets."""

import os
from dataclasses import dataclass
from fractions import Fraction

from sampler._native import ffi, lib
from sampler.kernel.gates import Gates
from sampler.kernel.loader import Programs
from sampler.kernel.maps import Maps
from sampler.kernel.selection import KernelRule, Selection
from sampler.tunnels.ports import TunnelPorts, port_types

IFINDEX = 1  # loopback: the one interface that every namespace has


def octets(sample) -> bytes:
    """A sample as bytes, without what only a kernel knows: time, generation, interfaces, direction, verdict, who
    selected it.
    """
    copy = ffi.new("struct sample *")
    ffi.memmove(copy, ffi.addressof(sample) if ffi.typeof(sample).kind == "struct" else sample, ffi.sizeof(copy[0]))
    copy.meta.time = copy.meta.generation = copy.meta.rules = copy.meta.main = copy.meta.verdict = 0
    copy.meta.ingress_ifindex = copy.meta.egress_ifindex = copy.key.ifindex = copy.key.direction = 0
    return bytes(ffi.buffer(copy))


def set_tunnel_ports(maps: Maps) -> None:
    """Tell programs the default ports, as the service does."""
    types = port_types(TunnelPorts())
    for entry in range(lib.PORT_ENTRIES):
        if any(eight := types[entry * 8 : entry * 8 + 8]):
            maps.update("port_tunnels", entry, eight)


def run(
    fd: int,
    kind: str,
    frame: bytes,
    repeat: int = 1,
    *,
    ifindex: int = IFINDEX,
    segments: int = 0,
    segment_size: int = 0,
) -> tuple[int, int]:
    """Run a program, "tc" or "xdp", on a frame that came by this interface: (its return value, mean ns of a run)."""
    value, mean = ffi.new("__u32 *"), ffi.new("__u32 *")
    xdp = kind == "xdp"
    skb = ffi.NULL if xdp else ffi.new("struct bpf_skb_context *", (ifindex, segments, segment_size))
    error = lib.bpf_test_run(fd, frame, len(frame), skb, ifindex * xdp, repeat, value, mean)
    if error:
        raise OSError(-error, os.strerror(-error))
    return int(ffi.cast("int32_t", value[0])), int(mean[0])


@dataclass
class Kernel:
    """Loaded programs with gates on the loopback interface, on the CPU that the test is pinned to, one of `cpus`."""

    maps: Maps
    programs: Programs
    gates: Gates
    cpu: int
    cpus: frozenset[int]

    def run(self, name: str, frame: bytes, repeat: int = 1, **segments: int) -> int:
        """Run a program on a frame; its return value, as the kernel reads it."""
        kind = "xdp" if name == "sample_xdp" else "tc"
        verdict, self.duration = run(self.programs.fd(name), kind, frame, repeat, **segments)
        return verdict

    def state(self):
        """This CPU's `struct cpu_state`."""
        state = ffi.new("struct cpu_state *")
        self.maps.lookup("cpus", self.cpu, state)
        return state

    def sample(self, name: str, frame: bytes, **how: int):
        """The sample that a program makes of a frame."""
        before = self.state().batch.sequence
        self.run(name, frame, **how)
        state = self.state()
        assert state.batch.sequence == before + 1
        self._kept = state
        return state.batch.samples[before % lib.BATCH_SIZE]

    def set_sampling(self, probability: Fraction, generation: int, **options: int) -> None:
        """Sample with this probability from the next packet on."""
        self.gates.set_selection(generation, Selection(KernelRule(None, probability), **options))

    def take_all(self, generation: int = 0) -> None:
        """Sample every packet."""
        self.set_sampling(Fraction(1), generation)
