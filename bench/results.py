"""What a part of the benchmarks found: figures, curves and notes, printed as they come and stored for the report.

A part stores `.state/bench/PART.json`; bench/report.py reads them all.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import TREE, end_at_sigterm

# Elsewhere in a machine that bench/inmachine.py starts.
FOLDER = Path(os.environ.get("XDPFIX_BENCH_FOLDER", TREE / ".state/bench"))


@dataclass(frozen=True)
class Figure:
    """A measured number: the median of some rounds and their extremes.

    `at_most` or `at_least` is the goal, None where there is none.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    def __str__(self) -> str:
        """Print as one line."""
        text = f"{self.name:50} {self.value:10.4g} {self.unit} [{self.low:.4g}..{self.high:.4g}]"
        if self.met is None:
            return text
        sign, limit = ("<=", self.at_most) if self.at_most is not None else (">=", self.at_least)
        return f"{text}, goal {sign} {limit:g}: {'met' if self.met else 'NOT MET'}"


@dataclass(frozen=True)
class Curve:
    """How something grows: y by x, a line for each label."""

    name: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]


@dataclass
class Results:
    """What one part found. A context manager: what it holds is stored at its end, unless an error or SIGTERM ends it.

    `about` says in one or two sentences how it was measured.
    """

    part: str
    about: str
    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)

    def figure(
        self,
        name: str,
        unit: str,
        rounds: Sequence[float],
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> Figure:
        """Add what these rounds measured, and print it."""
        figure = Figure(name, unit, statistics.median(rounds), min(rounds), max(rounds), at_most, at_least)
        self.figures.append(figure)
        print(figure, flush=True)
        return figure

    def curve(self, name: str, x: str, y: str, lines: dict[str, list[tuple[float, float]]]) -> None:
        """Add a curve, and print its points."""
        self.curves.append(Curve(name, x, y, lines))
        for label, points in lines.items():
            print(f"{name}, {label}: " + ", ".join(f"{x:g}: {y:.4g}" for x, y in points), flush=True)

    def note(self, text: str) -> None:
        """Add a sentence that a reader of the figures must know, and print it."""
        self.notes.append(text)
        print(text, flush=True)

    def __enter__(self) -> Self:
        end_at_sigterm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            FOLDER.mkdir(parents=True, exist_ok=True)
            stored = asdict(self) | {"machine": machine(), "seconds": round(time.time() - self.started)}
            (FOLDER / f"{self.part}.json").write_text(json.dumps(stored, indent=1) + "\n")


def load(path: Path) -> Results:
    """What a part stored."""
    stored = json.loads(path.read_text())
    figures = [Figure(**figure) for figure in stored["figures"]]
    curves = [Curve(**curve) for curve in stored["curves"]]
    return Results(stored["part"], stored["about"], figures, curves, stored["notes"], stored["started"])


def machine() -> dict[str, str]:
    """What the figures depend on: processor, cores, memory, kernel, distribution, who makes the machine."""
    cpu = Path("/proc/cpuinfo").read_text()
    models = [line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 2**20
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": str(len(models)),
        "memory": f"{memory} GiB",
        "kernel": platform.release().split("-")[0],
        "virtual": _virtual(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
    }


def _virtual() -> str:
    """Who makes the machine ("kvm"), "none" for a real one; empty where it cannot be asked."""
    if not shutil.which("systemd-detect-virt"):
        return ""
    return subprocess.run(["systemd-detect-virt", "--vm"], capture_output=True, text=True).stdout.strip()
