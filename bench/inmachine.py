"""A benchmark in a virtual machine whose clocks count instructions: what bench/observed.py and datapaths.py share."""

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import TREE

DEADLINE = 900  # seconds
INSIDE = "--inside"


def in_machine(measure: Callable[[], None], *before: str) -> None:
    """Outside: start a machine with the kernel of the first argument, run `before` and this script, print what it says.

    Inside: `measure`.
    """
    if sys.argv[1:] == [INSIDE]:
        measure()
        return
    from lib.machine import Machine

    part = sys.modules["__main__"].__spec__.name
    kernel = sys.argv[1] if len(sys.argv) > 1 else "6.12"
    with TemporaryDirectory() as folder:
        machine = Machine((TREE / ".state/kernels" / kernel).resolve(), Path(folder), counting=True)
        done = machine.run([*before, f"{sys.executable} -m {part} {INSIDE}"], deadline=DEADLINE)
    print(f"Linux {machine.release}\n{done.output}{done.console * (done.code != 0)}")
    sys.exit(done.code)
