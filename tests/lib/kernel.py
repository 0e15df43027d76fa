"""What of ours the kernel holds: programs, maps, links, filters and qdiscs, as bpftool and tc list them."""

import json
import subprocess
from typing import Any

from lib.netns import Namespace

PROGRAMS = ("sample_xdp", "sample_tc_ingre", "sample_tc_egres")  # names are cut to 15 octets


def _bpftool(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(["bpftool", "--json", *arguments], capture_output=True, text=True, check=True, timeout=60)
    listed = json.loads(done.stdout)
    return listed if isinstance(listed, list) else []


def programs() -> set[int]:
    """Ids of our programs that are loaded."""
    return {entry["id"] for entry in _bpftool("prog", "show") if entry.get("name", "").startswith(PROGRAMS)}


def maps() -> set[int]:
    """Ids of all maps."""
    return {entry["id"] for entry in _bpftool("map", "show")}


def links() -> set[int]:
    """Ids of all BPF links."""
    return {entry["id"] for entry in _bpftool("link", "show")}


def filters(namespace: Namespace, name: str) -> str:
    """The tc filters and clsact qdiscs of a link, as text; empty when there are none."""
    text = ""
    for direction in ("ingress", "egress"):
        text += namespace.run("tc", "filter", "show", "dev", name, direction, check=False).stdout
    qdiscs = namespace.run("tc", "qdisc", "show", "dev", name).stdout
    return text + "".join(line for line in qdiscs.splitlines() if "clsact" in line)
