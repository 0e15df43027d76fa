"""The report: results of all parts into docs/performance.md and the README, between the marks that stand there.

    python -m bench.report        part of `make bench`

What runs stored (.state/bench) takes the place of what docs/performance holds of the same parts, where it is newer;
tables and plots are then made of that folder alone, so that a test can tell that no number in a document was written by
hand.
"""

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import TREE, plot
from bench.__main__ import MACHINE_PARTS, PARTS
from bench.comparisons import compared
from bench.headlines import headline_table
from bench.results import FOLDER, Curve, Results, load
from bench.tables import goal_table, part_table

STORED = TREE / "docs/performance"
DOCUMENTS = tuple(TREE / name for name in ("docs/performance.md", "docs/datapaths.md", "README.md"))
BLOCK = re.compile(r"(<!-- bench: ([\w ]+) -->\n).*?(<!-- bench end -->)", re.DOTALL)


@dataclass(frozen=True)
class Part:
    """What one part stored, and where and when it ran."""

    results: Results
    machine: Mapping[str, str]
    seconds: int

    @property
    def place(self) -> str:
        """The machine in one sentence, without its name."""
        here = self.machine
        if here["virtual"] == "qemu":
            return (
                f"an emulated machine whose clock counts instructions, {here['distribution']}, Linux {here['kernel']}"
            )
        virtual = f" in a shared virtual machine ({here['virtual']})" if here["virtual"] not in ("", "none") else ""
        return (
            f"{here['cores']} cores of {here['processor']}{virtual}, {here['memory']} of memory, "
            f"{here['distribution']}, Linux {here['kernel']}"
        )

    @property
    def date(self) -> str:
        """The day of the run."""
        return time.strftime("%-d %B %Y", time.gmtime(self.results.started))


def adopt(found: Path, folder: Path) -> None:
    """Copy the results that are of a later run than those in the folder; remove from it what is of no part any more."""
    for name in PARTS + MACHINE_PARTS:
        here, there = found / f"{name}.json", folder / f"{name}.json"
        if here.exists() and not (there.exists() and load(there).started >= load(here).started):
            shutil.copy(here, there)
    for path in folder.glob("*.json"):
        if path.stem not in PARTS + MACHINE_PARTS:
            path.unlink()


def read(folder: Path) -> list[Part]:
    """All stored parts, in the order they run."""
    found = []
    for name in PARTS + MACHINE_PARTS:
        path = folder / f"{name}.json"
        if path.exists():
            stored = json.loads(path.read_text())
            found.append(Part(load(path), stored["machine"], stored["seconds"]))
    return found


def blocks(parts: Sequence[Part]) -> dict[str, str]:
    """What stands between the marks, by their names."""
    results = [part.results for part in parts]
    made = {
        "machine": machines(parts),
        "goals": goal_table(results),
        "summary": summary(parts),
        "growth": "\n\n".join(image(title) for title in curves(results)),
    }
    made["peers"] = "\n\n".join(image(name) for name in compared(results))
    for found in results:
        paragraphs = [found.about, part_table(found), "\n".join(f"- {note}" for note in found.notes)]
        made[f"part {found.part}"] = "\n\n".join(filter(None, paragraphs))
    return made


def summary(parts: Sequence[Part]) -> str:
    """For the README: some figures, and the first plot beside peers."""
    results = [part.results for part in parts]
    drawn = [f"![{name}](docs/performance/{slug(name)}.svg)" for name in compared(results)]
    places = dict.fromkeys(f"{part.place}, {part.date}" for part in parts if part.results.part in PARTS)
    return "\n\n".join([headline_table(results), *drawn[:1], "Measured on " + "; ".join(places) + "."])


def machines(parts: Sequence[Part]) -> str:
    """Where and when which parts ran."""
    places: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        places.setdefault((part.place, part.date), []).append(part.results.part)
    if len(places) == 1:
        ((place, date),) = places
        return f"Measured on {date} on {place}."
    return "\n".join(f"- {', '.join(names)}: on {date} on {place}." for (place, date), names in places.items())


def command(part: str) -> str:
    """What runs a part."""
    return f"make bench{'-vm' * (part in MACHINE_PARTS)} PARTS={part}"


def curves(results: Sequence[Results]) -> dict[str, Curve]:
    """All curves by their titles."""
    return {f"{found.part}: {curve.name}": curve for found in results for curve in found.curves}


def image(name: str) -> str:
    """A plot in Markdown."""
    return f"![{name}](performance/{slug(name)}.svg)"


def slug(name: str) -> str:
    """The name of a plot's file."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def plots(results: Sequence[Results]) -> dict[str, str]:
    """SVG by the name of its file."""
    made = {f"{slug(title)}.svg": plot.lines(curve, title) for title, curve in curves(results).items()}
    for name, (unit, values) in compared(results).items():
        made[f"{slug(name)}.svg"] = plot.bars(name, unit, values)
    return made


def fill(text: str, made: Mapping[str, str], document: str) -> str:
    """The document with these blocks. ValueError where a mark names what is no block."""

    def block(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        part = name.removeprefix("part ")
        if name not in made and part == name:
            raise ValueError(f"{document}: there is no block for <!-- bench: {name} -->: known are {', '.join(made)}")
        return f"{begin}\n{made.get(name, f'Not measured yet: `{command(part)}`.')}\n\n{end}"

    return BLOCK.sub(block, text)


def main() -> int:
    """Write plots and blocks; 1 where a part has no place in any document."""
    STORED.mkdir(parents=True, exist_ok=True)
    adopt(FOLDER, STORED)
    parts = read(STORED)
    made, drawn = blocks(parts), plots([part.results for part in parts])
    for path in STORED.glob("*.svg"):
        if path.name not in drawn:
            path.unlink()
    for name, svg in drawn.items():
        (STORED / name).write_text(svg)
    for path in DOCUMENTS:
        path.write_text(fill(path.read_text(), made, path.name))
    print(f"report: {len(parts)} parts, {len(drawn)} plots: docs/performance.md")
    marked = {name for path in DOCUMENTS for _, name, _ in BLOCK.findall(path.read_text())}
    if missing := made.keys() - marked:
        print(f"no document has a mark for: {', '.join(sorted(missing))}", file=sys.stderr)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main())
