"""Tracing programs on foreign XDP programs: what passes one is what is sampled, with its verdict.

Not every kernel takes them (lockdown), so they run in the virtual machines of `make test-vm`.
"""

import math
import os
import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import pytest

from lib.foreign import Extension, Foreign, exists
from lib.netns import Namespace, veth
from lib.observing import ABORTED, ALWAYS, DROP, IN, PASS, REDIRECT, TX, UNKNOWN, Observer, expected, frame, verdicts
from lib.traffic import send
from lib.wait import wait_until
from sampler._native import lib
from sampler.kernel.loader import TRACING
from sampler.kernel.tracer import ProgramGoneError, Tracer

MODULES = ()

BUDGET = 50_000  # instructions, as in tests/bpf/test_verifier.py
FOREIGN = "foreign_program_with_a_long_name"
# A false alarm of 1e-6, both tails of the normal law together.
SIGMAS = 4.892


@pytest.fixture(scope="module")
def shared() -> Iterator[Observer]:
    with Observer() as observer:
        yield observer


@pytest.fixture
def observer(shared: Observer) -> Iterator[Observer]:
    shared.take(ALWAYS)
    yield shared
    shared.close_gates()
    shared.samples()


@pytest.fixture
def link(observer: Observer) -> Iterator[tuple[Namespace, int]]:
    """A namespace, in which we are, with a veth whose end "a" is observed; frames come from "b"."""
    with Namespace() as namespace, namespace.enter():
        ifindex, _ = veth(namespace, "a", None, namespace, "b", None)
        observer.open(ifindex)
        yield namespace, ifindex


@pytest.mark.parametrize(
    ("loader", "generic"), [("libbpf", False), ("libbpf", True), ("bcc", False)], ids=["libbpf", "generic", "bcc"]
)
def test_verdicts(observer, link, loader, generic):
    """One pair of programs for both, and a gate for each; the foreign program's own counts are the truth."""
    namespace, first = link
    second, _ = veth(namespace, "c", None, namespace, "d", None)
    observer.open(second)
    actions = [ABORTED, DROP, DROP, PASS, PASS, PASS, TX, REDIRECT, REDIRECT, UNKNOWN]
    with Foreign(FOREIGN) as foreign, foreign.on(namespace, "a", generic), foreign.on(namespace, "c", generic):
        foreign.set("target", second)
        with Tracer(observer.maps, loader, foreign.id) as tracer:
            assert tracer.name == FOREIGN
            send(namespace, "b", map(frame, actions))
            send(namespace, "d", map(frame, actions[:5]))
            taken = observer.samples(15)
        decided = foreign.decided()
        assert verdicts(taken) == expected(decided)
        assert sum(decided.values()) == len(taken) == 15
        on_second = [sample for sample in taken if sample.key.ifindex == second]
        assert verdicts(on_second) == {"ABORTED": 1, "DROP": 2, "PASS": 2}
        assert observer.gates.observed() == {(first, IN): 10, (second, IN): 5}
        assert {(sample.meta.ingress_ifindex, sample.meta.egress_ifindex) for sample in taken} == {
            (first, 0),
            (second, 0),
        }
        send(namespace, "b", [frame(PASS)])
        wait_until(lambda: sum(foreign.decided().values()) == 16)
        assert observer.gates.observed()[first, IN] == 10, "observed though closed"
        with observer.loaded(loader, foreign.id) as programs:
            processed = {name: lib.bpf_verified_instructions(programs.fd(name)) for name in TRACING}
        assert all(0 < count <= BUDGET for count in processed.values()), processed
    assert observer.counts()["lost_verdict"] == 0


def test_behind_a_tail_call(observer, link):
    """The verdict is that of the program that ends."""
    namespace, _ = link
    with Foreign("foreign_first", "foreign_last") as foreign, foreign.on(namespace, "a"):
        foreign.set("next", foreign.fd_of("foreign_last"))
        with Tracer(observer.maps, "libbpf", foreign.id) as tracer:
            assert tracer.name == "foreign_first"
            send(namespace, "b", map(frame, [DROP, PASS, PASS, TX, UNKNOWN]))
            assert verdicts(observer.samples(5)) == expected(foreign.decided())
        assert foreign.decided()["TX"] == 1


