"""The verifier's work is a budget, and its refusal an error that shows why."""

import importlib.resources
import platform
import subprocess
from pathlib import Path

import pytest

from lib.bpfgraph import has_cycle, sections
from lib.frames import FRAMES
from lib.testrun import run
from sampler._native import ffi, lib
from sampler.errors import StartError
from sampler.kernel.features import kernel_features, tracing_features
from sampler.kernel.loader import PROGRAMS, TRACING
from sampler.kernel.loader_bcc import compile_programs, compile_tracing, load_program
from sampler.kernel.maps import Maps

BUDGET = 50_000  # instructions processed: loads in tens of milliseconds, with room to the kernel's million


@pytest.mark.parametrize("name", PROGRAMS)
def test_within_budget(kernel, name):
    processed = lib.bpf_verified_instructions(kernel.programs.fd(name))
    assert 0 < processed <= BUDGET


def test_refusal_shows_the_log():
    returns_nothing = bytes([0x95, 0, 0, 0, 0, 0, 0, 0])  # exit, with r0 never written
    with pytest.raises(StartError, match=r"verifier refuses the BPF program sample_xdp(.|\n)*R0 !read_ok"):
        load_program("sample_xdp", 6, returns_nothing)


def test_the_arm64_object_here(kernel, tmp_path):
    """What differs for arm64 is the atomic that publishes a sample: the verifier takes it, and it counts."""
    target = tmp_path / "arm64.bpf.o"
    source = Path(__file__).parents[2] / "bpf/sampler.bpf.c"
    # Debian's folder of <asm/types.h>. Not every clang knows -print-multiarch: Debian 13's does not.
    include = f"{platform.machine()}-linux-gnu"
    command = ["clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]
    command += ["-D__TARGET_ARCH_arm64", "-idirafter", f"/usr/include/{include}", "-c", str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    octets = target.read_bytes()
    features = ffi.new("struct kernel_features *", kernel_features())
    programs = lib.bpf_programs_open(octets, len(octets), features)
    assert programs
    try:
        for name, fd in kernel.maps.fds().items():
            assert lib.bpf_programs_set_map(programs, name.encode(), fd) == 0
        assert lib.bpf_programs_load(programs) == 0, ffi.string(lib.bpf_programs_log(programs))[-500:]
        for name in PROGRAMS:
            fd = lib.bpf_programs_fd(programs, name.encode())
            assert 0 < lib.bpf_verified_instructions(fd) <= BUDGET
            before = kernel.state().batch.sequence
            run(fd, "xdp" if name == "sample_xdp" else "tc", FRAMES["ipv4 tcp"], 40)
            assert kernel.state().batch.sequence == before + 40
    finally:
        lib.bpf_programs_close(programs)


def test_programs_have_no_loop(tmp_path):
    """Older kernels (seen: 6.1) refuse some loops by the layout of their blocks ("back-edge from insn")."""
    package = importlib.resources.files("sampler")
    paths = [Path(str(package.joinpath(f"{name}.bpf.o"))) for name in ("sampler", "observer")]
    found = [section for path in paths for section in sections(path)]
    assert {name: has_cycle(code) for name, code in found} == dict.fromkeys(["tc", "xdp", "fentry", "fexit"], False)
    with Maps() as maps:
        compiled = compile_programs(maps, tmp_path) | compile_tracing(maps, tracing_features(), tmp_path)
    assert {name: has_cycle(code) for name, code in compiled.items()} == dict.fromkeys([*PROGRAMS, *TRACING], False)


def test_a_loop_is_seen():
    jump_back = bytes.fromhex("b7000000000000000700000001000000a500feff0a0000009500000000000000")
    assert has_cycle(jump_back)
    assert not has_cycle(jump_back[:16] + jump_back[24:])
