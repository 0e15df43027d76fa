"""Instruction counts and the file of those that are expected: what a change costs, whatever else the machine does."""

import json
import platform
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# A count may differ by this part of it, and a small one by so many instructions: means are told in whole ones.
TOLERANCE = 0.01
LEAST = 2.0
HEAD = """\
# Instructions that xdpfix executes, and those of its BPF programs. `make counts` writes this file, and its diff is
# looked at in review: what grew, why, and whether that is wanted.
"""
WAY_OUT = "`make counts` writes what is counted now into tests/perf/counts.toml, if this is meant to be"


@dataclass(frozen=True)
class Counts:
    """Counts by name, and what they depend on, by name."""

    made_with: dict[str, str] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Counts":
        """What the file holds; nothing where there is none yet."""
        if not path.exists():
            return cls()
        stored = tomllib.loads(path.read_text())
        return cls(stored["made_with"], stored["counts"])

    def write(self, path: Path) -> None:
        """Replace the file."""
        made = [f"{name} = {json.dumps(value)}" for name, value in self.made_with.items()]
        counts = [f"{json.dumps(name)} = {count:.1f}" for name, count in self.counts.items()]
        path.write_text("\n".join([HEAD, "[made_with]", *made, "", "[counts]", *counts, ""]))


def here(kernel: Path) -> dict[str, str]:
    """What counts depend on: processor, distribution, compilers, and the kernel that is unpacked in this folder."""
    modules = kernel / "lib/modules"
    return {
        "machine": platform.machine(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "cc": _output("cc", "-dumpfullversion"),
        "clang": _output("clang", "-dumpversion"),
        "bcc": _bcc(),
        "kernel": ", ".join(sorted(path.name for path in modules.iterdir())) if modules.exists() else "none",
    }


def _bcc() -> str:
    try:
        import bcc
    except ImportError:
        return "none"
    return str(bcc.__version__)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def other(expected: Counts, found: Mapping[str, str]) -> str:
    """Say in one sentence what is other here than where the counts were made; empty when nothing is."""
    wanted = expected.made_with.items()
    told = [f"{name} {found.get(name)}, not {value}" for name, value in wanted if found.get(name) != value]
    if not told:
        return ""
    return (
        f"instruction counts are not comparable: here is {', '.join(told)}; count where the file was made, or have it "
        "made here (make counts)"
    )


def judge(name: str, found: float | None, expected: float) -> str:
    """Say in one sentence what is wrong with a count; empty when it is as expected."""
    if not found:
        return f"{name}: nothing was counted, where {expected:.1f} instructions were expected; {WAY_OUT}"
    if abs(found - expected) <= max(TOLERANCE * expected, LEAST):
        return ""
    change = 100 * (found / expected - 1)
    return f"{name}: {found:.1f} instructions, expected were {expected:.1f} ({change:+.1f} %); {WAY_OUT}"