def test_dispatchers(observer, link):
    """With a member in the place of a function the verdict is the dispatcher's; in its own place, the member's."""
    namespace, _ = link
    actions = [DROP, PASS, PASS, TX]
    for function, name, verdict in (
        ("member", "foreign_dispatcher", "ABORTED"),
        ("foreign_dispatcher", "foreign_extension", "PASS"),
    ):
        with Foreign("foreign_dispatcher") as foreign, Extension(foreign, function) as extension:
            with foreign.on(namespace, "a"), Tracer(observer.maps, "libbpf", foreign.id) as tracer:
                observed = extension if name == "foreign_extension" else foreign
                assert (tracer.program_id, tracer.observed_id, tracer.name) == (foreign.id, observed.id, name)
                send(namespace, "b", map(frame, actions))
                assert verdicts(observer.samples(4)) == {"DROP": 1, verdict: 2, "TX": 1}
            assert extension.decided() == {"DROP": 1, "PASS": 2, "TX": 1}
            numbers = foreign.id, extension.id
        wait_until(lambda numbers=numbers: not any(map(exists, numbers)))


def test_one_program_in_two_places(observer, link):
    """Dispatchers of two interfaces, in whose place is the same program: each frame counts once."""
    namespace, first = link
    second, _ = veth(namespace, "c", None, namespace, "d", None)
    observer.open(second)
    with (
        Foreign("foreign_dispatcher") as one,
        Foreign("foreign_dispatcher") as other,
        Extension(one, "foreign_dispatcher") as extension,
        one.on(namespace, "a"),
        other.on(namespace, "c"),
    ):
        extension.extend(other, "foreign_dispatcher")
        tracers = [Tracer(observer.maps, "libbpf", foreign.id) for foreign in (one, other)]
        for tracer in tracers:
            send(namespace, "b", [frame(DROP)] * 2)
            send(namespace, "d", [frame(TX)] * 3)
            assert verdicts(observer.samples(5)) == {"DROP": 2, "TX": 3}
            tracer.close()
        assert extension.decided() == {"DROP": 4, "TX": 6}
        assert observer.gates.observed() == {(first, IN): 4, (second, IN): 6}


def test_other_namespaces_are_not_ours(observer, link):
    """Two interfaces of one number, with one program."""
    namespace, ifindex = link
    with Namespace() as other, Foreign(FOREIGN) as foreign:
        other.run("ip", "link", "add", "name", "a", "index", f"{ifindex}", "type", "veth", "peer", "name", "b")
        for name in ("a", "b"):
            other.run("ip", "link", "set", "dev", name, "addrgenmode", "none")
            other.up(name)
        with foreign.on(namespace, "a"), foreign.on(other, "a"), Tracer(observer.maps, "libbpf", foreign.id):
            send(other, "b", [frame(DROP)] * 3)
            send(namespace, "b", [frame(PASS)] * 2)
            taken = observer.samples(2)
            wait_until(lambda: foreign.decided() == {"DROP": 3, "PASS": 2})
        assert verdicts(taken + observer.samples()) == {"PASS": 2}
        assert observer.gates.observed() == {(ifindex, IN): 2}


def test_gates_that_are_not_observed(observer, link):
    """A gate for tc: what its program counts, the tracing programs do not count again."""
    namespace, ifindex = link
    observer.close_gates()
    observer.gates.open(ifindex, IN)
    with Foreign(FOREIGN) as foreign, foreign.on(namespace, "a"), Tracer(observer.maps, "libbpf", foreign.id):
        send(namespace, "b", [frame(DROP)] * 3)
        wait_until(lambda: foreign.decided() == {"DROP": 3})
    assert observer.gates.observed() == {(ifindex, IN): 0}
    assert observer.samples() == []


