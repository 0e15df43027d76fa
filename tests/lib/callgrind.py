"""Instructions that C functions execute for Python, counted by valgrind's callgrind: the same number each time.

Counted is what happens between call and return of any C function of the extension modules (by cffi's own name for its
side of the call, so a function that is new or renamed is counted too), in the regions that the counted module names:

    with Counted() as counted:                  # the module, which valgrind runs
        with counted("a sample", 1000):
            exporter.ingest(batch, 1000)

    count("tests.perf.native", folder)                # the test: {"a sample": 726.6}

Threads that C functions start are not counted.
"""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from lib.machine import TREE

SOURCE = Path(__file__).with_suffix(".c")
VALGRIND = "valgrind"
FOLDER = "CALLGRIND_FOLDER"
LIBRARY, DUMPS, UNITS = "marks.so", "counts", "units.json"
# The C library's copying functions are chosen by the processor: here always those that every x86-64 has.
SAME_EVERYWHERE = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F,-AVX512VL,-ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2",
    "PYTHONHASHSEED": "0",
    "LD_BIND_NOW": "1",  # else the first call of a function looks for it
}
TIMEOUT = 300


class Counted:
    """The regions of the module that valgrind runs. A context manager: at its end the units of all are written."""

    def __init__(self) -> None:
        self._folder = Path(os.environ[FOLDER])
        self._library = ctypes.CDLL(str(self._folder / LIBRARY))
        self._units: dict[str, int] = {}

    @contextmanager
    def __call__(self, name: str, units: int) -> Iterator[None]:
        """Count what is done in the block, for `units` packets, samples or records."""
        assert name not in self._units, f"{name}: twice"
        self._units[name] = units
        self._library.count_begin()
        yield
        self._library.count_end(name.encode())

    def __enter__(self) -> Self:
        self._library.count_start()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            (self._folder / UNITS).write_text(json.dumps(self._units))


def count(module: str, folder: Path) -> dict[str, float]:
    """Run a module (python -m) in this empty folder; instructions a unit of each of its regions."""
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(folder / LIBRARY), str(SOURCE)]
    subprocess.run(command, check=True)
    command = [VALGRIND, "--quiet", "--tool=callgrind", f"--callgrind-out-file={folder / DUMPS}"]
    # Instrumented from the first region on; counted only inside the functions.
    command += ["--instr-atstart=no", "--collect-atstart=no", "--toggle-collect=_cffi_f_*"]
    environment = os.environ | SAME_EVERYWHERE | {FOLDER: str(folder), "PYTHONPATH": f"{TREE}:{TREE / 'tests'}"}
    done = subprocess.run(
        [*command, sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert not done.returncode, done.stdout + done.stderr
    units, found = json.loads((folder / UNITS).read_text()), dict(dumps(folder))
    return {name: found[name] / units[name] for name in units}


def dumps(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and instructions of each region, from callgrind's files (its manual, "Callgrind Format Specification")."""
    for path in folder.glob(f"{DUMPS}.*"):
        lines = dict(line.split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
        yield lines["desc"].removeprefix("Trigger: Client Request: "), int(lines["totals"])
