"""Compiles the BPF programs on this host with bcc, from the source in the package; maps and loading are ours.

The module `bcc` is Debian's python3-bpfcc; PyPI's package of that name is something else.
"""

import ctypes
import importlib.resources
import os
import tempfile
from pathlib import Path
from typing import Any, Self

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.features import kernel_features
from sampler.kernel.maps import Maps
from sampler.kernel.refusal import refused

# Kernel UAPI, <linux/bpf.h>.
PROGRAM_TYPES = {"sample_xdp": 6, "sample_tc_ingress": 3, "sample_tc_egress": 3}  # BPF_PROG_TYPE_XDP, _SCHED_CLS
XDP_HAS_FRAGS = 1 << 5
INSTRUCTION_SIZE = 8
LOG_SIZE = 16 * 1024 * 1024  # before Linux 6.4 a log that does not fit is an error of its own
STATE_FOLDER = Path("/var/lib/xdpfix")


def kernel_headers(state: Path) -> Path | None:
    """The headers bcc is to use: None for those of the running kernel, which it finds itself.

    Else a tree in the state folder, merged by links from an installed linux-headers package: programs
    that use only UAPI types compile with the headers of another version.

    Raises:
        StartError: there are no headers at all, or the tree cannot be made.

    """
    if folder := os.environ.get("BCC_KERNEL_SOURCE"):
        if not Path(folder, "include").is_dir():
            raise StartError(
                f'BCC_KERNEL_SOURCE = {folder}: no kernel headers are there; unset it, or use loader = "libbpf"'
            )
        return None
    if Path(f"/lib/modules/{os.uname().release}/build").exists() or Path("/sys/kernel/kheaders.tar.xz").exists():
        return None
    for arch in sorted(Path("/usr/src").glob("linux-headers-*"), reverse=True):
        common = next(iter(sorted(Path("/usr/src").glob(f"{'-'.join(arch.name.split('-')[:4])}-common"))), None)
        if common is None or common == arch or not (arch / "include/generated").is_dir():
            continue
        return merge_headers(arch, common, state / "headers")
    raise StartError(
        f"No kernel headers for bcc ({os.uname().release} has none): install linux-headers-amd64 "
        '(linux-headers-arm64 on arm64), or use loader = "libbpf"'
    )


def merge_headers(arch: Path, common: Path, folder: Path) -> Path:
    """One tree out of Debian's two folders, as links: where both have a folder, it is merged in turn."""
    tree = folder / arch.name
    try:
        link_tree(tree, [arch, common])
    except OSError as error:
        raise StartError(f"Headers for bcc cannot be merged in {tree}: {error.strerror}") from error
    return tree


def link_tree(target: Path, sources: list[Path]) -> None:
    """Make target a folder of links to what the sources hold; the first source wins."""
    target.mkdir(parents=True, exist_ok=True)
    names = {path.name for source in sources for path in source.iterdir()}
    for name in names:
        found = [source / name for source in sources if (source / name).exists()]
        if len(found) > 1 and all(path.is_dir() for path in found):
            link_tree(target / name, found)
        elif found and not (target / name).is_symlink():
            (target / name).symlink_to(found[0])


class CapturedOutput:
    """What C code writes to descriptors 1 and 2 in a with block: bcc's compiler prints its errors there."""

    def __init__(self) -> None:
        self.text = ""

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile()
        self._saved = {number: os.dup(number) for number in (1, 2)}
        for number in self._saved:
            os.dup2(self._file.fileno(), number)
        return self

    def __exit__(self, *_: object) -> None:
        # What is written to no terminal stays in C's buffers until someone flushes them.
        ctypes.CDLL(None).fflush(None)
        for number, saved in self._saved.items():
            os.dup2(saved, number)
            os.close(saved)
        self._file.seek(0)
        self.text = self._file.read().decode(errors="replace")
        self._file.close()


class BccPrograms:
    """The programs as bcc compiles them here."""

    def __init__(self, maps: Maps) -> None:
        self._fds: dict[str, int] = {}
        instructions = compile_programs(maps, STATE_FOLDER)
        try:
            for name, kind in PROGRAM_TYPES.items():
                self._fds[name] = load_program(name, kind, instructions[name])
        except BaseException:
            self.close()
            raise

    def fd(self, name: str) -> int:
        """The descriptor of a program of PROGRAMS, owned by this object."""
        return self._fds[name]

    def close(self) -> None:
        """Close the descriptors; an attached program lives on with its link."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def compile_programs(maps: Maps, state: Path) -> dict[str, bytes]:
    """The instructions of each program, naming these maps by descriptor."""
    try:
        import bcc
    except ImportError as error:
        raise StartError(
            "The Python module bcc is missing: install Debian's python3-bpfcc (the package bcc on PyPI is something "
            'else), or use loader = "libbpf"'
        ) from error
    if not hasattr(bcc, "BPF"):
        raise StartError(
            "The Python module bcc is not the BPF compiler: uninstall PyPI's bcc, install Debian's python3-bpfcc"
        )
    headers = kernel_headers(state)
    source = importlib.resources.files("sampler") / "bpf" / "sampler.bpf.c"
    with importlib.resources.as_file(source) as path, CapturedOutput() as output:
        error_text, instructions = run_bcc(bcc, path, maps, headers)
    if error_text:
        raise StartError(
            f"bcc cannot compile {path} ({error_text}): install the headers of this kernel, or use "
            f'loader = "libbpf"; the compiler says:\n{output.text[-2000:].strip()}'
        )
    return instructions


def run_bcc(bcc: Any, path: Path, maps: Maps, headers: Path | None) -> tuple[str, dict[str, bytes]]:
    """Compile; the reason of a failure, or the instructions."""
    flags = ["-DSAMPLER_BCC", f"-I{path.parent}"]
    flags += [f"-D{name}_FEATURE={value}" for name, value in kernel_features().items()]
    flags += [f"-D{name}_FD={maps.fd(name)}" for name in maps.names()]
    if headers is not None:
        os.environ["BCC_KERNEL_SOURCE"] = str(headers)
    try:
        module = bcc.BPF(src_file=os.fsencode(path), cflags=flags)
        try:
            return "", {name: module.dump_func(name.encode()) for name in PROGRAM_TYPES}
        finally:
            module.cleanup()
    except Exception as error:  # bcc raises bare Exception
        return str(error), {}
    finally:
        if headers is not None:
            os.environ.pop("BCC_KERNEL_SOURCE", None)


def load_program(name: str, kind: int, instructions: bytes) -> int:
    """The descriptor of a newly loaded program."""
    log = ffi.new("char[]", LOG_SIZE)
    flags = XDP_HAS_FRAGS if name == "sample_xdp" and kernel_features()["xdp_load_bytes"] else 0
    count = len(instructions) // INSTRUCTION_SIZE
    fd = int(lib.bpf_load_instructions(kind, name.encode(), instructions, count, flags, log, LOG_SIZE))
    if fd < 0:
        raise refused(name, -fd, ffi.string(log).decode(errors="replace"))
    return fd
