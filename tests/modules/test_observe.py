"""A running xdpfix beside foreign XDP programs: followed as they come, change and go, and themselves untouched.

Not every kernel takes tracing programs (lockdown), so they run in the virtual machines of `make test-vm`.
"""

import contextlib
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lib.daemon import PROGRAM, Daemon
from lib.foreign import Foreign, exists
from lib.netns import Namespace, veth
from lib.observing import DROP, PASS, TX, frame
from lib.sink import Sink
from lib.tc import here
from lib.traffic import send
from lib.wait import wait_until
from lib.xdp import NOTHING, XdpLink, set_xdp

MODULES = ("bonding",)

NAME = "foreign_program_with_a_long_name"
CONFIG = """
[sampler]
interfaces = ["a", "c"]
hook = "{hook}"
[exporter]
targets = ["{target}"]
sampling = 1
"""
ACTIONS = [DROP, PASS, TX, DROP, PASS]
PORTS = slice(34, 38)  # of UDP over IPv4, in the frame


def hooks(daemon: Daemon) -> dict[str, str]:
    """Where ingress of each interface is sampled."""
    return {row["name"]: row["hooks"][0] for row in daemon.show("interfaces") if row["hooks"]}


def observed_at(foreign: Foreign) -> str:
    return f"ingress observe ({NAME}, id {foreign.id})"


TC = here(["ingress tcx"])[0]


def test_followed(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """By netlink and by link: attached, replaced and let go. Before and after each step what was sent was counted."""
    left, right = wire
    sent = 0

    def passes(place: str, foreign: Foreign | None = None) -> None:
        """Ingress is sampled there now, and all that comes is counted: once."""
        nonlocal sent
        wait_until(lambda: hooks(daemon) == {"a": place}, what=place)
        before = foreign.decided() if foreign else {}
        send(right, "b", [frame(action) for action in ACTIONS])
        sent += len(ACTIONS)
        wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] == sent, what=f"{sent} at {place}")
        if foreign:
            assert Counter(foreign.decided()) - Counter(before) == Counter(DROP=2, PASS=2, TX=1)

    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(Foreign(NAME)) for _ in range(3))
        sink = stack.enter_context(Sink(left))
        daemon = stack.enter_context(Daemon(left, tmp_path, CONFIG.format(hook="auto", target=sink.target)))
        daemon.wait_ready()
        passes(TC)
        set_xdp(left, "a", first.fd)
        passes(observed_at(first), first)
        for hook, said in (
            ("auto", f"a: ingress is observed at XDP program {NAME[:15]}, id {first.id}, by root or with"),
            ("tc", 'sends back or redirects are not seen at tc; hook = "auto" observes it'),
        ):
            file = tmp_path / f"{hook}.toml"
            file.write_text(CONFIG.format(hook=hook, target=sink.target))
            assert said in left.run(str(PROGRAM), "check", str(file)).stdout
        set_xdp(left, "a", second.fd)
        passes(observed_at(second), second)
        first.close()
        # Nothing of xdpfix's holds it: it was let go before the next one was observed.
        wait_until(lambda: not exists(first.id), what="the first program is gone")
        set_xdp(left, "a", NOTHING)
        passes(TC)
        with XdpLink(left, "a", second.fd) as link:
            passes(observed_at(second), second)
            link.update(third.fd)
            passes(observed_at(third), third)
            second.close()
            wait_until(lambda: not exists(second.id), what="the second program is gone")
        passes(TC)
        third.close()
        wait_until(lambda: not exists(third.id), what="the third program is gone")
        daemon.stop()
        wait_until(lambda: sink.total() == sent, what=f"{sent} in flows")
    text = daemon.text()
    assert text.count("not observed") == 4, text
    assert "cannot be observed" not in text


