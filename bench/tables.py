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
    """All figures, those first whose names ("libbpf, xdp, 1:1"; "encode, 1 k flows") make a table without a gap."""
    found = max((_matrix(figures, depth) for depth in (2, 1, -1)), key=lambda made: sum(len(row.cells) for row in made))
    shown = [figure for row in found for figure in row.figures]
    return found + [Row(figure.name, {"": figure}) for figure in figures if figure not in shown]


def _matrix(figures: Sequence[Figure], depth: int) -> list[Row]:
    """Rows that have the same columns, which the first `depth` words of the names tell, or the last ones."""
    made: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        words = figure.name.split(", ")
        before, behind = ", ".join(words[:depth]), ", ".join(words[depth:])
        row, column = (behind, before) if depth > 0 else (before, behind)
        if row and column:
            made.setdefault(row, {})[column] = figure
    full = [Row(name, cells) for name, cells in made.items() if len({figure.unit for figure in cells.values()}) == 1]
    by_columns: dict[tuple[str, ...], list[Row]] = {}
    for row in full:
        if len(row.cells) > 1:
            by_columns.setdefault(tuple(row.cells), []).append(row)
    largest = max(by_columns.values(), key=len, default=[])
    return largest if len(largest) > 1 else []


def part_table(results: Results) -> str:
    """All figures of a part: a table for those that stand side by side, and one for the others."""
    made: dict[tuple[str, ...], list[Row]] = {}
    for row in rows(results.figures):
        made.setdefault(tuple(row.cells), []).append(row)
    return "\n\n".join(_figures_table(found) for found in made.values())


def _figures_table(found: Sequence[Row]) -> str:
    head = [column or "median (least, most)" for column in found[0].cells]
    lines = [[row.name, *map(_measured, row.figures), row.figures[0].unit] for row in found]
    units = {row.figures[0].unit for row in found}
    if len(units) == 1:
        return table([*units, *head], [line[:-1] for line in lines])
    return table(["", *head, "unit"], lines)


def goal_rows(results: Results) -> list[Row]:
    """What has a goal, without what stands beside it and has none; side by side only what has the same goal."""
    made = []
    for row in rows(results.figures):
        cells = {name: cell for name, cell in row.cells.items() if cell.met is not None}
        if len({goal(cell) for cell in cells.values()}) > 1:
            made += [Row(cell.name, {"": cell}) for cell in cells.values()]
        elif cells:
            made.append(Row(row.name, cells))
    return made


def goal_table(parts: Sequence[Results]) -> str:
    """All figures that have a goal, by the part that measures them."""
    lines = []
    for results in parts:
        for row in goal_rows(results):
            missed = [column for column, figure in row.cells.items() if not figure.met]
            told = ", ".join(f"{number(figure.value)}{_of(column)}" for column, figure in row.cells.items())
            met = "yes" if not missed else f"no{_of('; '.join(filter(None, missed)))}"
            name, way = f"{results.part}: {row.name}", f"`make bench PARTS={results.part}`"
            lines.append([name, told, goal(row.figures[0]), met, way])
    return table(["what", "measured", "goal", "met", "by"], lines)


def goal(figure: Figure) -> str:
    """What a figure is to be."""
    if figure.at_most is not None:
        return f"≤ {number(figure.at_most)} {figure.unit}".rstrip()
    return f"≥ {number(figure.at_least or 0)} {figure.unit}".rstrip()


def _of(column: str) -> str:
    return f" ({column})" if column else ""


def _measured(figure: Figure) -> str:
    if figure.low == figure.high:
        return number(figure.value)
    return f"{number(figure.value)} ({number(figure.low)}, {number(figure.high)})"