def test_one_in_ten(observer, link):
    namespace, ifindex = link
    observer.take(Fraction(1, 10))
    count = 3000
    with Foreign(FOREIGN) as foreign, foreign.on(namespace, "a"), Tracer(observer.maps, "libbpf", foreign.id):
        send(namespace, "b", [frame(PASS), frame(DROP)] * (count // 2))
        wait_until(lambda: sum(foreign.decided().values()) == count)
    assert observer.gates.observed() == {(ifindex, IN): count}
    taken = verdicts(observer.samples())
    for verdict in ("PASS", "DROP"):
        assert abs(taken[verdict] - count / 20) < SIGMAS * math.sqrt(count / 2 * 0.1 * 0.9), taken


def test_nothing_is_held(observer, link):
    namespace, _ = link
    foreign = Foreign(FOREIGN)
    with foreign.on(namespace, "a"):
        tracer = Tracer(observer.maps, "libbpf", foreign.id)
    foreign.close()
    assert exists(foreign.id), "held as long as it is observed"
    tracer.close()
    tracer.close()
    wait_until(lambda: not exists(foreign.id))
    with pytest.raises(ProgramGoneError, match=f"The XDP program {foreign.id} is gone"):
        Tracer(observer.maps, "libbpf", foreign.id)


def test_under_traffic(observer, link):
    """Attached and detached while frames pass: the foreign program gets all of them, and the counters sum."""
    namespace, _ = link
    before, rounds = observer.counts(), 6
    moving, frames = threading.Event(), 0

    def traffic() -> None:
        nonlocal frames
        while not moving.is_set():
            frames += send(namespace, "b", [frame(DROP), frame(PASS)] * 20)

    with Foreign(FOREIGN) as foreign, foreign.on(namespace, "a"):
        sender = threading.Thread(target=traffic)
        sender.start()
        try:
            taken = []
            for _ in range(rounds):
                with Tracer(observer.maps, "libbpf", foreign.id):
                    taken += observer.samples(50)
        finally:
            moving.set()
            sender.join()
        wait_until(lambda: sum(foreign.decided().values()) == frames)
        taken += observer.samples()
    counts = observer.counts() - before
    assert counts["selected"] == counts["appended"] + counts["lost_verdict"]
    assert len(taken) == counts["appended"] >= 50 * rounds
    # They alternate: in one thread, so none of one kind is taken for the other.
    assert abs(verdicts(taken)["PASS"] - verdicts(taken)["DROP"]) <= 2 * rounds + counts["lost_verdict"]


def test_an_entry_without_exit_is_lost_and_counted(observer, link):
    """As when somebody else attaches to the program: frames on their way then leave without our exit."""
    namespace, _ = link
    before = observer.counts()
    with (
        Foreign(FOREIGN) as foreign,
        foreign.on(namespace, "a"),
        observer.loaded("libbpf", foreign.id) as programs,
    ):
        links = [lib.trace_attach(programs.fd("observe_entry"))]
        # All on one CPU, as the frames of one queue are.
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        send(namespace, "b", [frame(DROP)] * 3)
        assert observer.counts() - before == {"selected": 3, "lost_verdict": 2}
        # Now an exit, of frames that are not sampled: none of them is the one that waits.
        observer.take(Fraction(1, 2**32))
        links.append(lib.trace_attach(programs.fd("observe_exit")))
        send(namespace, "b", [frame(TX)] * 3)
        assert observer.counts() - before == {"selected": 3, "lost_verdict": 2}
        observer.take(ALWAYS)
        send(namespace, "b", [frame(PASS)])
        assert observer.counts() - before == Counter(selected=4, lost_verdict=3, appended=1)
        os.sched_setaffinity(0, allowed)
        for fd in links:
            os.close(fd)
    assert verdicts(observer.samples()) == {"PASS": 1}


def test_what_waits_at_the_end_is_counted(observer, link):
    namespace, _ = link
    before = observer.counts()
    with (
        Foreign(FOREIGN) as foreign,
        foreign.on(namespace, "a"),
        Tracer(observer.maps, "libbpf", foreign.id) as tracer,
    ):
        os.close(tracer._pairs[foreign.id]._links.pop(0))
        send(namespace, "b", [frame(DROP)] * 3)
        wait_until(lambda: foreign.decided() == {"DROP": 3})
    assert observer.counts() - before == {"selected": 3, "lost_verdict": 3}
