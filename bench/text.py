"""Numbers and tables as a document shows them."""

import math
from collections.abc import Sequence

UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float) -> str:
    """Three digits, or all before the point below 100 000, in groups of three."""
    if abs(value) >= 1e5:
        value = float(f"{value:.3g}")
    if value == int(value):
        return f"{int(value):,}".replace(",", " ")
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}".replace(",", " ")


def short(value: float) -> str:
    """For an axis: 65 k, 1 M."""
    for unit, letter in UNITS:
        if abs(value) >= unit:
            return f"{value / unit:.3g} {letter}"
    return f"{value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
