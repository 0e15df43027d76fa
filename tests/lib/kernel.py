"""What of ours the kernel holds: programs, maps, links, filters and qdiscs, as bpf(2) and tc tell."""

import os
import struct
from pathlib import Path

from lib.netns import Namespace
from lib.programs import bpf

# What fdinfo calls an object, and the bpf(2) command that opens one by its id: BPF_PROG_GET_FD_BY_ID and so on.
KINDS = {"prog": 13, "map": 14, "link": 30}


def held(pid: int) -> set[tuple[str, int]]:
    """Kind and id of every program, map and link that a process holds, by its descriptors (proc(5), fdinfo)."""
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            kind, _, what = name.partition("_")
            if what == "id" and kind in KINDS:
                found.add((kind, int(value)))
    return found


def living(objects: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of the objects that the kernel still has."""
    return {(kind, number) for kind, number in objects if _is_there(KINDS[kind], number)}


def _is_there(command: int, number: int) -> bool:
    try:
        os.close(bpf(command, struct.pack("I", number)))
    except FileNotFoundError:
        return False
    return True


def filters(namespace: Namespace, name: str) -> str:
    """The tc filters and clsact qdiscs of a link, as text; empty when there are none."""
    text = ""
    for direction in ("ingress", "egress"):
        text += namespace.run("tc", "filter", "show", "dev", name, direction, check=False).stdout
    qdiscs = namespace.run("tc", "qdisc", "show", "dev", name).stdout
    return text + "".join(line for line in qdiscs.splitlines() if "clsact" in line)
