"""Plots as SVG text, legible on light and dark backgrounds: lines for curves, bars for what is compared.

Written here and not by a plotting library, so that the same results give the same octets everywhere, and a test can
tell that a plot is what the results give.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from bench.results import Curve
from bench.text import number, short

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 40, 52
ROW = 22  # of the legend, below
BAR, NAMES, VALUES = 26, 250, 96
# Okabe and Ito's, told apart by most who see few colours; lines differ in their marks, too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
MARKS = ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0", "M-4 -4h8v8h-8z", "M0 -5l5 9h-10z", "M0 -5l5 5l-5 5l-5 -5z")
# A grey that is legible on both, for viewers that know no colour schemes.
STYLE = (
    "text{font:13px sans-serif;fill:#768390}.grid{stroke:#808080;stroke-opacity:.35}.head{font-weight:bold}"
    ".end{text-anchor:end}.middle{text-anchor:middle}@media(prefers-color-scheme:light){text{fill:#24292f}}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"
)
LOGARITHMIC = 20  # an axis whose ends differ by more than this factor
APART = 48  # pixels between the numbers on the x axis


class Axis:
    """Where a value lies between two pixels."""

    def __init__(self, values: Sequence[float], begin: float, end: float, zero: bool) -> None:
        low, high = min(values), max(values)
        self.logarithmic = low > 0 and high / low > LOGARITHMIC
        if not self.logarithmic and zero:
            low = min(low, 0.0)
        if self.logarithmic and zero:
            low = 10 ** math.floor(math.log10(low))
        self.low, self.high = low, high if high > low else low + 1
        self.begin, self.end = begin, end

    def __call__(self, value: float) -> float:
        """Pixels of a value."""
        low, high = (math.log(end) for end in (self.low, self.high)) if self.logarithmic else (self.low, self.high)
        part = ((math.log(value) if self.logarithmic else value) - low) / (high - low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self) -> Iterator[float]:
        """Round numbers from low to high."""
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 3 else (1,)
            yield from (n * 10.0**d for d in decades for n in steps if self.low <= n * 10.0**d <= self.high * 1.001)
            return
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(n * unit for n in (1, 2, 5, 10) if n * unit >= rough * 0.9)
        first = math.ceil(self.low / step)
        yield from (n * step for n in range(first, math.floor(self.high / step * 1.001) + 1))


def lines(curve: Curve, title: str) -> str:
    """A curve with its axes and names."""
    points = [point for line in curve.lines.values() for point in line]
    x = Axis([point[0] for point in points], LEFT, WIDTH - RIGHT, zero=False)
    y = Axis([point[1] for point in points], HEIGHT - BOTTOM, TOP, zero=True)
    body = [_text(LEFT, 20, title, "head")]
    for tick in y.ticks():
        body += [_line(LEFT, y(tick), WIDTH - RIGHT, y(tick)), _text(LEFT - 8, y(tick) + 4, short(tick), "end")]
    last = -math.inf
    for value in sorted({point[0] for point in points}):
        if x(value) - last >= APART:
            last = x(value)
            body += [_line(last, HEIGHT - BOTTOM, last, HEIGHT - BOTTOM + 5)]
            body += [_text(last, HEIGHT - BOTTOM + 20, short(value), "middle")]
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, curve.x, "middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    body.append(f'<text class="middle" transform="translate(16 {middle:.1f}) rotate(-90)">{escape(curve.y)}</text>')
    for row, (label, line) in enumerate(curve.lines.items()):
        colour, mark = COLOURS[row % len(COLOURS)], MARKS[row % len(MARKS)]
        way = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in sorted(line))
        body.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [_mark(x(at), y(value), mark, colour) for at, value in line]
        down = HEIGHT + ROW * row
        body += [_mark(LEFT + 8, down, mark, colour), _text(LEFT + 22, down + 4, label)]
    return _svg(HEIGHT + ROW * len(curve.lines), body, f"{title}: {curve.y} by {curve.x}")


def bars(title: str, unit: str, values: Sequence[tuple[str, float]], ours: int = 0) -> str:
    """Horizontal bars, one a name; the bar number `ours` in a colour of its own."""
    height = TOP + BAR * len(values) + 12
    scale = (WIDTH - NAMES - VALUES) / max(value for _, value in values)
    body = [_text(12, 20, f"{title} ({unit})", "head")]
    for row, (name, value) in enumerate(values):
        top, colour = TOP + BAR * row, COLOURS[0] if row == ours else COLOURS[-1]
        body += [_text(NAMES - 10, top + 15, name, "end")]
        body += [_text(NAMES + value * scale + 8, top + 15, number(value))]
        body.append(f'<rect x="{NAMES}" y="{top}" width="{value * scale:.1f}" height="{BAR - 6}" fill="{colour}"/>')
    return _svg(height, body, f"{title}, {unit}")


def _svg(height: int, body: Sequence[str], title: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", *body, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{kind}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _mark(x: float, y: float, mark: str, colour: str) -> str:
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{mark}" fill="{colour}"/>'
