"""Compiles the BPF programs on this host with bcc, from the sources in the package; maps and loading are ours.

The module `bcc` is Debian's python3-bpfcc; PyPI's package of that name is something else.
"""

import ctypes
import importlib.resources
import os
import struct
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.features import kernel_features, tracing_features
from sampler.kernel.foreign import ForeignProgram
from sampler.kernel.maps import Maps
from sampler.kernel.refusal import refused

# Kernel UAPI, <linux/bpf.h>.
PROGRAM_TYPES = {"sample_xdp": 6, "sample_tc_ingress": 3, "sample_tc_egress": 3}  # BPF_PROG_TYPE_XDP, _SCHED_CLS
ATTACH_TYPES = {"observe_entry": 24, "observe_exit": 25}  # BPF_TRACE_FENTRY, BPF_TRACE_FEXIT
XDP_HAS_FRAGS = 1 << 5
INSTRUCTION = struct.Struct("=BBhi")  # operation, registers (source in the upper half), offset, immediate
INSTRUCTION_SIZE = INSTRUCTION.size
LOAD_MAP = 0x18, 1  # of an instruction: BPF_LD | BPF_IMM | BPF_DW, and the source BPF_PSEUDO_MAP_FD
LOG_SIZE = 16 * 1024 * 1024  # before Linux 6.4 a log that does not fit is an error of its own
STATE_FOLDER = Path("/var/lib/xdpfix")
ANY_OBSERVED = 0x7FFFFFFF  # compiled in where the descriptor of the map observed will stand

# Features and compiled tracing programs: a program that takes another one's place is to be observed at once.
_tracing: "WeakKeyDictionary[Maps, tuple[dict[str, int], dict[str, bytes]]]" = WeakKeyDictionary()


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


class LoadedPrograms:
    """Descriptors of loaded programs by name."""

    def __init__(self) -> None:
        self._fds: dict[str, int] = {}

    def fd(self, name: str) -> int:
        """The descriptor of a program, owned by this object."""
        return self._fds[name]

    def close(self) -> None:
        """Close the descriptors; an attached program lives on with its link."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BccPrograms(LoadedPrograms):
    """The programs on interfaces (sampler.kernel.loader.PROGRAMS) as bcc compiles them here."""

    def __init__(self, maps: Maps) -> None:
        super().__init__()
        instructions = compile_programs(maps, STATE_FOLDER)
        try:
            for name, kind in PROGRAM_TYPES.items():
                self._fds[name] = load_program(name, kind, instructions[name])
        except BaseException:
            self.close()
            raise


class BccTracing(LoadedPrograms):
    """The programs on a foreign program (sampler.kernel.loader.TRACING), whose map `observed` this descriptor is."""

    def __init__(self, maps: Maps, observed: int, foreign: ForeignProgram) -> None:
        super().__init__()
        try:
            for name, code in compiled_tracing(maps).items():
                self._fds[name] = load_tracing_program(name, with_map(code, ANY_OBSERVED, observed), foreign)
        except BaseException:
            self.close()
            raise


def compiled_tracing(maps: Maps) -> dict[str, bytes]:
    """The instructions of the tracing programs, compiled for these maps when they are first asked for."""
    features = tracing_features()
    if _tracing.get(maps, ({}, {}))[0] != features:
        _tracing[maps] = features, compile_tracing(maps, features, STATE_FOLDER)
    return _tracing[maps][1]


def compile_programs(maps: Maps, state: Path) -> dict[str, bytes]:
    """The instructions of each program on interfaces, naming these maps by descriptor."""
    return compile_source("sampler.bpf.c", PROGRAM_TYPES, maps.fds(), kernel_features(), state)


def compile_tracing(maps: Maps, features: dict[str, int], state: Path) -> dict[str, bytes]:
    """The same for the tracing programs; their map `observed` is ANY_OBSERVED."""
    fds = maps.fds() | {"observed": ANY_OBSERVED}
    return compile_source("observer.bpf.c", ATTACH_TYPES, fds, features, state)


def with_map(code: bytes, old: int, new: int) -> bytes:
    """Instructions that use the map of the descriptor `new` where they used `old`."""
    changed = bytearray(code)
    for start in range(0, len(code), INSTRUCTION_SIZE):
        operation, registers, _, immediate = INSTRUCTION.unpack_from(code, start)
        if (operation, registers >> 4) == LOAD_MAP and immediate == old:
            struct.pack_into("i", changed, start + 4, new)
    return bytes(changed)


def compile_source(
    name: str, programs: Collection[str], fds: Mapping[str, int], features: Mapping[str, int], state: Path
) -> dict[str, bytes]:
    """The instructions of these programs of a source file in the package."""
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
    source = importlib.resources.files("sampler") / "bpf" / name
    flags = [f"-D{feature}_FEATURE={value}" for feature, value in features.items()]
    flags += [f"-D{name}_FD={fd}" for name, fd in fds.items()]
    with importlib.resources.as_file(source) as path, CapturedOutput() as output:
        error_text, instructions = run_bcc(bcc, path, programs, flags, headers)
    if error_text:
        raise StartError(
            f"bcc cannot compile {path} ({error_text}): install the headers of this kernel, or use "
            f'loader = "libbpf"; the compiler says:\n{output.text[-2000:].strip()}'
        )
    return instructions


def run_bcc(
    bcc: Any, path: Path, programs: Collection[str], flags: list[str], headers: Path | None
) -> tuple[str, dict[str, bytes]]:
    """Compile; the reason of a failure, or the instructions."""
    flags = ["-DSAMPLER_BCC", f"-I{path.parent}", *flags]
    if headers is not None:
        os.environ["BCC_KERNEL_SOURCE"] = str(headers)
    try:
        module = bcc.BPF(src_file=os.fsencode(path), cflags=flags)
        try:
            return "", {name: module.dump_func(name.encode()) for name in programs}
        finally:
            module.cleanup()
    except Exception as error:  # bcc raises bare Exception
        return str(error), {}
    finally:
        if headers is not None:
            os.environ.pop("BCC_KERNEL_SOURCE", None)


def load_program(name: str, kind: int, instructions: bytes) -> int:
    """The descriptor of a newly loaded program on interfaces."""
    log = ffi.new("char[]", LOG_SIZE)
    flags = XDP_HAS_FRAGS if name == "sample_xdp" and kernel_features()["xdp_load_bytes"] else 0
    count = len(instructions) // INSTRUCTION_SIZE
    fd = int(lib.bpf_load_instructions(kind, name.encode(), instructions, count, flags, log, LOG_SIZE))
    return _loaded(name, fd, log)


def load_tracing_program(name: str, instructions: bytes, foreign: ForeignProgram) -> int:
    """The descriptor of a newly loaded program on a foreign one."""
    log = ffi.new("char[]", LOG_SIZE)
    count, kind = len(instructions) // INSTRUCTION_SIZE, ATTACH_TYPES[name]
    fd = int(
        lib.bpf_load_tracing(name.encode(), instructions, count, kind, foreign.fd, foreign.function, log, LOG_SIZE)
    )
    return _loaded(name, fd, log)


def _loaded(name: str, fd: int, log: "ffi.CData") -> int:
    if fd < 0:
        raise refused(name, -fd, ffi.string(log).decode(errors="replace"))
    return fd
