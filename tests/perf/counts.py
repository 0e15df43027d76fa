"""All counts of user space and of the BPF programs together; `make counts` writes them into counts.toml."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from lib import callgrind
from lib.counts import Counts, here, judge
from tests.perf import programs

EXPECTED = Path(__file__).with_suffix(".toml")


def measure() -> Counts:
    """Count everything, as root; about 20 seconds on two cores."""
    with TemporaryDirectory() as one, TemporaryDirectory() as another, ThreadPoolExecutor() as pool:
        native = pool.submit(callgrind.count, "tests.perf.native", Path(one))
        return Counts(here(programs.KERNEL), programs.count(Path(another)) | native.result())


def main() -> None:
    """Rewrite the file, and say what changed."""
    before, now = Counts.read(EXPECTED), measure()
    now.write(EXPECTED)
    for name, count in now.counts.items():
        expected = before.counts.get(name)
        if expected is None:
            print(f"{name}: {count:.1f} instructions, new")
        elif judge(name, count, expected):
            print(f"{name}: {expected:.1f} -> {count:.1f} instructions ({100 * (count / expected - 1):+.1f} %)")
    for name in before.counts.keys() - now.counts.keys():
        print(f"{name}: not counted any more")


if __name__ == "__main__":
    main()
