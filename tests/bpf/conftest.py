"""The loaded programs, once with each loader."""

import os
from collections.abc import Iterator

import pytest

from lib.testrun import IFINDEX, Kernel, set_tunnel_ports
from sampler._native import lib
from sampler.kernel.gates import Gates
from sampler.kernel.loader import load
from sampler.kernel.maps import Maps


@pytest.fixture(params=["libbpf", "bcc"], scope="session")
def loaded(request):
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")
    with Maps() as maps:
        set_tunnel_ports(maps)
        programs = load(request.param, maps)
        yield maps, programs
        programs.close()


@pytest.fixture
def kernel(loaded) -> Iterator[Kernel]:
    maps, programs = loaded
    allowed = os.sched_getaffinity(0)
    cpu = min(allowed)
    os.sched_setaffinity(0, {cpu})
    gates = Gates(maps)
    gates.open(IFINDEX, lib.DIRECTION_INGRESS)
    gates.open(IFINDEX, lib.DIRECTION_EGRESS)
    kernel = Kernel(maps, programs, gates, cpu, frozenset(allowed))
    kernel.take_all()
    yield kernel
    gates.close(IFINDEX, lib.DIRECTION_INGRESS)
    gates.close(IFINDEX, lib.DIRECTION_EGRESS)
    os.sched_setaffinity(0, allowed)
