"""The table of RFC 5471's tests in docs/ipfix.md, held to the RFC's list and to the tests that it names."""

import ast
import re
from pathlib import Path

from lib.rfc5471 import COLLECTOR, EXPORTER

TREE = Path(__file__).parents[2]
HEADING = "## The tests of RFC 5471"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def table() -> dict[str, str]:
    """Section of RFC 5471 → the last cell of its row: the tests that are it, or why there is none."""
    chapter = (TREE / "docs/ipfix.md").read_text().split(HEADING)[1].split("\n## ")[0]
    rows = [line.strip("|\n").split("|") for line in chapter.splitlines() if re.match(r"\| \d", line)]
    sections = [row[0].strip() for row in rows]
    assert len(sections) == len(set(sections)), "a section has two rows"
    return {row[0].strip(): row[-1].strip() for row in rows}


def docstring(path: str, name: str) -> str:
    """What a test says of itself; KeyError where there is no such test."""
    tree = ast.parse((TREE / path).read_text())
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return ast.get_docstring(functions[name]) or ""


def test_every_test_of_the_rfc_has_a_row() -> None:
    assert list(table()) == sorted(EXPORTER | COLLECTOR, key=lambda section: [int(part) for part in section.split(".")])


def test_the_tests_of_the_table_are_there_and_name_their_section() -> None:
    named = [(section, *match) for section, cell in table().items() for match in NAMED.findall(cell)]
    missing = [item for item in named if f"RFC 5471 {item[0]}" not in docstring(*item[1:])]
    assert named and missing == []


def test_what_has_no_test_says_why() -> None:
    silent = {section for section, cell in table().items() if not NAMED.search(cell) and len(cell.split()) < 5}
    assert silent == set()
