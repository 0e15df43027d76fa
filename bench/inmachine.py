"""A benchmark in a virtual machine whose clocks count instructions: what bench/observed.py and datapaths.py share."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import TREE
from bench.results import FOLDER, Results
from lib.machine import SHARE, Machine

DEADLINE = 900  # seconds
INSIDE = "--inside"


def in_machine(part: str, about: str, measure: Callable[[Results], None], *before: str) -> None:
    """Outside: start a machine with the kernel that is named, run `before` and this module, store what it finds.

    Inside: `measure`.
    """
    if sys.argv[1:] == [INSIDE]:
        with Results(part, about) as results:
            measure(results)
        return
    kernel = sys.argv[1] if len(sys.argv) > 1 else "6.12"
    with TemporaryDirectory() as folder:
        machine = Machine((TREE / ".state/kernels" / kernel).resolve(), Path(folder), counting=True)
        command = f"XDPFIX_BENCH_FOLDER={SHARE} {sys.executable} -m bench.{part} {INSIDE}"
        done = machine.run([*before, command], deadline=DEADLINE)
        print(f"Linux {machine.release}\n{done.output}{done.console * (done.code != 0)}", end="")
        if done.code == 0:
            FOLDER.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(folder, f"{part}.json"), FOLDER)
    sys.exit(done.code)
