"""The report of the benchmarks: documents hold what the stored results give, and no number that a hand wrote."""

import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import plot, report
from bench.comparisons import compared
from bench.headlines import HEADLINES, headline_table
from bench.results import Curve, Figure, Results
from bench.tables import goal_table, part_table
from bench.text import number, short

SVG = "{http://www.w3.org/2000/svg}"


def figure(name: str, value: float, unit: str = "ns", **goal: float) -> Figure:
    return Figure(name, unit, value, value - 1, value + 1, **goal)


@pytest.mark.parametrize("path", report.DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_what_the_results_give(path: Path) -> None:
    text = path.read_text()
    assert report.BLOCK.search(text)
    assert report.fill(text, report.blocks(report.read(report.STORED)), path.name) == text


def test_plots_are_what_the_results_give() -> None:
    drawn = report.plots([part.results for part in report.read(report.STORED)])
    assert {path.name: path.read_text() for path in report.STORED.glob("*.svg")} == drawn


def test_all_results_are_shown() -> None:
    shown = {name for path in report.DOCUMENTS for _, name, _ in report.BLOCK.findall(path.read_text())}
    assert report.blocks(report.read(report.STORED)).keys() <= shown


@pytest.mark.parametrize(("started", "taken"), [(101.0, True), (100.0, False), (99.0, False)])
def test_only_a_later_run_takes_the_place_of_one(tmp_path: Path, started: float, taken: bool) -> None:
    found, folder = tmp_path / "found", tmp_path / "stored"
    store(folder, "packet", 100.0)
    before = (folder / "packet.json").read_text()
    store(found, "packet", started)
    report.adopt(found, folder)
    assert (folder / "packet.json").read_text() == ((found / "packet.json").read_text() if taken else before)


def test_results_are_those_of_the_parts_that_there_are(tmp_path: Path) -> None:
    found, folder = tmp_path / "found", tmp_path / "stored"
    store(found, "packet", 99.0)
    store(found, "nothing", 99.0)
    store(folder, "gone", 100.0)
    report.adopt(found, folder)
    assert [path.name for path in folder.iterdir()] == ["packet.json"]


def store(folder: Path, part: str, started: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{part}.json").write_text(json.dumps(asdict(Results(part, f"at {started}", started=started))))


def test_a_changed_result_is_seen() -> None:
    path = report.DOCUMENTS[0]
    parts = report.read(report.STORED)
    parts[0].results.figures.append(figure("made up", 1.5))
    assert report.fill(path.read_text(), report.blocks(parts), path.name) != path.read_text()


def test_a_mark_of_no_block() -> None:
    with pytest.raises(ValueError, match=r"README\.md: there is no block for <!-- bench: nonsense -->"):
        report.fill("<!-- bench: nonsense -->\n<!-- bench end -->", {}, "README.md")


def test_a_part_without_results_says_how_to_get_them() -> None:
    text = "<!-- bench: part packet -->\nold\n<!-- bench end -->"
    assert "`make bench PARTS=packet`" in report.fill(text, {}, "x.md")
    assert "old" not in report.fill(text, {}, "x.md")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (5, "5"),
        (2.434, "2.43"),
        (0.0312, "0.0312"),
        (12.345, "12.3"),
        (123.4, "123"),
        (56701, "56 701"),
        (3123078.4, "3 120 000"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_numbers_on_an_axis() -> None:
    assert [short(value) for value in (1, 250, 65536, 1e6)] == ["1", "250", "65.5 k", "1 M"]


def test_names_with_common_words_make_columns() -> None:
    names = [f"{loader}, {kind}, {what}" for loader in ("libbpf", "bcc") for kind in ("xdp", "tc") for what in "ab"]
    lines = part_table(Results("packet", "", [figure(name, 5) for name in names])).splitlines()
    assert lines[0] == "| ns | libbpf, xdp | libbpf, tc | bcc, xdp | bcc, tc |"
    assert lines[2] == "| a | 5 (4, 6) | 5 (4, 6) | 5 (4, 6) | 5 (4, 6) |"
    assert len(lines) == 4


def test_what_has_no_column_stands_below() -> None:
    names = ["xdp, gate", "tc, gate", "xdp, parse", "tc, parse", "the clock"]
    lines = part_table(Results("stages", "", [figure(name, 5) for name in names])).splitlines()
    assert lines[0] == "| ns | xdp | tc |"
    assert lines[4:] == ["", "| ns | median (least, most) |", "| --- | --- |", "| the clock | 5 (4, 6) |"]


def test_the_last_words_may_be_columns() -> None:
    names = ["ingest, 1 k flows", "ingest, 1 M flows", "encode, 1 k flows", "encode, 1 M flows"]
    lines = part_table(Results("cache", "", [figure(name, 5) for name in names])).splitlines()
    assert lines[0] == "| ns | ingest | encode |"
    assert lines[2] == "| 1 k flows | 5 (4, 6) | 5 (4, 6) |"


def test_names_without_are_listed() -> None:
    figures = [figure("a, b", 5), figure("start", 0.5, "s"), Figure("idle", "%", 0.1, 0.1, 0.1)]
    assert part_table(Results("process", "", figures)).splitlines()[2:] == [
        "| a, b | 5 (4, 6) | ns |",
        "| start | 0.500 (-0.500, 1.50) | s |",
        "| idle | 0.100 | % |",
    ]


def test_goals_that_are_met_and_those_that_are_not() -> None:
    figures = [
        figure("xdp, sampled", 140, at_most=130),
        figure("tc, sampled", 120, at_most=130),
        figure("xdp, not sampled", 2, at_most=10),
        figure("tc, not sampled", 3, at_most=10),
        figure("xdp, by rules", 7),
        figure("tc, by rules", 7, at_most=8),
    ]
    parts = [
        Results("packet", "", figures),
        Results("read", "", [figure("times the fastest", 6, "x", at_least=5), figure("xdpfix", 3)]),
    ]
    assert goal_table(parts).splitlines()[2:] == [
        "| packet: sampled | 140 (xdp), 120 (tc) | ≤ 130 ns | no (xdp) | `make bench PARTS=packet` |",
        "| packet: not sampled | 2 (xdp), 3 (tc) | ≤ 10 ns | yes | `make bench PARTS=packet` |",
        "| packet: by rules | 7 (tc) | ≤ 8 ns | yes | `make bench PARTS=packet` |",
        "| read: times the fastest | 6 | ≥ 5 x | yes | `make bench PARTS=read` |",
    ]


def test_goals_that_differ_stand_in_rows_of_their_own() -> None:
    figures = [
        figure(f"{name}, {flows}", 100, at_most=most) for name in "ab" for flows, most in (("1 k", 30), ("1 M", 130))
    ]
    # What is of one size alone makes columns of the sizes.
    assert goal_table([Results("cache", "", [*figures, figure("c, 1 k", 5)])]).splitlines()[2:4] == [
        "| cache: a, 1 k | 100 | ≤ 30 ns | no | `make bench PARTS=cache` |",
        "| cache: a, 1 M | 100 | ≤ 130 ns | yes | `make bench PARTS=cache` |",
    ]


def test_ours_is_the_first_bar() -> None:
    name = "user-space CPU a million packets"
    figures = [figure(f"softflowd: {name}", 4, "s"), figure(f"xdpfix: {name}", 3, "s"), figure("xdpfix: lost", 0)]
    found = compared([Results("paced", "", figures), Results("packet", "", [])])
    assert found == {"User-space CPU for a million packets": ("s", [("xdpfix", 3), ("softflowd", 4)])}
    assert compared([Results("packet", "", [])]) == {}


def test_a_comparison_without_figures_is_no_silent_one() -> None:
    with pytest.raises(AssertionError, match="no figure of paced"):
        compared([Results("paced", "", [figure("something else", 1)])])


def test_a_headline_is_a_figure() -> None:
    first = next(headline for headline in HEADLINES if headline.part == "process")
    names = [headline.figure for headline in HEADLINES if headline.part == "process"]
    found = headline_table([Results("process", "", [figure(name, 0.5, "s", at_most=1) for name in names])])
    assert found.splitlines()[2] == f"| {first.words} | 0.500 s | ≤ 1 s |"
    with pytest.raises(ValueError, match=f'process has no figure "{names[1]}"'):
        headline_table([Results("process", "", [figure(names[0], 0.5)])])


@pytest.mark.parametrize("highest", [5.0, 90.0, 1e6])
def test_a_curve_has_all_its_points(highest: float) -> None:
    curve = Curve("growth", "flows", "ns", {"a": [(1, 2.0), (1000, highest)], "b": [(1, 3.0), (10, 4.0)]})
    root = ElementTree.fromstring(plot.lines(curve, "part: growth <&>"))
    points = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in points] == [2, 2]
    # Marks in the plot, and one a line in the legend.
    assert len(list(root.iter(f"{SVG}path"))) == 6
    places = [float(place) for line in points for point in line for place in point.split(",")]
    assert min(places) >= 0
    assert max(places) <= plot.WIDTH
    assert places[0] < places[2]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"part: growth <&>", "flows", "ns", "a", "b"} <= set(texts)


def test_bars_are_as_long_as_their_values() -> None:
    root = ElementTree.fromstring(plot.bars("CPU", "s", [("xdpfix", 0.5), ("another", 2.0)]))
    lengths = [float(bar.attrib["width"]) for bar in root.iter(f"{SVG}rect")]
    assert lengths[1] / lengths[0] == pytest.approx(4, rel=0.01)
