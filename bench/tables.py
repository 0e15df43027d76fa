"""Figures as tables: those of a part, and how they stand to their goals. Text out of results, nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Figure, Results
from bench.text import number, table


@dataclass(frozen=True)
class Row:
    """Figures of one unit that a table shows side by side, by the name of their column."""

    name: str
    cells: dict[str, Figure]

    @property
    def figures(self) -> list[Figure]:
        """Without their columns."""
        return list(self.cells.values())


def rows(figures: Sequence[Figure]) -> list[Row]:
    """Side by side where the first words of the names ("libbpf, xdp, 1:1") make columns of a table without a gap."""
    for depth in (2, 1):
        made: dict[str, dict[str, Figure]] = {}
        for figure in figures:
            words = figure.name.split(", ")
            made.setdefault(", ".join(words[depth:]), {})[", ".join(words[:depth])] = figure
        columns = {tuple(cells) for cells in made.values()}
        units = [{figure.unit for figure in cells.values()} for cells in made.values()]
        if "" not in made and len(made) > 1 and len(columns) == 1 and len(*columns) > 1 and max(map(len, units)) == 1:
            return [Row(name, cells) for name, cells in made.items()]
    return [Row(figure.name, {"": figure}) for figure in figures]


def part_table(results: Results) -> str:
    """All figures of a part."""
    made = rows(results.figures)
    columns = list(made[0].cells)
    head = [column or "median (least, most)" for column in columns]
    lines = [[row.name, *map(_measured, row.figures), row.figures[0].unit] for row in made]
    units = {row.figures[0].unit for row in made}
    if len(units) == 1:
        return table([*units, *head], [line[:-1] for line in lines])
    return table(["", *head, "unit"], lines)


def goal_table(parts: Sequence[Results]) -> str:
    """All figures that have a goal, by the part that measures them."""
    lines = []
    for results in parts:
        for row in rows(results.figures):
            if row.figures[0].met is None:
                continue
            missed = [column for column, figure in row.cells.items() if not figure.met]
            told = ", ".join(f"{number(figure.value)}{_of(column)}" for column, figure in row.cells.items())
            met = "yes" if not missed else f"no{_of('; '.join(filter(None, missed)))}"
            lines.append(
                [f"{results.part}: {row.name}", told, goal(row.figures[0]), met, f"`make bench PARTS={results.part}`"]
            )
    return table(["what", "measured", "goal", "met", "by"], lines)


def summary_table(parts: Sequence[Results]) -> str:
    """The same for a reader who has a minute: of what stands side by side the first column, the default."""
    found = [
        (f"{results.part}: {row.name}{_of(next(iter(row.cells)))}", row.figures[0])
        for results in parts
        for row in rows(results.figures)
        if row.figures[0].met is not None
    ]
    lines = [[name, f"{number(figure.value)} {figure.unit}", goal(figure)] for name, figure in found]
    return table(["what", "here", "goal"], lines)


def goal(figure: Figure) -> str:
    """What a figure is to be."""
    if figure.at_most is not None:
        return f"≤ {number(figure.at_most)} {figure.unit}"
    return f"≥ {number(figure.at_least or 0)} {figure.unit}"


def _of(column: str) -> str:
    return f" ({column})" if column else ""


def _measured(figure: Figure) -> str:
    if figure.low == figure.high:
        return number(figure.value)
    return f"{number(figure.value)} ({number(figure.low)}, {number(figure.high)})"
