"""One tracer a foreign program, whichever interfaces have it, and no second try where it is refused."""

from pathlib import Path
from typing import Any

import pytest

from sampler.kernel import capabilities, tracerrefusal
from sampler.kernel.tracer import ProgramGoneError
from sampler.kernel.tracerrefusal import TracerRefusedError
from sampler.kernel.tracers import REFUSALS, Tracers


class Made:
    """Stands where a Tracer stands, and keeps a list of what is done."""

    def __init__(self, done: list[str], program: int) -> None:
        self.program_id = program
        self._done = done
        done.append(f"+{program}")

    def close(self) -> None:
        self._done.append(f"-{self.program_id}")


@pytest.fixture(autouse=True)
def _may_open_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "may_open_programs", lambda: True)
    monkeypatch.setattr(tracerrefusal, "LOCKDOWN", Path("/nowhere"))


def test_made_for_the_first_interface_closed_with_the_last() -> None:
    done: list[str] = []
    here = Tracers(None, "libbpf", lambda _, __, program: Made(done, program))  # type: ignore[arg-type, return-value]
    first, again, other = here.take(12), here.take(12), here.take(13)
    assert first is again
    assert done == ["+12", "+13"]
    here.give_back(first)
    here.give_back(other)
    assert done == ["+12", "+13", "-13"]
    here.give_back(again)
    assert done == ["+12", "+13", "-13", "-12"]
    here.give_back(here.take(12))
    assert done[4:] == ["+12", "-12"]


def test_what_was_refused_is_not_tried_again_and_what_is_gone_is() -> None:
    tried: list[int] = []

    def make(_: Any, __: Any, program: int) -> Any:
        tried.append(program)
        raise TracerRefusedError(program, f"no {program}") if program >= 10 else ProgramGoneError("gone")

    here = Tracers(None, "libbpf", make)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(TracerRefusedError, match="no 12") as caught:
            here.take(12)
        assert caught.value.reason == "no 12"
        with pytest.raises(ProgramGoneError):
            here.take(9)
    assert tried == [12, 9, 9]
    for program in range(100, 100 + REFUSALS):
        with pytest.raises(TracerRefusedError):
            here.take(program)
    assert len(here._refused) <= REFUSALS


def test_without_the_capability_it_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "may_open_programs", lambda: False)
    with pytest.raises(TracerRefusedError, match=r"CAP_SYS_ADMIN.*observe\.conf"):
        Tracers(None, "libbpf").take(12)  # type: ignore[arg-type]
    assert tracerrefusal.refusal() == tracerrefusal.NO_CAPABILITY


def test_what_lockdown_forbids(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for text, refused in (
        ("none integrity [confidentiality]\n", True),
        ("none [integrity] confidentiality\n", False),
        ("[none] integrity confidentiality\n", False),
        (None, False),
    ):
        file = tmp_path / "lockdown"
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(tracerrefusal, "LOCKDOWN", file)
        found = tracerrefusal.refusal()
        assert (found is not None and "lockdown=confidentiality" in found) is refused
        # The capability would change nothing there.
        monkeypatch.setattr(capabilities, "may_open_programs", lambda: False)
        assert (tracerrefusal.refusal() == tracerrefusal.NO_CAPABILITY) is not refused
        monkeypatch.setattr(capabilities, "may_open_programs", lambda: True)
