"""Sources of psample at a netlink socket of this host: what they read, leave out and lose; a daemon without psample.

What the kernel itself sends is shown by tests/modules/test_psample.py.
"""

import math
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cache import LASTING_FIRST
from lib.daemon import Daemon
from lib.harness import Harness
from lib.netns import Namespace
from lib.psample import ALL, Wire, attributes, message, tunnel
from lib.traffic import udp_frame
from sampler._native import ffi
from sampler.daemon.linktable import Link
from sampler.kernel.maps import Maps
from sampler.kernel.ring import Ring
from sampler.psample.combinations import AT_ONCE, COMBINATIONS_MAX, Combination, Place
from sampler.psample.options import PsampleSource
from sampler.psample.source import Family, Source, find_family
from sampler.psample.sources import Sources

GROUP = 10
FRAME = udp_frame()
PLACE = Place(LASTING_FIRST, 5)


def samples(batch: bytearray, count: int) -> list:
    array = ffi.from_buffer("struct sample[]", batch)
    return [array[i] for i in range(count)]


def read_all(source: Source, batch: bytearray) -> list:
    """Read what waits, and add each combination as it comes."""
    found = []
    while True:
        count = source.read(batch)
        # Copies, for the batch is used again.
        found += [ffi.new("struct sample *", sample)[0] for sample in samples(batch, count)]
        unknown = source.unknown()
        if unknown is not None:
            source.add(unknown, PLACE)
        elif not count:
            return found


@pytest.fixture
def batch() -> bytearray:
    return bytearray(16 * ffi.sizeof("struct sample"))


def test_messages_become_samples(batch: bytearray) -> None:
    with Wire() as wire, Source(PsampleSource(GROUP, "main", 3, 4)) as source:
        source.attach(wire.receiver())
        source.set_links([Link(2, "eth0", mtu=1500)])
        wall, monotonic = time.time_ns(), time.monotonic_ns()
        cookie = (7).to_bytes(4, "big") + (8).to_bytes(4, "big")
        wire.send(message(attributes(FRAME, GROUP, 400, time_ns=wall - 10**9)))
        wire.send(message(attributes(FRAME, GROUP, ALL, probability=True, cookie=cookie, time_ns=wall - 10**12)))
        wire.send(message(attributes(FRAME[:20], GROUP, 400, length=9000, cookie=b"abc")))
        assert source.read(batch) == 0
        assert source.unknown() == Combination(GROUP, 400, False, 3, 4)
        assert source.read(batch) == 0  # it stays where it is
        source.add(Combination(GROUP, 400, False, 3, 4), PLACE)
        assert source.read(batch) == 1
        (first,) = samples(batch, 1)
        assert (first.meta.generation, first.meta.rules, first.meta.main) == (LASTING_FIRST, 1 << 5, 0)
        assert (first.key.ifindex, first.key.direction, first.meta.frame_octets) == (2, 0, len(FRAME))
        assert abs(first.meta.time - (monotonic - 10**9)) < 10**9 / 2
        assert source.unknown() == Combination(GROUP, ALL, True, 7, 8)
        source.add(Combination(GROUP, ALL, True, 7, 8), Place(65521, 63))
        assert source.read(batch) == 2
        second, third = samples(batch, 2)
        assert (second.meta.generation, second.meta.rules) == (65521, 1 << 63)
        # A time that cannot be: the clock was set in between.
        assert second.meta.time >= monotonic
        assert (third.meta.generation, third.meta.frame_octets) == (LASTING_FIRST, 9000)
        stats = source.stats()
        assert (stats["messages"], stats["samples"], stats["cut"], stats["super_packets"]) == (3, 3, 1, 1)
        assert (stats["without_cookie"], stats["other_cookie"]) == (1, 1)
        assert source.seen() == [(2, 0)]


def test_other_groups_are_left_outside(batch: bytearray) -> None:
    """They do not even fill the socket."""
    with Wire() as wire, Source(PsampleSource(GROUP, "main", receive_buffer=4096)) as source:
        source.attach(wire.receiver())
        for group in (0, 1, GROUP << 8, GROUP << 24, 2**32 - 1):
            for _ in range(100):
                wire.send(message(attributes(FRAME, group)))
        wire.send(message(attributes(FRAME, GROUP)))
        assert len(read_all(source, batch)) == 1
        source.look()
        assert (source.stats()["messages"], source.stats()["lost_socket"]) == (1, 0)


