"""The systemd units: correct, and as tightly confined as the project promises. No running systemd is needed."""

import re
from pathlib import Path

import pytest

from .conftest import TREE, run

UNIT = TREE / "systemd/xdpfix.service"
DROP_INS = [TREE / f"systemd/{name}.conf" for name in ("bcc", "observe", "perf-event-paranoid")]
HIGHEST_EXPOSURE = 2.0  # of 10; a unit without any sandbox scores 9.6, with root instead of DynamicUser ours 2.3
CAPABILITIES = {"CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN"}


def values(key: str) -> list[str]:
    """All words that the unit assigns to a key."""
    return [word for line in re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE) for word in line.split()]


@pytest.fixture
def unit_here(tmp_path: Path) -> Path:
    """The unit with a program that exists, since verify looks for it."""
    program = tmp_path / "xdpfix"
    program.touch(mode=0o755)
    unit = tmp_path / "xdpfix.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/xdpfix", str(program)))
    return unit


@pytest.mark.parametrize("drop_in", [None, *DROP_INS], ids=lambda path: f"with-{path.stem}" if path else "alone")
def test_systemd_finds_no_fault(unit_here: Path, drop_in: Path | None) -> None:
    if drop_in:
        folder = unit_here.with_name("xdpfix.service.d")
        folder.mkdir()
        (folder / drop_in.name).write_text(drop_in.read_text())
    # The man page is checked by test_manual.py; here it is not installed.
    assert run("systemd-analyze", "verify", "--man=no", unit_here, cwd=unit_here.parent) == ""


def test_verify_would_see_a_misspelt_key(unit_here: Path) -> None:
    unit_here.write_text(unit_here.read_text().replace("ProtectSystem=", "ProtectSytem="))
    with pytest.raises(AssertionError, match="ProtectSytem"):
        verify = f"! systemd-analyze verify --man=no {unit_here} 2>&1 | grep ProtectSytem"
        run("sh", "-c", verify, cwd=unit_here.parent)


def test_exposure(unit_here: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE * 10:.0f}"]
    run(*command, unit_here, cwd=unit_here.parent)


def test_exposure_would_see_a_looser_unit(unit_here: Path) -> None:
    unit_here.write_text(unit_here.read_text().replace("DynamicUser=yes\n", "").replace("ProtectHome=yes\n", ""))
    with pytest.raises(AssertionError, match="Overall exposure"):
        test_exposure(unit_here)


def test_capabilities_are_those_explained() -> None:
    assert set(values("CapabilityBoundingSet")) == CAPABILITIES
    assert set(values("AmbientCapabilities")) == CAPABILITIES
    assert (
        set(re.findall(r"^\| `(CAP_\w+)` \|", (TREE / "docs/operations.md").read_text(), re.MULTILINE)) == CAPABILITIES
    )


def test_the_calls_that_the_service_needs_survive_the_filter() -> None:
    # The last line counts: a deny line after it would take bpf(2) away again, which is one of @privileged.
    filters = re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert {"bpf", "perf_event_open", "capset", "sched_setattr"} <= set(filters[-1].split())
    assert "~@privileged @resources" in filters
