"""The verifier's work is a budget, and its refusal an error that shows why."""

import pytest
from sampler._native import lib

from sampler.errors import StartError
from sampler.loader import PROGRAMS
from sampler.loader_bcc import load_program

BUDGET = 50_000  # instructions processed: loads in tens of milliseconds, with room to the kernel's million


@pytest.mark.parametrize("name", PROGRAMS)
def test_within_budget(kernel, name):
    processed = lib.bpf_verified_instructions(kernel.programs.fd(name))
    assert 0 < processed <= BUDGET


def test_refusal_shows_the_log():
    returns_nothing = bytes([0x95, 0, 0, 0, 0, 0, 0, 0])  # exit, with r0 never written
    with pytest.raises(StartError, match=r"verifier refuses the BPF program sample_xdp(.|\n)*R0 !read_ok"):
        load_program("sample_xdp", 6, returns_nothing)