@pytest.mark.parametrize("numbered", [True, False], ids=["tc", "Open vSwitch"])
def test_what_the_socket_loses_is_counted_once(batch: bytearray, numbered: bool) -> None:
    """With numbers, as tc's group has them, and where all are 0, as Open vSwitch's."""
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for _ in range(count):
            words = {"sequence": 2**32 - 50 + sent & ALL} if numbered else {"probability": True}
            wire.send(message(attributes(FRAME, GROUP, **words)))
            sent += 1

    with Wire() as wire, Source(PsampleSource(GROUP, "main", receive_buffer=4096)) as source:
        source.attach(wire.receiver())
        received = 0
        for count in (3, 200, 1, 77, 2):
            send(count)
            received += len(read_all(source, batch))
            source.look()
        for _ in range(3):
            source.look()
        stats = source.stats()
        assert (stats["samples"], stats["lost_kernel"]) == (received, 0)
        assert stats["lost_socket"] > 200
        assert received + stats["lost_socket"] == sent
        # What is lost while nobody reads is not forgotten with the socket.
        send(300)
        source.disconnect()
        stats = source.stats()
        assert source.fd == -1
        assert source.read(batch) == 0
        # What waited in the socket is gone with it; who closes it reads before.
        assert received + stats["lost_socket"] > sent - 20


def test_numbers_that_never_came_are_losses_of_the_kernel(batch: bytearray) -> None:
    with Wire() as wire, Source(PsampleSource(GROUP, "main")) as source:
        source.attach(wire.receiver())
        for number in (0, 1, 2, 6, 7, 5, 10):
            wire.send(message(attributes(FRAME, GROUP, sequence=number)))
        read_all(source, batch)
        source.look()
        assert source.stats()["lost_kernel"] == 0
        source.look()
        assert source.stats()["lost_kernel"] == 4  # 3, 4, 8, 9


def test_what_is_wrong_or_too_much_is_counted(batch: bytearray) -> None:
    with Wire() as wire, Source(PsampleSource(GROUP, "main")) as source:
        source.attach(wire.receiver())
        wire.send(message(attributes(FRAME, GROUP, rate=0)))
        wire.send(message(attributes(FRAME, GROUP), command=2))
        wire.send(message(attributes(FRAME, GROUP, rate=2)))
        wire.send(message(attributes(FRAME, GROUP, rate=3)))
        assert source.read(batch) == 0
        source.add(Combination(GROUP, 2, False, 0, 0), PLACE)
        assert source.read(batch) == 1
        source.add_no_more()
        assert source.read(batch) == 0
        assert source.unknown() is None
        stats = source.stats()
        assert (stats["messages"], stats["samples"]) == (3, 1)
        assert (stats["lost_malformed"], stats["lost_combinations"]) == (1, 1)


