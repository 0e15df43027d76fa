"""The gates and counters in the kernel maps: opens interfaces for sampling, and counts what passed."""

import math
from fractions import Fraction

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.maps import Maps

FIXED_POINT = 2**32  # struct sampling_config.scale

# The names of enum kernel_counter in bpf/state.def.h, in its order: "selected", "lost_ring" ….
COUNTERS = tuple(
    name.removeprefix("KERNEL_").lower()
    for number, name in sorted(ffi.typeof("enum kernel_counter").elements.items())
    if number != lib.KERNEL_COUNTERS
)


def scale(probability: Fraction) -> int:
    """1 / log2(1 / (1 - p)) in 32.32 fixed point, what a geometric draw is scaled by; 0 for p = 1.

    Raises:
        ValueError: p is not within 2**-32 .. 1.

    """
    if not Fraction(1, 2**32) <= probability <= 1:
        raise ValueError(f"Sampling probability {probability}: it may be 2**-32 to 1")
    if probability == 1:
        return 0
    return round(FIXED_POINT * -math.log(2) / math.log1p(-float(probability)))


class Gates:
    """The gates of all interfaces and directions."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._slots: dict[tuple[int, int], int] = {}

    def set_sampling(self, probability: Fraction, generation: int, budget: int = 0, tunnels: bool = True) -> None:
        """Take packets with this probability, from the next packet of every gate on.

        Args:
            probability: of every wire packet, 2**-32 .. 1.
            generation: 0..65535, what the samples taken so carry. When this returns, all samples of
                the generation before are in batches or on the ring.
            budget: samples a CPU and second; 0: no limit.
            tunnels: describe packets by what tunnels carry, else by what is on the wire.

        """
        config = ffi.new("struct sampling_config *", (scale(probability), generation, budget, tunnels))
        number = (self._maps.selection + 1) % 2**32
        self._maps.update("config", number % lib.SELECTIONS, config)
        self._maps.select(number)
        self._maps.wait_programs()

    def open(self, ifindex: int, direction: int, l3: bool = False, tunnel: bool = False) -> None:
        """Let packets of an interface and direction be sampled; nothing happens when they are already.

        Args:
            ifindex: the interface.
            direction: enum direction.
            l3: its frames start at the IP header.
            tunnel: it is a tunnel netdev, described in the map tunnel_ports.

        Raises:
            StartError: too many interfaces whose numbers fall together.

        """
        if (ifindex, direction) in self._slots:
            return
        taken = set(self._slots.values())
        for probe in range(lib.GATE_PROBES):
            slot = (2 * ifindex + direction + 2 * probe) % lib.GATE_SLOTS
            if slot not in taken:
                self._write(slot, ifindex, lib.GATE_L3 * l3 | lib.GATE_TUNNEL * tunnel)
                self._slots[ifindex, direction] = slot
                return
        raise StartError(
            f"Interface number {ifindex} finds no free gate: {lib.GATE_PROBES} sampled interfaces share its place "
            f"modulo {lib.GATE_SLOTS // 2}; sample fewer interfaces"
        )

    def close(self, ifindex: int, direction: int) -> int:
        """Stop sampling an interface and direction: the wire packets it has observed, 0 where it was not sampled.

        Detach it first.
        """
        if (ifindex, direction) not in self._slots:
            return 0
        observed = self._observed(self._slots[ifindex, direction])
        self._write(self._slots.pop((ifindex, direction)), 0, 0)
        return observed

    def observed(self) -> dict[tuple[int, int], int]:
        """Wire packets seen since the gate was opened, sampled or not, by (ifindex, direction). Exact."""
        return {key: self._observed(slot) for key, slot in self._slots.items()}

    def counters(self) -> tuple[dict[str, int], dict[str, int]]:
        """What became of the selected samples (enum kernel_counter), and of the wire packets they stand on."""
        samples, packets = dict.fromkeys(COUNTERS, 0), dict.fromkeys(COUNTERS, 0)
        state = ffi.new("struct cpu_state *")
        for cpu in range(self._maps.cpus):
            self._maps.lookup("cpus", cpu, state)
            for i, name in enumerate(COUNTERS):
                samples[name] += state.samples[i]
                packets[name] += state.packets[i]
        return samples, packets

    def _write(self, slot: int, ifindex: int, flags: int) -> None:
        values = ffi.new("struct gate[]", lib.bpf_possible_cpus())
        for value in values:
            value.ifindex, value.flags = ifindex, flags
        self._maps.update("gates", slot, values)

    def _observed(self, slot: int) -> int:
        values = ffi.new("struct gate[]", lib.bpf_possible_cpus())
        self._maps.lookup("gates", slot, values)
        return sum(gate.drawn + gate.behind - gate.skip for gate in values)
