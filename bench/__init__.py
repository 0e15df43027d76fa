"""The benchmarks: a module a part, `python -m bench.PART`; `python -m bench` runs them one after the other."""

import signal
import sys
from pathlib import Path

TREE = Path(__file__).parent.parent
# What the tests know of frames, namespaces and programs serves here too.
sys.path.insert(0, str(TREE / "tests"))


def end_at_sigterm() -> None:
    """Have SIGTERM raise SystemExit, so that context managers take down what they made; another one changes nothing."""

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)
