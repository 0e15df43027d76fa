"""The capture corpus: the test captures in Debian's source packages of tcpdump and nDPI, unpacked into .state/captures.

Run it (`python3 tests/lib/corpus.py`) to fetch what is missing; tests call `captures()`. Nothing under /etc or
/var/lib/apt is written: apt gets a sources list and state of its own, made from the archive that apt already
takes tcpdump's binary package from. Needs dpkg-dev (apt-get source wants it), and root where apt has no package lists.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / ".state" / "captures"
# Source package -> a binary package built from it, which names the archive.
PACKAGES = {"tcpdump": "tcpdump", "ndpi": "libndpi-bin"}
SUFFIXES = {".pcap", ".pcapng", ".cap"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def captures(package: str | None = None) -> list[Path]:
    """Capture files that were fetched, sorted, of one source package or of all; empty when nothing was fetched."""
    folder = CAPTURES / package if package else CAPTURES
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def source_lines(packages: list[str]) -> list[str]:
    """The deb-src lines of the archives that apt would take `packages` from."""
    table = subprocess.run(["apt-cache", "madison", *packages], check=True, capture_output=True, text=True).stdout
    option = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    archives = re.findall(r"\| (\S+) (\S+)/(\S+) \S+ Packages$", table, re.MULTILINE)
    return sorted({f"deb-src {option}{uri} {suite} {component}" for uri, suite, component in archives})


def fetch(package: str) -> None:
    """Download and unpack one source package and keep its captures in .state/captures/<package>."""
    lines = source_lines([PACKAGES[package]])
    if not lines:
        # An image of Debian comes without package lists.
        subprocess.run(["apt-get", "-q", "update"], check=True)
        lines = source_lines([PACKAGES[package]])
    if not lines:
        sys.exit(f"apt knows no archive with {PACKAGES[package]}: see what apt-get update says")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "sources.list").write_text("\n".join(lines) + "\n")
        (work / "lists").mkdir()
        (work / "cache").mkdir()
        options = {
            "Dir::Etc::SourceList": work / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": work / "lists",
            "Dir::Cache": work / "cache",
            # apt's download user cannot enter a private folder, and says so at every file.
            "APT::Sandbox::User": "root",
        }
        apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
        subprocess.run([*apt, "update"], check=True)
        # --tar-only: the packaging's own changes hold no captures, and mirrors may have dropped them.
        source = [*apt, "source", "--download-only", "--only-source", "--tar-only", package]
        subprocess.run(source, cwd=work, check=True)
        found = work / "found"
        for archive in work.glob("*.tar.*"):
            unpack(archive, found)
        if not found.exists():
            sys.exit(f"Debian's source package {package} holds no captures any more: choose another one")
        CAPTURES.mkdir(parents=True, exist_ok=True)
        # Put in place whole, so that an interrupted fetch is not taken for a complete one.
        shutil.move(found, CAPTURES / package)


def unpack(archive: Path, destination: Path) -> None:
    """Write the captures of a source archive into a flat folder (names that occur twice have the same content)."""
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and Path(member.name).suffix in SUFFIXES:
                destination.mkdir(exist_ok=True)
                content = members.extractfile(member)
                assert content is not None
                (destination / Path(member.name).name).write_bytes(content.read())


def main() -> None:
    """Fetch the source packages that are missing."""
    for package in PACKAGES:
        if not (CAPTURES / package).exists():
            fetch(package)
        print(f"{package}: {len(captures(package))} captures")


if __name__ == "__main__":
    main()
