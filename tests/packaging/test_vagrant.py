"""vagrant/: its Vagrantfile as vagrant itself judges it, for every machine and both providers; its scripts' syntax."""

import re
import subprocess
from pathlib import Path

import pytest

from .conftest import ENVIRONMENT, TREE

FOLDER = TREE / "vagrant"
MACHINES = ["debian12", "debian13", "ubuntu2404", "fedora", "alma9", "left", "right"]
PROVIDERS = ["libvirt", "virtualbox"]
# VirtualBox is no package of Debian's. Vagrant asks this program for its version and then knows the provider.
VBOXMANAGE = "#!/bin/sh\necho 7.0.20r163906\n"


class Vagrant:
    """Calls of vagrant that leave nothing behind, neither in the home folder nor in the tree."""

    def __init__(self, folder: Path) -> None:
        (folder / "bin").mkdir()
        program = folder / "bin/VBoxManage"
        program.write_text(VBOXMANAGE)
        program.chmod(0o755)
        self.variables = ENVIRONMENT | {
            "PATH": f"{folder / 'bin'}:{ENVIRONMENT['PATH']}",
            "VAGRANT_HOME": str(folder / "home"),
            "VAGRANT_DOTFILE_PATH": str(folder / "state"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",  # asks a server for new versions otherwise
        }

    def __call__(
        self, *arguments: str, provider: str = "libvirt", folder: Path = FOLDER, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = self.variables | {"VAGRANT_DEFAULT_PROVIDER": provider, "VAGRANT_CWD": str(folder)} | variables
        return subprocess.run(
            ["vagrant", *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture
def vagrant(tmp_path: Path) -> Vagrant:
    return Vagrant(tmp_path)


def machines(vagrant: Vagrant, provider: str) -> dict[str, str]:
    """Machine → the provider that vagrant would start it with."""
    done = vagrant("status", "--machine-readable", provider=provider)
    assert done.returncode == 0, done.stderr
    rows = [line.split(",") for line in done.stdout.splitlines()]
    return {row[1]: row[3] for row in rows if row[2] == "provider-name"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_machine_is_valid(vagrant: Vagrant, provider: str) -> None:
    assert machines(vagrant, provider) == dict.fromkeys(MACHINES, provider)
    done = vagrant("validate", provider=provider)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout
    assert "==>" not in done.stdout  # warnings come so


@pytest.mark.parametrize("provider", PROVIDERS)
def test_validation_reads_the_options_of_the_provider(vagrant: Vagrant, provider: str, tmp_path: Path) -> None:
    text = (FOLDER / "Vagrantfile").read_text()
    assert f"{provider}.cpus = 2" in text
    (tmp_path / "Vagrantfile").write_text(text.replace(f"{provider}.cpus = 2", f"{provider}.cups = 2"))
    done = vagrant("validate", provider=provider, folder=tmp_path)
    assert done.returncode != 0
    assert "cups" in done.stdout + done.stderr


@pytest.mark.parametrize("distribution", ["debian13", "fedora"])
def test_the_pair_can_be_any_distribution(vagrant: Vagrant, distribution: str) -> None:
    done = vagrant("validate", PAIR=distribution)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_pair_of_an_unknown_distribution_is_named(vagrant: Vagrant) -> None:
    done = vagrant("validate", PAIR="plan9")
    assert done.returncode != 0
    assert "PAIR=plan9 is no distribution" in done.stderr and "debian12, debian13" in done.stderr


def test_no_machine_starts_unnamed(vagrant: Vagrant) -> None:
    done = vagrant("up")
    assert "Bringing machine" not in done.stdout + done.stderr


def test_the_readme_names_every_machine_and_box() -> None:
    readme = (FOLDER / "README.md").read_text()
    boxes = set(re.findall(r'"([\w.-]+/[\w.-]+)"', (FOLDER / "Vagrantfile").read_text()))
    assert "almalinux/9" in boxes
    assert [name for name in [*MACHINES, *boxes] if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.sh")), ids=lambda path: path.name)
def test_script_is_sound(script: Path) -> None:
    assert script.stat().st_mode & 0o111, "not executable"
    assert script.read_text().startswith("#!/bin/bash\n# ")
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
