"""The skip rule of tests/conftest.py, seen from outside: pytest runs a small suite that uses that file."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"

CASES = {
    "mark": "@pytest.mark.skip(reason='why')\ndef test_it(): pass",
    "call": "def test_it(): pytest.skip('why')",
    "fixture": "@pytest.fixture\ndef gone(): pytest.skip('why')\ndef test_it(gone): pass",
    "module": "pytest.skip('why', allow_module_level=True)",
}


def run(folder: Path, cases: dict[str, str], ci: str) -> subprocess.CompletedProcess[str]:
    """Run a file a case, whose names are those of the cases; `-rA` tells the outcome of each."""
    shutil.copy(CONFTEST, folder)
    for name, source in cases.items():
        (folder / f"test_{name}.py").write_text(f"import pytest\n{source}\n")
    options = [
        "-rA",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--continue-on-collection-errors",
        "--rootdir",
        folder,
    ]
    command = [sys.executable, "-m", "pytest", *options, folder]
    environment = os.environ | {"CI": ci, "PYTEST_ADDOPTS": "", "COLUMNS": "200"}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)


def told(output: str, case: str) -> str:
    """What the summary says of a case: the outcome, and the reason behind it."""
    (line,) = re.findall(rf"^([A-Z]+ .*\btest_{case}\.py\b.*)$", output, re.MULTILINE)
    return str(line)


def test_a_skip_fails_in_ci_and_says_why(tmp_path: Path) -> None:
    result = run(tmp_path, CASES, ci="true")
    assert result.returncode != 0
    for case in CASES:
        assert re.fullmatch(r"(FAILED|ERROR) .* nothing may be skipped\. Skipped: why", told(result.stdout, case))


def test_a_skip_is_a_skip_elsewhere(tmp_path: Path) -> None:
    result = run(tmp_path, CASES, ci="")
    assert f"{len(CASES)} skipped" in result.stdout
    assert "failed" not in result.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    result = run(tmp_path, {"it": "@pytest.mark.xfail\ndef test_it(): assert False"}, ci="true")
    assert result.returncode == 0
    assert "1 xfailed" in result.stdout
