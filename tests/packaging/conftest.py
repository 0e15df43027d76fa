"""What the packaging tests share: the distributions, built once from this tree as a user would build them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# A `make` above us (make test-packaging) must not pass its flags and variables on.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
ENVIRONMENT["PATH"] = f"{BIN}:{os.environ['PATH']}"
ENVIRONMENT |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(TREE)}


def run(*command: str | Path, cwd: Path, timeout: float = 300) -> str:
    """Standard output of a command that must succeed; a failure shows all it printed."""
    result = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout)
    shown = " ".join(map(str, command))
    assert result.returncode == 0, f"{shown} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution. It holds what is committed: a file forgotten in git breaks what follows."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-P", "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, TREE, cwd=folder)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the unpacked sdist, not from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    run("tar", "-xzf", sdist, cwd=folder)
    (source,) = folder.iterdir()
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=out)
    (archive,) = out.iterdir()
    return archive
