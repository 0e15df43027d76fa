"""The gates and counters in the kernel maps: opens interfaces for sampling, and counts what passed."""

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.maps import Maps
from sampler.kernel.selection import Selection

# The names of enum kernel_counter in bpf/state.def.h, in its order: "selected", "lost_ring" ….
COUNTERS = tuple(
    name.removeprefix("KERNEL_").lower()
    for number, name in sorted(ffi.typeof("enum kernel_counter").elements.items())
    if number != lib.KERNEL_COUNTERS
)

READS = 32  # of a gate that draws meanwhile


class Gates:
    """The gates of all interfaces and directions."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._slots: dict[tuple[int, int], int] = {}
        self._selection = Selection(None)

    def set_selection(self, generation: int, selection: Selection) -> None:
        """Put a selection in force: every gate takes it at its next packet, and counts on.

        When this returns, some 10 ms later, all samples of the selection before are in batches or on the ring.

        Args:
            generation: 0..65535, what the samples of this selection carry.
            selection: who samples what.

        """
        number = (self._maps.selection + 1) % 2**32
        place = number % lib.SELECTIONS
        if selection.rules:
            self._maps.update("rule_tables", place, selection.rule_tables())
        for which, table in selection.port_rules.items():
            self._maps.update("port_rules", place * lib.PORT_TABLES + which, table)
        for (ifindex, direction), slot in self._slots.items():
            self._maps.update("gate_rules", place * lib.GATE_SLOTS + slot, selection.gate_rules(ifindex, direction))
        self._maps.update("config", place, selection.config(generation))
        self._maps.select(number)
        self._selection = selection
        self._maps.wait_programs()

    def open(
        self, ifindex: int, direction: int, l3: bool = False, tunnel: bool = False, observed: bool = False
    ) -> None:
        """Let packets of an interface and direction be sampled; nothing happens when they are already.

        Args:
            ifindex: the interface.
            direction: enum direction.
            l3: its frames start at the IP header.
            tunnel: it is a tunnel netdev, described in the map tunnel_ports.
            observed: its packets pass a foreign XDP program (sampler.kernel.tracer), and are counted there.

        Raises:
            StartError: too many interfaces whose numbers fall together.

        """
        if (ifindex, direction) in self._slots:
            return
        taken = set(self._slots.values())
        for probe in range(lib.GATE_PROBES):
            slot = (2 * ifindex + direction + 2 * probe) % lib.GATE_SLOTS
            if slot not in taken:
                rules = self._selection.gate_rules(ifindex, direction)
                place = self._maps.selection % lib.SELECTIONS
                self._maps.update("gate_rules", place * lib.GATE_SLOTS + slot, rules)
                flags = lib.GATE_L3 * l3 | lib.GATE_TUNNEL * tunnel | lib.GATE_OBSERVED * observed
                self._write(slot, ifindex, flags)
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
        for column in (samples, packets):
            column["lost_verdict"] += self._maps.unanswered
        return samples, packets

    def _write(self, slot: int, ifindex: int, flags: int) -> None:
        values = ffi.new("struct gate[]", lib.bpf_possible_cpus())
        for value in values:
            value.ifindex, value.flags = ifindex, flags
        self._maps.update("gates", slot, values)

    def _observed(self, slot: int) -> int:
        """Of all CPUs. A gate is read twice, since it may draw meanwhile: until it is the same, and not drawing."""
        settled: dict[int, int] = {}
        before = self._read(slot)
        for _ in range(READS):
            gates = self._read(slot)
            for cpu, (old, new) in enumerate(zip(before, gates, strict=True)):
                if (old.drawn, old.behind) == (new.drawn, new.behind) and (new.skip or not new.drawn):
                    settled.setdefault(cpu, _packets(new))
            if len(settled) == len(gates):
                break
            before = gates
        # Who draws all the time has short gaps: there is not much to be wrong by.
        return sum(settled.get(cpu, _packets(gate)) for cpu, gate in enumerate(gates))

    def _read(self, slot: int) -> "ffi.CData":
        values = ffi.new("struct gate[]", lib.bpf_possible_cpus())
        self._maps.lookup("gates", slot, values)
        return values


def _packets(gate: "ffi.CData") -> int:
    return int(gate.drawn + gate.behind - gate.skip)
