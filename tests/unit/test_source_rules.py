"""The house rules that a machine can check, over every file that git follows."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
BUILT = {".venv", ".state", "build", "dist", "__pycache__"}
LARGEST = 400  # lines: a file that one person can hold in mind
# Written in two halves, so that this file keeps its own rules.
FORBIDDEN_WORDS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
REGISTRY_HOSTS = re.compile("|".join([r"pypi\." + "org", r"python" + r"hosted\.org", r"deb\." + r"debian\.org"]))
# cffi reads declarations without a preprocessor: only a plain #define of a number may stand in them.
BEYOND_CFFI = re.compile(r"^\s*#\s*(?!define\s+\w+\s+(0x[0-9a-fA-F]+|\d+)\s*(/\*.*)?$)", re.MULTILINE)


def followed(*patterns: str) -> list[Path]:
    """Files of the tree that match: git's and new ones; in an unpacked sdist, which has no git, all but built ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listing = subprocess.run(command, cwd=TREE, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        found = [path for pattern in patterns for path in TREE.rglob(pattern) if path.is_file()]
        return [path for path in found if not BUILT.intersection(path.relative_to(TREE).parts)]
    return [path for line in listing.stdout.splitlines() if (path := TREE / line).is_file()]


def text_files() -> list[Path]:
    return [path for path in followed("*") if b"\0" not in path.read_bytes()[:8000]]


def offenders(paths: list[Path], breaks_rule: Callable[[str], bool]) -> list[str]:
    assert paths, "no file to check: the pattern is wrong"
    return [str(path.relative_to(TREE)) for path in paths if breaks_rule(path.read_text())]


def python_files() -> list[Path]:
    return [path for path in followed("*.py") if path.read_text().strip()]


def test_no_file_is_too_long() -> None:
    paths = followed("*.py", "*.c", "*.h")
    assert offenders(paths, lambda text: len(text.splitlines()) > LARGEST) == []


def test_python_files_say_what_they_are() -> None:
    assert offenders(python_files(), lambda text: re.match(r'(#!.*\n)?"""\S', text) is None) == []


def test_c_files_say_what_they_are() -> None:
    opening = re.compile(r"(/\* SPDX-\S+ .*\*/\n|// SPDX-\S+ .*\n)?/\*[ \n]")
    assert offenders(followed("*.c", "*.h"), lambda text: opening.match(text) is None) == []


def test_the_house_names_every_room() -> None:
    """docs/architecture.md lists each Python module and each header of the BPF programs."""
    house = (TREE / "docs/architecture.md").read_text()
    modules = [path.stem for path in followed("sampler/*.py", "exporter/*.py") if path.parent.name != "native"]
    headers = [path.name for path in followed("bpf/*.h")]
    words = set(re.findall(r"[\w.]+", house))
    assert sorted({*modules, *headers} - words - {"__init__"}) == []


def test_no_forbidden_word() -> None:
    assert offenders(text_files(), lambda text: FORBIDDEN_WORDS.search(text) is not None) == []


def test_no_download_host_is_recorded() -> None:
    assert offenders(text_files(), lambda text: REGISTRY_HOSTS.search(text) is not None) == []


def test_tests_wait_for_conditions_and_do_not_sleep() -> None:
    # Two places may: wait.py polls, with a deadline, and replay.py paces what it sends.
    paths = [path for path in followed("tests/*.py") if path.name not in ("wait.py", "replay.py")]
    assert offenders(paths, lambda text: re.search(r"\btime\.sleep" + r"\(", text) is not None) == []


def test_c_declarations_hold_nothing_conditional() -> None:
    assert offenders(followed("*.def.h"), lambda text: BEYOND_CFFI.search(text) is not None) == []


@pytest.mark.parametrize("line", ["#ifdef X\n", "#include <x.h>\n", "#define A (1 << 2)\n", "  #define f(x) x\n"])
def test_the_rule_for_declarations_finds_what_it_forbids(line: str) -> None:
    assert BEYOND_CFFI.search("/* text */\n" + line)
    assert not BEYOND_CFFI.search("/* text */\n#define BATCH_SIZE 16\n#define MASK 0xff /* why */\n")


def test_tests_that_are_named_are_there() -> None:
    """Documents name the tests that show what they say; pytest leaves out no test under a name that it has not."""
    named = {
        match for path in text_files() for match in re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", path.read_text())
    }
    assert named
    assert [(path, name) for path, name in named if not re.search(rf"def {name}\(", (TREE / path).read_text())] == []
