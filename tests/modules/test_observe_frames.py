"""Frames at an observed XDP program: described as they arrived, like by the program on the interface itself.

They run in the virtual machines of `make test-vm`, beside test_observe_programs.py.
"""

import socket
from collections.abc import Iterator

import pytest

from lib.foreign import Foreign
from lib.frames import FRAMES
from lib.netns import Namespace, veth
from lib.observing import ALWAYS, DROP, IN, PASS, Observer, frame, verdicts
from lib.testrun import octets
from lib.traffic import send
from lib.tunnel_frames import FALLBACKS, PLAIN, ports
from lib.tunnel_frames import FRAMES as TUNNELLED
from sampler._native import lib
from sampler.captures.parser import parse
from sampler.kernel import loader_libbpf
from sampler.kernel.features import tracing_features
from sampler.kernel.tracer import Tracer

MODULES = ()

ALL = (
    FRAMES
    | {f"tunnel {name}": case.frame for name, case in TUNNELLED.items()}
    | {f"fallback {name}": octets_ for name, (octets_, _) in FALLBACKS.items()}
    | PLAIN
)
SHORTEST = 15  # the kernel takes no Ethernet frame without an octet behind the header


@pytest.fixture
def observer() -> Iterator[Observer]:
    with Observer() as observer:
        observer.take(ALWAYS)
        yield observer


def wire(observer: Observer, namespace: Namespace, mtu: int = 1500) -> int:
    ifindex, _ = veth(namespace, "a", None, namespace, "b", None, mtu)
    observer.open(ifindex)
    return ifindex


@pytest.mark.parametrize("buffers", [True, False], ids=["buffers", "before-5.18"])
def test_described_as_by_the_parser(observer, monkeypatch, buffers):
    """Every kind of header and tunnel, and one cut at every octet; also where the kernel knows one buffer a frame."""
    features = tracing_features() | ({} if buffers else {"xdp_load_bytes": 0})
    features.pop("own_namespace")
    monkeypatch.setattr(loader_libbpf, "tracing_features", lambda: tracing_features() | features)
    vxlan = TUNNELLED["vxlan"].frame
    frames = list(ALL.items()) + [(f"{n} octets", vxlan[:n]) for n in range(SHORTEST, len(vxlan))]
    with Namespace() as namespace, namespace.enter(), Foreign("foreign_program_with_a_long_name") as foreign:
        wire(observer, namespace)
        with foreign.on(namespace, "a"), Tracer(observer.maps, "libbpf", foreign.id):
            send(namespace, "b", [octets_ for _, octets_ in frames])
            taken = observer.samples(len(frames))
        for (name, sent), sample in zip(frames, sorted(taken, key=lambda sample: sample.meta.time), strict=True):
            assert octets(sample) == octets(parse(sent, ports=ports())), name
        assert sum(foreign.decided().values()) == len(frames)


def test_as_it_arrived(observer):
    """The program moves the head and rewrites what is behind it; its verdict is that of the frame as it was."""
    sent = frame(DROP, sport=7, dport=8)
    with Namespace() as namespace, namespace.enter(), Foreign("foreign_rewrite") as foreign:
        wire(observer, namespace)
        with foreign.on(namespace, "a"), Tracer(observer.maps, "libbpf", foreign.id):
            send(namespace, "b", [sent])
            (sample,) = observer.samples(1)
    assert verdicts([sample]) == {"DROP": 1}
    assert octets(sample) == octets(parse(sent))


def test_frames_of_several_buffers(observer):
    """Their length is that of all buffers. Headers behind the first one are not read, and counted."""
    size = 5000
    # The lengths in the packet are those of a short one, so that what is cut out leaves it whole.
    sent = frame(PASS).ljust(size, b"\0")
    with (
        Namespace() as namespace,
        namespace.enter(),
        Foreign("foreign_frags") as foreign,
        Foreign("foreign_cut") as cut,
    ):
        wire(observer, namespace, 9000)
        with foreign.on(namespace, "a"), cut.on(namespace, "b"), Tracer(observer.maps, "libbpf", foreign.id):
            found = {}
            for left in (64, 40, 14):
                cut.set("target", left)
                send(namespace, "a", [sent])
                (found[left],) = observer.samples(1)
            buffer = observer.counts()["buffer"]
        assert sum(foreign.decided().values()) == 3
    assert buffer == 2
    lengths = {left: sample.meta.frame_octets for left, sample in found.items()}
    assert lengths[64] - 24 == lengths[40] == lengths[14] + 26 > size / 4
    whole = parse(sent)
    for left, sample in found.items():
        assert bytes(sample.key.src_mac) == bytes(whole.key.src_mac), left
        assert sample.meta.flags == (0 if left == 64 else lib.SAMPLE_TRUNCATED), left
        assert sample.meta.verdict == lib.VERDICT_PASS, left
    assert octets(found[64])[48:] == octets(whole)[48:]
    assert bytes(found[40].key.src_addr) == bytes(whole.key.src_addr)
    assert (found[40].key.dst_port, socket.ntohs(found[64].key.dst_port)) == (0, 53)
    assert found[14].key.ip_version == 0


def test_in_one_buffer(observer):
    """A frame of several as it comes from the wire, whose headers are all in the first."""
    sent = frame(DROP, payload=8000)
    with Namespace() as namespace, namespace.enter(), Foreign("foreign_frags") as foreign:
        ifindex = wire(observer, namespace, 9000)
        with foreign.on(namespace, "a"), Tracer(observer.maps, "libbpf", foreign.id):
            send(namespace, "b", [sent])
            (sample,) = observer.samples(1)
    assert octets(sample) == octets(parse(sent))
    assert observer.counts()["buffer"] == 0
    assert observer.gates.observed() == {(ifindex, IN): 1}
