"""What of ours the kernel holds: programs, maps, links, filters and qdiscs, as bpftool and tc list them."""

import json
import subprocess
from pathlib import Path
from typing import Any

from lib.netns import Namespace

KINDS = ("prog", "map", "link")


def _bpftool(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["bpftool", "--json", *arguments], capture_output=True, text=True, check=True, timeout=60)
    listed = json.loads(done.stdout)
    return listed if isinstance(listed, list) else []


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
    there = {(kind, entry["id"]) for kind in KINDS for entry in _bpftool(kind, "show")}
    return objects & there


def filters(namespace: Namespace, name: str) -> str:
    """The tc filters and clsact qdiscs of a link, as text; empty when there are none."""
    text = ""
    for direction in ("ingress", "egress"):
        text += namespace.run("tc", "filter", "show", "dev", name, direction, check=False).stdout
    qdiscs = namespace.run("tc", "qdisc", "show", "dev", name).stdout
    return text + "".join(line for line in qdiscs.splitlines() if "clsact" in line)
