"""Tests with links that need modules of a distribution's kernel. `make test-vm` runs them in a virtual machine.

A test file names its modules in MODULES. Where the kernel has none of that name, its tests are skipped.
"""

import subprocess

import pytest

from lib.fixtures import _root, left, namespace, right, wire  # noqa: F401 - found by their names


@pytest.fixture(autouse=True, scope="module")
def _modules(request: pytest.FixtureRequest) -> None:
    for name in request.module.MODULES:
        if subprocess.run(["modprobe", "--quiet", name], check=False).returncode:
            pytest.skip(f"the kernel has no module {name}: run `make test-vm`")
