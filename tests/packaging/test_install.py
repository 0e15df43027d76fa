"""What `make install` and `make uninstall` do: staged with DESTDIR, then moved to where PREFIX says, and run there."""

import gzip
import shutil
from pathlib import Path

import pytest

from .conftest import TREE, run


class Installation:
    """An installation in a folder of the test, by way of a staging folder, as a package builder does it."""

    def __init__(self, folder: Path) -> None:
        self.stage = folder / "stage"
        self.root = folder / "root"
        self.variables = [f"DESTDIR={self.stage}", f"PREFIX={self.root}/usr", f"SYSCONFDIR={self.root}/etc"]

    def make(self, target: str) -> None:
        run("make", target, *self.variables, cwd=TREE)

    def staged(self) -> set[str]:
        """Staged files, relative to the root, each package of the private folder as one name."""
        top = self.stage / self.root.relative_to("/")
        paths = [path.relative_to(top) for path in top.rglob("*") if path.is_file()]
        private = Path("usr/lib/xdpfix")
        return {str(private if path.is_relative_to(private) else path) for path in paths}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    installation = Installation(tmp_path_factory.mktemp("install"))
    installation.make("install")
    return installation


FILES = {
    "etc/xdpfix/xdpfix.toml",
    "usr/bin/xdpfix",
    "usr/lib/systemd/system/xdpfix.service",
    "usr/lib/xdpfix",
    "usr/share/man/man8/xdpfix.8.gz",
}


def test_layout(installation: Installation) -> None:
    assert installation.staged() == FILES


def test_nothing_outside_the_staging_folder(installation: Installation) -> None:
    assert not installation.root.exists()


def test_staged_files_name_their_final_place(installation: Installation) -> None:
    top = installation.stage / installation.root.relative_to("/")
    for path in ["usr/bin/xdpfix", "usr/lib/systemd/system/xdpfix.service"]:
        text = (top / path).read_text()
        assert f"{installation.root}/usr/" in text
        assert str(installation.stage) not in text
        assert "/usr/local" not in text
    with gzip.open(top / "usr/share/man/man8/xdpfix.8.gz", "rt") as page:
        assert page.read() == (TREE / "docs/xdpfix.8").read_text()


def test_program_runs_where_it_was_moved_to(installation: Installation, tmp_path: Path) -> None:
    shutil.copytree(installation.stage / installation.root.relative_to("/"), installation.root)
    try:
        # From a folder with a package of the same name: the launcher must not look there.
        (tmp_path / "sampler").mkdir()
        (tmp_path / "sampler/__init__.py").write_text("raise SystemExit('the wrong sampler')\n")
        assert run(installation.root / "usr/bin/xdpfix", "--version", cwd=tmp_path).startswith("xdpfix ")
        configuration = installation.root / "etc/xdpfix/xdpfix.toml"
        run(installation.root / "usr/bin/xdpfix", "check", configuration, cwd=tmp_path)
    finally:
        shutil.rmtree(installation.root)


def test_a_changed_configuration_outlives_upgrade_and_uninstall(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    configuration = installation.stage / installation.root.relative_to("/") / "etc/xdpfix/xdpfix.toml"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("# changed\n")
    installation.make("install")
    assert installation.staged() == FILES
    assert configuration.read_text() == "# changed\n"
    installation.make("uninstall")
    assert installation.staged() == {"etc/xdpfix/xdpfix.toml"}