@contextlib.contextmanager
def stream(namespace: Namespace, name: str) -> Iterator[list[int]]:
    """Frames of all actions come without end, each with ports of its own; gives how many so far."""
    sent, over = [0], threading.Event()
    frames = [bytearray(frame(action)) for action in ACTIONS * 10]

    def work() -> None:
        while not over.wait(0.005):
            for made in frames:
                made[PORTS] = struct.pack("!I", sent[0])
                sent[0] += 1
            send(namespace, name, [bytes(made) for made in frames])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


def test_untouched(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """The program gets and decides on every frame, while xdpfix comes, changes its hook and goes; on two interfaces.

    Where xdpfix looks changes between two frames, and none is counted twice.
    """
    left, right = wire
    veth(left, "c", None, right, "d", None)
    with Sink(left) as sink, Foreign(NAME) as foreign, XdpLink(left, "a", foreign.fd), XdpLink(left, "c", foreign.fd):
        place, config = observed_at(foreign), CONFIG.format(hook="auto", target=sink.target)
        with stream(right, "b") as sent:
            with Daemon(left, tmp_path, config).wait_ready() as daemon:
                assert hooks(daemon) == {"a": place, "c": place}
                for hook, expected in (("tc", TC), ("observe", place), ("tc", TC), ("auto", place)) * 2:
                    daemon.reload(CONFIG.format(hook=hook, target=sink.target))
                    assert hooks(daemon) == {"a": expected, "c": expected}
                left.move("c", right)
                wait_until(lambda: hooks(daemon) == {"a": place}, what="the other interface goes on")
                before = daemon.show("interfaces")[0]["packets_in"]
                observed = wait_until(lambda: max(daemon.show("interfaces")[0]["packets_in"] - before, 0), what="more")
                samples = daemon.show("stats")["samples"]
                lost = {name: count for name, count in samples.items() if name.startswith("lost") and count}
            assert "Traceback" not in daemon.text()
        total = sent[0]
        wait_until(lambda: sum(foreign.decided().values()) == total, what=f"{total} decided on")
        part = total // len(ACTIONS)
        assert foreign.decided() == {"DROP": 2 * part, "PASS": 2 * part, "TX": part}
        number = foreign.id
        # Where one lets go, frames may be between entry and exit, and the kernel spares these the exit.
        assert lost.keys() <= {"lost_verdict"}
        due = before + observed - lost.get("lost_verdict", 0)
        wait_until(lambda: len(sink.records) >= due, what=f"{due} flows; lost: {lost}")
    wait_until(lambda: not exists(number), what="nothing is left behind")
    flows = Counter(
        tuple(map(record.get, ("sourceTransportPort", "destinationTransportPort"))) for record in sink.records
    )
    assert set(flows.values()) == {1}
    assert sink.total() == len(flows), "a frame was counted twice"


def test_a_native_program_on_a_bond(tmp_path: Path) -> None:
    """The bond's members run it, and their frames have the members' numbers: so tc counts what it lets pass."""
    with contextlib.ExitStack() as stack:
        left, right = (stack.enter_context(Namespace()) for _ in range(2))
        left.run("ip", "link", "add", "name", "a", "type", "bond", "mode", "active-backup")
        veth(left, "m", None, right, "b", None)
        left.run("ip", "link", "set", "dev", "m", "down")
        left.run("ip", "link", "set", "dev", "m", "master", "a")
        left.up("a")
        sink, foreign = stack.enter_context(Sink(left)), stack.enter_context(Foreign(NAME))
        stack.enter_context(XdpLink(left, "a", foreign.fd))
        daemon = stack.enter_context(Daemon(left, tmp_path, CONFIG.format(hook="auto", target=sink.target)))
        daemon.wait_ready()
        behind = here([f"ingress tcx (behind XDP program {NAME[:15]}, id {foreign.id})"])[0]
        wait_until(lambda: hooks(daemon) == {"a": behind}, what=behind)
        assert "it cannot be observed: the interface's members run it" in daemon.text()
        send(right, "b", [frame(action) for action in ACTIONS])
        wait_until(lambda: sum(foreign.decided().values()) == len(ACTIONS))
        wait_until(lambda: daemon.show("interfaces")[0]["packets_in"] == ACTIONS.count(PASS))
