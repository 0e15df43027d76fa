"""The AF_XDP application of tests/datapaths: compiled when it changed, started, asked for its counts, ended."""

import platform
import subprocess
from pathlib import Path
from typing import Self

from lib.netns import Namespace
from lib.wait import PATIENCE

TREE = Path(__file__).parents[2]
SOURCES = TREE / "tests/datapaths"
BUILT = TREE / ".state/datapaths"
PROGRAM, OBJECT = BUILT / "afxdp", BUILT / "afxdp.bpf.o"
CC = ("cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", str(SOURCES / "afxdp.c"), "-lbpf")
# With BTF, as programs of today have it.
CLANG = ("clang", "-g", "-O2", "-Wall", "-Werror", "-target", "bpf", "-c", str(SOURCES / "afxdp.bpf.c"))
# Frames that a link's rings hold: more than this at once may be lost.
RING = 1024


def build() -> None:
    """Compile program and application, unless they are newer than their sources."""
    BUILT.mkdir(parents=True, exist_ok=True)
    changed = max(source.stat().st_mtime for source in SOURCES.glob("*.c"))
    include = f"-I/usr/include/{platform.machine()}-linux-gnu"  # asm/types.h, which clang has not for this target
    for command, file in ((CC, PROGRAM), ((*CLANG, include), OBJECT)):
        if not file.exists() or file.stat().st_mtime < changed:
            subprocess.run([*command, "-o", str(file)], check=True)


class AfXdp:
    """It runs on one link (drops) or two (forwards). A context manager: enters when its programs are attached."""

    def __init__(self, namespace: Namespace, *links: str) -> None:
        build()
        pipe = subprocess.PIPE
        self._process = namespace.popen(str(PROGRAM), str(OBJECT), *links, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self._process.stdin and self._process.stdout and self._process.stderr

    def __enter__(self) -> Self:
        if self._process.stdout.readline() != "ready\n":
            raise AssertionError(f"it ended with {self._process.wait()}: {self._process.stderr.read()}")
        return self

    def counts(self) -> list[tuple[int, int]]:
        """(received, sent) of each link."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        numbers = list(map(int, self._process.stdout.readline().split()))
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        code = self._process.wait(20 * PATIENCE)
        said = self._process.stderr.read()
        self._process.stdout.close()
        self._process.stderr.close()
        assert code == 0, said
