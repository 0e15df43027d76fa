"""The tables of RFC 5471's tests and of what has no test in docs/ipfix.md, held to the lists and to the tests."""

import ast
import re
from pathlib import Path

from lib.requirements import REQUIREMENTS
from lib.rfc5471 import CASES, COLLECTOR, EXPORTER

TREE = Path(__file__).parents[2]
TESTS = "## The tests of RFC 5471"
UNTESTED = "## Requirements without a test"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def table(heading: str) -> dict[str, str]:
    """First cell of each row of a chapter's table → its last cell: the tests that are it, or why there is none."""
    chapter = (TREE / "docs/ipfix.md").read_text().split(f"{heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|\n").split("|") for line in chapter.splitlines() if re.match(r"\| \w*[-.\d]\d", line)]
    firsts = [row[0].strip() for row in rows]
    assert firsts and len(firsts) == len(set(firsts)), "a row is there twice"
    return {row[0].strip(): row[-1].strip() for row in rows}


def numbers_in_names() -> set[str]:
    """E-051 and the like, of all tests: names have them in front, as test_e051_... or test_t26_e071_..."""
    names = [
        match for path in (TREE / "tests").rglob("*.py") for match in re.findall(r"def (test_\w+)", path.read_text())
    ]
    leading = [re.match(r"test_((?:[a-z]\d{2,3}_)*)", name) for name in names]
    found = {number for match in leading if match for number in match[1].split("_") if number}
    return {f"{number[0].upper()}-{number[1:]}" for number in found}


def docstring(path: str, name: str) -> str:
    """What a test says of itself; KeyError where there is no such test."""
    tree = ast.parse((TREE / path).read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return ast.get_docstring(functions[name]) or ""


def test_every_test_of_the_rfc_has_a_row() -> None:
    assert list(table(TESTS)) == sorted(
        EXPORTER | COLLECTOR, key=lambda section: [int(part) for part in section.split(".")]
    )


def test_the_tests_of_the_table_are_there_and_name_their_section() -> None:
    named = [(section, *match) for section, cell in table(TESTS).items() for match in NAMED.findall(cell)]
    missing = [item for item in named if f"RFC 5471 {item[0]}" not in docstring(*item[1:])]
    assert named and missing == []


def test_what_has_no_test_says_why() -> None:
    silent = {section for section, cell in table(TESTS).items() if not NAMED.search(cell) and len(cell.split()) < 5}
    assert silent == set()


def test_each_requirement_has_a_test_or_says_why_not() -> None:
    untested = table(UNTESTED)
    named = numbers_in_names()
    cases = {number for numbers in CASES.values() for number in numbers.split()}
    assert named - set(REQUIREMENTS) - cases == set(), "a number that no list has"
    assert sorted(untested) == sorted(set(REQUIREMENTS) - named)
    assert [number for number, why in untested.items() if len(why.split()) < 5] == []


def test_each_section_of_the_rfc_has_its_cases() -> None:
    assert set(CASES) == set(EXPORTER | COLLECTOR)
