"""The skip rule of tests/conftest.py, seen from outside: pytest runs a small suite that uses that file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

CASES = {
    "mark": "@pytest.mark.skip(reason='why')\ndef test_it(): pass",
    "call": "def test_it(): pytest.skip('why')",
    "fixture": "@pytest.fixture\ndef gone(): pytest.skip('why')\ndef test_it(gone): pass",
    "module": "pytest.skip('why', allow_module_level=True)",
}


def run(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder)
    (folder / "test_case.py").write_text(f"import pytest\n{source}\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", folder, folder]
    environment = os.environ | {"CI": ci, "PYTEST_ADDOPTS": ""}
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("case", CASES)
def test_a_skip_fails_in_ci_and_says_why(case: str, tmp_path: Path) -> None:
    result = run(tmp_path, CASES[case], ci="true")
    assert result.returncode != 0
    assert "nothing may be skipped. " in result.stdout
    assert "why" in result.stdout


@pytest.mark.parametrize("case", CASES)
def test_a_skip_is_a_skip_elsewhere(case: str, tmp_path: Path) -> None:
    result = run(tmp_path, CASES[case], ci="")
    assert "1 skipped" in result.stdout
    assert "failed" not in result.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    result = run(tmp_path, "@pytest.mark.xfail\ndef test_it(): assert False", ci="true")
    assert result.returncode == 0
    assert "1 xfailed" in result.stdout
