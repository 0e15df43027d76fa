"""What of ours the kernel holds: programs, maps, links, filters and qdiscs, as bpf(2) and tc tell."""

import json
import os
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from lib.netns import Namespace
from lib.programs import bpf

# What fdinfo calls an object, and the bpf(2) command that opens one by its id: BPF_PROG_GET_FD_BY_ID and so on.
KINDS = {"prog": 13, "map": 14, "link": 30}

NAME_LENGTH = 15  # of objects: BPF_OBJ_NAME_LEN with its terminating zero


def held(pid: int) -> set[tuple[str, int]]:
    """Kind and id of every program, map and link that a process holds, by its descriptors (proc(5), fdinfo)."""
    found = set()
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            lines = path.read_text().splitlines()
        except FileNotFoundError:
            continue  # of our own descriptors, the one by which this folder is read
        for line in lines:
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


def map_entries(pid: int, name: str) -> dict[bytes, bytes]:
    """The entries of the newest map of that name that a process holds, as octets, by `bpftool`."""
    for number in sorted((number for kind, number in held(pid) if kind == "map"), reverse=True):
        if _map_name(number) == name[:NAME_LENGTH]:
            entries = _bpftool("map", "dump", "id", str(number))
            return {_octets(entry["key"]): _octets(entry["value"]) for entry in entries}
    raise AssertionError(f"process {pid} holds no map {name}")


@cache
def _map_name(number: int) -> str:
    return str(_bpftool("map", "show", "id", str(number))["name"])


def _bpftool(*arguments: str) -> Any:
    done = subprocess.run(["bpftool", "--json", *arguments], capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


def _octets(words: list[str]) -> bytes:
    return bytes(int(word, 16) for word in words)