def test_the_table_of_combinations_has_an_end() -> None:
    with Source(PsampleSource(GROUP, "main")) as source:
        for number in range(COMBINATIONS_MAX):
            source.add(Combination(GROUP, 1 + number % 7, False, number // 32, number % 32), PLACE)
        source.add(Combination(GROUP, 1, False, 0, 0), PLACE)
        with pytest.raises(OSError, match="No space"):
            source.add(Combination(GROUP, 1, False, 99, 0), PLACE)


def test_tunnels_by_ports_are_those_of_the_table(batch: bytearray) -> None:
    types = bytearray(1 << 16)
    types[4789] = 1
    with Wire() as wire, Source(PsampleSource(GROUP, "main")) as source:
        source.attach(wire.receiver())
        source.set_ports(bytes(types))
        wire.send(message(attributes(FRAME, GROUP, tunnel=tunnel(src=5, dst=4789))))
        source.set_ports(bytes(types))
        (sample,) = read_all(source, batch)
        assert (sample.key.tunnel.type, sample.key.tunnel.key_length) == (1, 3)
        assert bytes(ffi.buffer(sample.key.tunnel.dst_addr))[:4] == bytes((192, 0, 2, 2))
        source.set_ports(None)
        wire.send(message(attributes(FRAME, GROUP, tunnel=tunnel(src=5, dst=4789))))
        (sample,) = read_all(source, batch)
        assert sample.key.tunnel.type == 0


CONFIG = """
[sampler]
[[flow_exporter]]
collector_set_id = 1
targets = ["127.0.0.1:4739"]
"""


@pytest.mark.skipif(find_family() is not None, reason="this kernel has loaded psample: tests/modules shows more")
def test_without_psample_the_daemon_waits_for_it(tmp_path: Path) -> None:
    with Namespace() as namespace:
        source = "[[psample]]\ngroup = {}\nexporter = 1\n"
        with Daemon(namespace, tmp_path, CONFIG + source.format(10)).wait_ready() as daemon:
            daemon.wait_log("psample: this kernel has not loaded its module")
            assert daemon.show("stats")["psample"]["10"]["messages"] == 0
            (row,) = daemon.show("exporters")["collector-set-1"]["psample"]
            assert (row["group"], row["receiving"]) == (10, False)
            assert daemon.reload(CONFIG + source.format(11)) == ["psample 10: removed", "psample 11: added"]
            assert set(daemon.show("stats")["psample"]) == {"10", "11"}
            assert daemon.show("stats")["errors"] == []
            assert "psample 11 received" in daemon.show_text("stats")
            assert "receiving" in daemon.show_text("exporters")
            assert "no interface is sampled" not in daemon.text()
            assert daemon.reload(CONFIG) == ["psample 11: removed"]
            assert "psample" not in daemon.show("exporters")["collector-set-1"]
            assert daemon.text().count("has not loaded its module") == 1


@pytest.fixture
def ring() -> Iterator[Ring]:
    with Maps() as maps, Ring(maps, 8) as made:
        yield made


def test_sources_feed_the_exporter_that_they_name(ring: Ring) -> None:
    with Wire() as wire, Harness(profile="full") as main, Harness(profile="full") as other:
        sources = Sources(ring, {"main": main.exporter, "other": other.exporter})
        made = [Source(PsampleSource(10, "main", 1, 2)), Source(PsampleSource(11, "other", 3, 4))]
        for source in made:
            source.attach(wire.receiver())
            ring.watch(source.fd)
        sources.change([], made)
        for rate in (5, 5, 7):
            wire.send(message(attributes(FRAME, 10, rate)))
        wire.send(message(attributes(FRAME, 11, 2)))
        assert sources.rest_until(time.monotonic()) == math.inf
        ring.rest(60, 60)  # ended by the messages, or the test takes a minute
        sources.read()
        # Until then nothing of theirs ends a poll: they gather.
        assert time.monotonic() < sources.rest_until(0.0) < math.inf
        assert sources.rest_until(time.monotonic() + 1) == math.inf
        sources.look()
        assert dict(sources.handed) == {"main": 3, "other": 1}
        assert set(sources.seen) == {(10, 2, 0), (11, 2, 0)}
        rows = sources.rows(main.exporter.selected() | other.exporter.selected())
        told = {(row["exporter"], row["match"], row["probability"], row["samples"], row["packets"]) for row in rows}
        assert told == {
            ("main", "psample group 10", "1/5", 2, 10),
            ("main", "psample group 10", "1/7", 1, 7),
            ("other", "psample group 11", "1/2", 1, 2),
        }
        for harness, expected in ((main, {(1, 2): 17}), (other, {(3, 4): 2})):
            harness.flush()
            found = {(it.domain, it.values["observationPointId"]): it["packetDeltaCount"] for it in harness.records}
            assert found == expected
            assert not harness.stats["samples_lost_generation"]
        # What waits is counted, and what was counted stays, when a source goes.
        wire.send(message(attributes(FRAME, 10, 5)))
        sources.change([10], [])
        assert sources.stats()[10]["samples"] == 4
        assert main.exporter.selected()[2**32].packets == 15
        (row,) = sources.rows_of("other")
        assert (row["group"], row["samples"], row["lost_socket"]) == (11, 1, 0)
        assert sources.rows_of("main") == []
        sources.close()


def test_a_group_that_cannot_be_joined(ring: Ring) -> None:
    sources = Sources(ring, {})
    sources.change([], [Source(PsampleSource(GROUP, "main"))])
    (sentence,) = sources.connect([GROUP], Family(30, 2**30)).values()  # a multicast group that no family has
    assert sentence == "psample group 10: its samples are not taken: Invalid argument; it is tried each second"
    assert sources.sources[0].fd == -1
    sources.close()


def test_new_combinations_do_not_keep_the_thread(ring: Ring) -> None:
    """Each costs the exporter more than a batch of samples: past its time the thread goes back to the rings."""
    with Wire() as wire, Harness(profile="full") as harness:
        sources = Sources(ring, {"main": harness.exporter})
        source = Source(PsampleSource(10, "main"))
        source.attach(wire.receiver())
        ring.watch(source.fd)
        sources.change([], [source])
        for point in range(100):
            wire.send(message(attributes(FRAME, 10, 1, cookie=bytes(4) + point.to_bytes(4, "big"))))
        sources.rest_until(0.0)
        sources.read(until=0.0)
        assert sources.handed["main"] < 3
        # What waits still is asked for at once, and by no message.
        assert sources.rest_until(5.0) == 5.0
        while sources.handed["main"] < 100:
            sources.read(until=0.0)
        sources.read()
        assert sources.rest_until(time.monotonic() + 1) == math.inf
        sources.close()


def test_idle_combinations_make_room(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they counted stays counted, others have their numbers, and those that go on keep theirs."""
    monkeypatch.setattr("sampler.psample.sources.IDLE", 0.0)

    def send(point: int) -> None:
        wire.send(message(attributes(FRAME, 10, 2, cookie=bytes(4) + point.to_bytes(4, "big"))))

    with Wire() as wire, Harness(profile="full") as harness:
        sources = Sources(ring, {"main": harness.exporter})
        source = Source(PsampleSource(10, "main", receive_buffer=1 << 24))
        source.attach(wire.receiver())
        sources.change([], [source])
        for point in range(COMBINATIONS_MAX + 1):
            send(point)
        sources.read()
        sources.look()
        busy = {*range(1, COMBINATIONS_MAX, 2), *range(64 * AT_ONCE, COMBINATIONS_MAX)}
        for point in busy:
            send(point)
        sources.read()
        sources.look()
        rows = sources.rows(harness.exporter.selected())
        assert {(row["obs_point_id"], row["samples"]) for row in rows} == {(point, 2) for point in busy}
        for point in (0, 1, COMBINATIONS_MAX):
            send(point)
        sources.read()
        sources.look()
        rows = sources.rows(harness.exporter.selected())
        new = [row for row in rows if row["selector_id"] >= 2**32 + COMBINATIONS_MAX]
        assert {(row["obs_point_id"], row["samples"]) for row in new} == {(0, 1), (COMBINATIONS_MAX, 1)}
        assert [row["samples"] for row in rows if row["obs_point_id"] == 1] == [3]
        stats = sources.stats()[10]
        assert stats["lost_combinations"] == 1
        assert harness.stats["packets_represented"] == 2 * stats["samples"] == 2 * sources.handed["main"]
        sources.close()


def test_sources_take_turns(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is flooded leaves the others their share of the thread's time: a batch each, in turn."""
    turns = []
    with Wire() as wire, Harness() as main, Harness() as other:
        sinks = {"main": main.exporter, "other": other.exporter}
        for name, sink in sinks.items():
            ingest = sink.ingest
            monkeypatch.setattr(sink, "ingest", lambda *a, n=name, i=ingest: (turns.append(n), i(*a)))
        sources = Sources(ring, sinks)
        made = [Source(PsampleSource(group, name)) for group, name in ((10, "main"), (11, "other"))]
        for source in made:
            source.attach(wire.receiver())
        sources.change([], made)
        capacity = len(ring.new_batch()) // ffi.sizeof("struct sample")
        for group in (10, 11):
            for _ in range(2 * capacity + 1):
                wire.send(message(attributes(FRAME, group)))
        sources.read()
        assert turns == ["main", "other"] * 3
        assert (main.stats["samples_ingested"], other.stats["samples_ingested"]) == (2 * capacity + 1,) * 2
        sources.close()


def test_too_many_combinations_for_one_exporter(ring: Ring, caplog: pytest.LogCaptureFixture) -> None:
    with Wire() as wire, Harness(profile="full") as harness:
        sources = Sources(ring, {"main": harness.exporter})
        source = Source(PsampleSource(10, "main", receive_buffer=1 << 24))
        source.attach(wire.receiver())
        sources.change([], [source])
        for point in range(COMBINATIONS_MAX + 5):
            wire.send(message(attributes(FRAME, 10, 1, cookie=bytes(4) + point.to_bytes(4, "big"))))
        sources.read()
        stats = sources.stats()[10]
        assert (stats["samples"], stats["lost_combinations"]) == (COMBINATIONS_MAX, 5)
        assert harness.stats["samples_cached"] == COMBINATIONS_MAX
        assert harness.stats["flows"] == COMBINATIONS_MAX
        assert caplog.text.count("more than 4096 combinations") == 1
        sources.close()


def test_tests_do_not_hear_each_other() -> None:
    with Wire() as wire, Wire() as other, socket.socket(fileno=wire.receiver()) as receiver:
        other.send(b"other")
        wire.send(message(attributes(FRAME)))
        assert receiver.recv(4096) == message(attributes(FRAME))
