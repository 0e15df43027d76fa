"""The first file system of a virtual machine: busybox, the modules to mount the host's root, tests/vm/init."""

import lzma
import shutil
import subprocess
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")  # of busybox-static: without libraries
INIT = Path(__file__).parents[1] / "vm/init"
# What init mounts with. Each kernel builds some of them in.
NEEDED = ("virtio_pci", "9pnet_virtio", "9p", "overlay")


def module_order(modules: Path, names: tuple[str, ...] = NEEDED) -> list[Path]:
    """Files of the modules and of those they need, in the order to load them. `modules` is /lib/modules/RELEASE."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        # Needed ones stand the other way round: the last is loaded first (modules.dep(5)).
        needs[Path(path).name.partition(".ko")[0]] = [*reversed(needed.split()), path]
    builtin = {Path(line).stem for line in (modules / "modules.builtin").read_text().splitlines()}
    ordered: dict[str, None] = {}
    for name in names:
        if name not in builtin:
            ordered |= dict.fromkeys(needs[name])
    return [modules / path for path in ordered]


def write_initramfs(modules: Path, folder: Path) -> Path:
    """Make the archive in an empty folder."""
    tree = folder / "initramfs"
    for name in ("bin", "dev", "proc", "sys", "host", "writable", "root", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, tree / "bin/busybox")
    shutil.copy(INIT, tree / "init")
    (tree / "init").chmod(0o755)
    for number, path in enumerate(module_order(modules)):
        octets = path.read_bytes()
        if path.suffix == ".xz":
            octets = lzma.decompress(octets)
        # init loads them in the order of their names.
        (tree / "modules" / f"{number:02}-{path.name.partition('.')[0]}.ko").write_bytes(octets)
    listing = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    archive = folder / "initramfs.cpio"
    with archive.open("wb") as output:
        command = [BUSYBOX, "cpio", "-o", "-H", "newc"]
        subprocess.run(command, cwd=tree, input=listing.encode(), stdout=output, stderr=subprocess.DEVNULL, check=True)
    shutil.rmtree(tree)
    return archive
