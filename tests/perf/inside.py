"""What is counted of the BPF programs inside a machine whose clocks count instructions (programs.py starts it).

For each loader: instructions that the processor executes for a packet, over an empty program of the same type, with
all that the kernel does for the programs; and those that the verifier processes for a program. Without scapy, whose
import takes longer here than all the counting.
"""

import json
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from lib.machine import SHARE
from lib.programs import program
from lib.rules import exactly, key_offset, rule
from lib.testrun import IFINDEX, run, set_tunnel_ports
from sampler._native import lib
from sampler.kernel.features import kernel_features
from sampler.kernel.gates import Gates
from sampler.kernel.loader import PROGRAMS, Programs, load
from sampler.kernel.loader_bcc import PROGRAM_TYPES, LoadedPrograms, load_program, with_map
from sampler.kernel.maps import Maps
from sampler.kernel.ring import Ring
from sampler.kernel.selection import KernelRule, Selection

GIVEN, COUNTS = "given.json", "counts.json"
ANY_MAP = 0x7FFFFF00  # from here on: compiled in where the descriptors of the machine's maps will stand
REPEAT = 1000  # samples that a ring holds
KINDS = {"xdp": "sample_xdp", "tc": "sample_tc_ingress"}


def rules(count: int, matching: bool) -> Selection:
    """Rules that ask for IPv4, UDP and a destination port; those that do not match differ in the port."""
    asked = exactly(key_offset("ethertype"), b"\x08\x00") | exactly(key_offset("ip_protocol"), b"\x11")
    ports = [((1, 65535),) if matching else ((1000 + number, 65535),) for number in range(count)]
    return Selection(None, [rule(asked, 1, ((1, 65535),), port) for port in ports])


SELECTIONS = {
    "not sampled": (Selection(KernelRule(None, Fraction(1, 10**9))), "plain"),
    "sampled": (Selection(KernelRule(None, Fraction(1))), "plain"),
    "sampled, in VXLAN": (Selection(KernelRule(None, Fraction(1))), "vxlan"),
    "1 rule, not matching": (rules(1, matching=False), "plain"),
    "1 rule, matching": (rules(1, matching=True), "plain"),
    "64 rules, none matching": (rules(64, matching=False), "plain"),
    "64 rules, all matching": (rules(64, matching=True), "plain"),
    "rules at other interfaces": (Selection(None, [rule(ifindexes=frozenset({9}))]), "plain"),
}


class Compiled(LoadedPrograms):
    """What bcc compiled outside, for these maps."""

    def __init__(self, maps: Maps, given: dict[str, str]) -> None:
        super().__init__()
        for name, octets in given.items():
            code = bytes.fromhex(octets)
            for number, fd in enumerate(maps.fds().values()):
                code = with_map(code, ANY_MAP + number, fd)
            self._fds[name] = load_program(name, PROGRAM_TYPES[name], code)


def instructions(fd: int, kind: str, frame: bytes) -> int:
    """Instructions of one run of the program: the mean of REPEAT, in whole ns of the clock that counts them."""
    return run(fd, kind, frame, REPEAT)[1]


def packets(maps: Maps, programs: Programs, frames: dict[str, bytes]) -> dict[str, int]:
    """What a packet costs, by program and selection."""
    gates, found = Gates(maps), dict[str, int]()
    gates.open(IFINDEX, lib.DIRECTION_INGRESS)
    with Ring(maps, 64) as ring:
        batch = ring.new_batch()

        def sampled(fd: int, kind: str, frame: bytes) -> int:
            mean = instructions(fd, kind, frame)
            while ring.read(batch):
                pass
            assert ring.stats()["lost"] == 0
            return mean

        for kind, name in KINDS.items():
            empty = program(kind, -1 if kind == "tc" else 2)
            for label, (selection, frame) in SELECTIONS.items():
                gates.set_selection(1, selection)
                sampled(programs.fd(name), kind, frames[frame])  # with gaps of the selection before
                over = instructions(empty, kind, frames[frame])
                found[f"{kind}, {label}"] = sampled(programs.fd(name), kind, frames[frame]) - over
            os.close(empty)
    return found


def main() -> None:
    """Count all of it."""
    given: dict[str, Any] = json.loads(Path(SHARE, GIVEN).read_text())
    assert given["features"] == kernel_features(), f"{os.uname().release} has other features: {kernel_features()}"
    frames = {name: bytes.fromhex(given[name]) for name in ("plain", "vxlan")}
    found: dict[str, int] = {}
    for loader in ("libbpf", "bcc"):
        with Maps() as maps:
            set_tunnel_ports(maps)
            programs: Programs = load(loader, maps) if loader == "libbpf" else Compiled(maps, given["programs"])
            for name in PROGRAMS:
                found[f"verified, {loader}, {name}"] = lib.bpf_verified_instructions(programs.fd(name))
            packed = packets(maps, programs, frames)
            found |= {f"packet, {loader}, {name}": count for name, count in packed.items()}
            programs.close()
    Path(SHARE, COUNTS).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
