"""sdist → wheel → a fresh virtual environment: what is shipped is what works."""

import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

from .conftest import TREE, run

PACKAGES = ("sampler", "exporter")
OBJECTS = {"sampler/sampler.bpf.o", "sampler/observer.bpf.o"}


def committed(*patterns: str) -> set[str]:
    paths = run("git", "ls-tree", "-r", "--name-only", "HEAD", cwd=TREE).split()
    return {path for path in paths if not patterns or any(fnmatch(path, pattern) for pattern in patterns)}


@pytest.fixture(scope="module")
def wheel_files(wheel: Path) -> set[str]:
    """Paths in the wheel, those of its metadata folder left out."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    run("/usr/bin/python3", "-m", "venv", folder, cwd=folder)
    run(folder / "bin/pip", "install", "--quiet", wheel, cwd=folder)
    return folder


def test_sdist_is_the_commit(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert committed() - names == set()


def test_wheel_runs_on_every_python_from_3_11(wheel: Path) -> None:
    assert "-cp311-abi3-linux_" in wheel.name or "-cp311-abi3-manylinux" in wheel.name


def test_wheel_holds_the_packages_and_no_more(wheel_files: set[str]) -> None:
    # Modules and their data. C sources and build files stay in the sdist.
    packages = {path for path in committed("sampler/*", "exporter/*") if "/native/" not in path}
    built = {*(f"{package}/_native.abi3.so" for package in PACKAGES), *OBJECTS}
    strangers = {path for path in wheel_files - packages - built if not path.startswith("sampler/bpf/")}
    assert strangers == set()
    assert {path for path in packages if not path.endswith("meson.build")} - wheel_files == set()
    assert not [path for path in wheel_files if path.endswith("meson.build")]


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_holds_the_extension(wheel_files: set[str], package: str) -> None:
    assert f"{package}/_native.abi3.so" in wheel_files


def test_wheel_holds_the_bpf_object_and_its_source(wheel_files: set[str]) -> None:
    # The objects for the libbpf loader; the sources for the bcc loader, which compiles on the host.
    sources = {f"sampler/{path}" for path in committed("bpf/*.h", "bpf/*.bpf.c")}
    assert wheel_files >= OBJECTS
    assert "sampler/bpf/sampler.bpf.c" in wheel_files
    assert sources - wheel_files == set()


def test_wheel_carries_both_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "LICENSE"]
    assert len(names) == 2


@pytest.mark.parametrize("package", PACKAGES)
def test_installed_extension_imports(environment: Path, package: str) -> None:
    code = f"from {package}._native import ffi, lib; import {package}; print({package}.__file__)"
    where = run(environment / "bin/python", "-c", code, cwd=environment)
    assert Path(where.strip()).is_relative_to(environment)


def test_installed_program_tells_its_version(environment: Path) -> None:
    version = run(environment / "bin/xdpfix", "--version", cwd=environment)
    installed = run(environment / "bin/pip", "show", "xdpfix", cwd=environment)
    assert f"Version: {version.split()[-1]}\n" in installed


@pytest.mark.parametrize("command", ["run", "check", "show", "reload", "flush", "set", "top", "collect", "read"])
def test_installed_program_explains_its_commands(environment: Path, command: str) -> None:
    assert command in run(environment / "bin/xdpfix", "--help", cwd=environment)
    assert f"xdpfix {command}" in run(environment / "bin/xdpfix", command, "--help", cwd=environment)
