"""vagrant/provision.sh on distributions that are not here: its choices and what it says, with stand-ins for programs.

That it prepares a Debian is shown by tests/vm, for real. No repository of Fedora or RHEL can be had here: what is shown
is that what a distribution lacks is named, and what it has is installed.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import TREE

SCRIPT = TREE / "vagrant/provision.sh"
FEDORA = 'ID=fedora\nVERSION_ID=43\nPRETTY_NAME="Fedora Linux 43"\n'
ALMA = 'ID="almalinux"\nVERSION_ID="9.6"\nPRETTY_NAME="AlmaLinux 9.6"\n'
UBUNTU = 'ID=ubuntu\nPRETTY_NAME="Ubuntu 24.04 LTS"\n'
ARCH = 'ID=arch\nPRETTY_NAME="Arch Linux"\n'
# What each stand-in does beside noting its arguments. $lacking: words that the distribution does not have.
STANDINS = {
    "dnf": """
last=${@: -1}
case "$*" in
    *"repoquery --queryformat"*) echo "$versioned" ;;
    *repoquery*) [[ " $lacking " == *" $last "* ]] || echo "$last" ;;
    *install*) for word in "$@"; do [[ " $lacking " != *" $word "* ]] || exit 1; done ;;
    *config-manager*) [[ " $lacking " != *" $last "* ]] ;;
esac""",
    "rpm": "exit 1",
    "python3": "exit $old",
    "python3.11": "",
    "uname": "[ $1 = -r ] && echo 6.1.0 || echo x86_64",
    "modprobe": '[[ " $lacking " != *" $1 "* ]]',
    "sysctl": "",
    "make": '[[ " $lacking " != *" make "* ]]',
}


@dataclass(frozen=True)
class Provisioned:
    """What a run of the script did."""

    code: int
    told: str
    calls: list[str]

    def installed(self) -> set[str]:
        calls = [call.split() for call in self.calls if " install " in call]
        return {word for call in calls for word in call[call.index("install") + 1 :]}


class Machine:
    """A folder that is all a machine has: the script, the release of its distribution, and programs."""

    def __init__(self, folder: Path, release: str, without: tuple[str, ...] = ()) -> None:
        self._folder = folder
        (folder / "calls").touch()
        for name in ("tree/vagrant", "tree/scripts", "tree/.venv/bin", "bin"):
            (folder / name).mkdir(parents=True)
        (folder / "os-release").write_text(release)
        text = SCRIPT.read_text()
        assert text.count("/etc/os-release") == 1
        (folder / "tree/vagrant/provision.sh").write_text(text.replace("/etc/os-release", str(folder / "os-release")))
        programs = {f"bin/{name}": body for name, body in STANDINS.items()}
        programs |= {"tree/scripts/install-packages": "", "tree/.venv/bin/python": "[ $1 = -c ] || echo Python 3.11.9"}
        for path, body in programs.items():
            if Path(path).name not in without:
                self.add(path, f'echo "{Path(path).name} $*" >> {folder}/calls\n{body}')
        for name in ("bash", "dirname", "sed", "sort", "tail"):
            (folder / "bin" / name).symlink_to(f"/usr/bin/{name}")

    def add(self, path: str, body: str) -> None:
        program = self._folder / path
        program.write_text(f"#!/bin/bash\n{body}\n")
        program.chmod(0o755)

    def provision(self, lacking: str = "", versioned: str = "", old: bool = False) -> Provisioned:
        environment = {"PATH": str(self._folder / "bin"), "lacking": lacking, "versioned": versioned, "old": f"{old:d}"}
        command = ["/bin/bash", self._folder / "tree/vagrant/provision.sh"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        return Provisioned(done.returncode, done.stderr, (self._folder / "calls").read_text().splitlines())


def test_fedora_has_everything(tmp_path: Path) -> None:
    done = Machine(tmp_path, FEDORA).provision()
    assert (done.code, done.told) == (0, "")
    assert {"clang", "python3-devel", "libbpf-devel", "xxhash-devel", "openvswitch", "python3-bcc"} <= done.installed()
    assert not any("config-manager" in call for call in done.calls)
    assert f"make --silent .state/built PYTHON={tmp_path}/bin/python3" in done.calls


def test_relatives_of_rhel_need_other_repositories_and_another_python(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ALMA)
    machine.add("tree/.venv/bin/python", "[ $1 = -c ] && exit 1; echo Python 3.11.9")
    done = machine.provision(
        versioned="openvswitch3.1\nopenvswitch3.10\nopenvswitch3.10-devel\nopenvswitch3.9", old=True
    )
    assert done.code == 0
    assert "dnf config-manager --set-enabled crb" in done.calls
    assert {"epel-release", "python3.11", "python3.11-devel", "openvswitch3.10"} <= done.installed()
    assert f"make --silent .state/built PYTHON={tmp_path}/bin/python3.11" in done.calls
    assert "Python 3.11.9 of AlmaLinux 9.6 has no module bcc" in done.told


def test_what_the_build_lacks_is_named_and_ends_it(tmp_path: Path) -> None:
    done = Machine(tmp_path, FEDORA).provision(lacking="xxhash-devel")
    assert done.code == 1
    assert "Fedora Linux 43 has no package xxhash-devel, which the build needs" in done.told
    assert not any(call.startswith("make") for call in done.calls)


def test_what_tests_lack_is_named_and_hinders_nothing(tmp_path: Path) -> None:
    done = Machine(tmp_path, FEDORA).provision(lacking="openvswitch kernel-devel-6.1.0 geneve")
    assert done.code == 0
    assert "Fedora Linux 43 has no package kernel-devel-6.1.0 openvswitch: tests that need it will fail" in done.told
    assert "kernel 6.1.0 has no module geneve" in done.told
    assert {"bpftool", "ethtool"} <= done.installed()
    assert any(call.startswith("make") for call in done.calls)


@pytest.mark.parametrize(
    ("lacking", "told"), [("crb", "AlmaLinux 9.6 has no repository"), ("epel-release", "does not know EPEL")]
)
def test_a_missing_repository_is_named(tmp_path: Path, lacking: str, told: str) -> None:
    done = Machine(tmp_path, ALMA).provision(lacking=lacking)
    assert done.code == 1
    assert told in done.told


def test_ubuntu_takes_what_follows_its_kernel(tmp_path: Path) -> None:
    machine = Machine(tmp_path, UBUNTU)
    machine.add("bin/apt-get", "")
    done = machine.provision()
    assert (done.code, done.told) == (0, "")
    assert "install-packages linux-headers-6.1.0 linux-modules-extra-6.1.0" in done.calls
    assert "make --silent machine-packages BPFTOOL=linux-tools-6.1.0" in done.calls


def test_a_refusal_of_apt_is_explained(tmp_path: Path) -> None:
    machine = Machine(tmp_path, UBUNTU)
    machine.add("bin/apt-get", "")
    done = machine.provision(lacking="make")
    assert done.code == 1
    assert "Ubuntu 24.04 LTS lacks a package named above" in done.told


def test_a_distribution_with_other_tools_is_told_what_to_do(tmp_path: Path) -> None:
    done = Machine(tmp_path, ARCH, without=("dnf",)).provision()
    assert done.code == 1
    assert "Arch Linux has neither apt-get nor dnf" in done.told and "BUILD_PACKAGES" in done.told
