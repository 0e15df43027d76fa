"""The benchmarks: a module a part, `python -m bench.PART`; `python -m bench` runs them one after the other."""

import sys
from pathlib import Path

TREE = Path(__file__).parent.parent
# What the tests know of frames, namespaces and programs serves here too.
sys.path.insert(0, str(TREE / "tests"))
