"""What keeps a foreign XDP program from being observed, said in one clause. That it is: tests/modules."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import programs
from lib.foreign import Foreign, exists
from lib.refusal import forbidding_programs, mounting
from lib.wait import wait_until
from sampler.kernel import features, loader_bcc
from sampler.kernel.features import kernel_features, tracing_features
from sampler.kernel.foreign import ForeignProgram
from sampler.kernel.gates import Gates
from sampler.kernel.loader import load_tracing
from sampler.kernel.loader_bcc import with_map
from sampler.kernel.maps import Maps
from sampler.kernel.refusal import RefusedError
from sampler.kernel.tracer import ProgramGoneError, Tracer
from sampler.kernel.tracerrefusal import LOCKDOWN, TracerRefusedError
from sampler.kernel.tracers import Tracers

FOREIGN = "foreign_program_with_a_long_name"
# Prints the reason, as a process that was taken something from.
ASK = """
import sys
from sampler.kernel.maps import Maps
from sampler.kernel.tracer import Tracer
from sampler.kernel.tracerrefusal import TracerRefusedError
with Maps() as maps:
    try:
        Tracer(maps, "libbpf", int(sys.argv[1])).close()
    except TracerRefusedError as error:
        print(error.reason)
"""


def reason(program_id: int) -> str:
    with Maps() as maps, pytest.raises(TracerRefusedError) as refused:
        Tracer(maps, "libbpf", program_id)
    assert str(refused.value) == f"The XDP program {program_id} cannot be observed: {refused.value.reason}"
    return refused.value.reason


def reason_with(program_id: int, *before: str) -> str:
    """The reason given to a process that these commands start."""
    done = subprocess.run(
        [*before, sys.executable, "-c", ASK, str(program_id)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def id_of(fd: int) -> int:
    info = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in info if line.startswith("prog_id:"))


def test_a_program_that_is_gone():
    fd = programs.program("xdp", programs.XDP_PASS)
    number = id_of(fd)
    os.close(fd)
    wait_until(lambda: not exists(number))
    with Maps() as maps, pytest.raises(ProgramGoneError, match=f"The XDP program {number} is gone"):
        Tracer(maps, "libbpf", number)


def test_a_program_without_types():
    fd = programs.program("xdp", programs.XDP_PASS)
    try:
        assert reason(id_of(fd)).startswith("it has no type information (BTF)")
    finally:
        os.close(fd)


def test_a_program_whose_argument_is_no_frame():
    with Foreign("foreign_untyped") as foreign:
        assert reason(foreign.id).startswith("its main function does not take a struct xdp_md *")


def test_without_the_privilege():
    with Foreign(FOREIGN) as foreign:
        said = reason_with(foreign.id, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert said.startswith("to open programs of others takes CAP_SYS_ADMIN: start xdpfix as root")


@pytest.mark.parametrize(
    ("mode", "way_out"), [("integrity", "without lockdown"), ("confidentiality", "with lockdown=integrity")]
)
def test_lockdown(mode, way_out):
    shown = "none integrity confidentiality".replace(mode, f"[{mode}]")
    locked = mounting(f"mount -t tmpfs none {LOCKDOWN.parent}", f"echo '{shown}' > {LOCKDOWN}")
    with Foreign(FOREIGN) as foreign:
        assert reason_with(foreign.id, *locked, *forbidding_programs()) == (
            f"this kernel refuses tracing programs (lockdown={mode}); boot it {way_out}"
        )


def test_forbidden_without_lockdown():
    unlocked = mounting(f"mount -t tmpfs none {LOCKDOWN.parent}")
    with Foreign(FOREIGN) as foreign:
        assert reason_with(foreign.id, *unlocked, *forbidding_programs()) == (
            "this kernel refuses tracing programs (its lockdown, a security module or a container forbids them)"
        )


def test_where_the_kernel_has_its_structures():
    """The offsets that struct xdp_buff and its like have had as long as there was BTF, and those of this kernel."""
    features = tracing_features()
    assert (features["frame_data"], features["queue_device"]) == (0, 0)
    assert features["frame_end"] == 8
    assert all(features[name] for name in ("frame_queue", "device_ifindex", "device_namespace", "namespace_number"))
    assert features["own_namespace"] == Path("/proc/self/ns/net").stat().st_ino
    untraced = kernel_features()
    assert set(untraced) == set(features)
    assert not any(untraced[name] for name in features if name not in ("xdp_load_bytes", "skb_xfrm_state"))


def test_the_map_of_compiled_programs():
    """Each foreign program has a map of its own, put in where the compiler was told another one."""
    code = programs.instruction(0x18, 1, 1, 0, 77) + programs.instruction(0) + programs.instruction(0x18, 2, 1, 0, 78)
    code += programs.instruction(0) + programs.instruction(0xB7, 0, 0, 0, 77)
    changed = with_map(code, 77, 5)
    assert changed[4:8] == (5).to_bytes(4, sys.byteorder)
    assert changed[:4] + changed[8:] == code[:4] + code[8:]


@pytest.mark.parametrize("loader", ["libbpf", "bcc"])
def test_what_takes_long_is_done_before(loader, monkeypatch):
    """When a program is replaced, nobody waits for a compiler, nor for the kernel's BTF to be read."""
    with Maps() as maps, Foreign(FOREIGN) as foreign, ForeignProgram(foreign.id) as opened:
        Tracers(maps, loader).prepare()
        monkeypatch.setattr(loader_bcc, "compile_source", lambda *_: pytest.fail("compiled"))
        monkeypatch.setattr(features, "lib", None)
        # Not every kernel takes them.
        with contextlib.suppress(RefusedError):
            load_tracing(loader, maps, maps.fd("windows"), opened).close()


def test_samples_that_waited_are_lost():
    with Maps() as maps:
        gates = Gates(maps)
        maps.unanswered = 2
        for column in gates.counters():
            assert column["lost_verdict"] == 2
            assert sum(column.values()) == 2
