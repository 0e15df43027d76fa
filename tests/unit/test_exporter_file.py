"""Files as targets (RFC 5655): what is in them, when they are closed, and what a disk that fails costs."""

import resource
import stat
from pathlib import Path

import pytest

from exporter.options import FileOptions, Target
from exporter.transports.file import closed_files
from lib.ipfix_oracle import Oracle
from lib.sending import NOW, connect, exporter_to, ports, tick_until
from lib.wait import wait_until

SECOND = 10**9


def target(path: Path) -> Target:
    return Target("", 0, "file", str(path))


def read(path: Path, *, growing: bool = False) -> Oracle:
    """Hold a whole file to the oracle: it begins with sequence 0 and templates, and ends with a whole message.

    Only of a file that is `growing` may the last message be there in part: it is left out.
    """
    oracle, octets = Oracle(), path.read_bytes()
    while octets:
        length = int.from_bytes(octets[2:4], "big")
        if growing and (len(octets) < 4 or len(octets) < length):
            break
        oracle.feed(octets[:length])
        octets = octets[length:]
    return oracle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flows.ipfix"


def test_f01_f02_a_file_is_a_session_with_its_templates_first(path: Path):
    """RFC 5655 7: read while it is written, and under its lasting name, of the first message's time, afterwards."""
    with exporter_to(target(path)) as exporter:
        connect(exporter)
        exporter.ingest(ports(100), 100)
        wait_until(lambda: len(read(path, growing=True).records) == 100)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert exporter.endpoints() == []
        assert exporter.targets()[0]["state"] == "connected"
    wait_until(lambda: not path.exists())
    (closed,) = closed_files(path)
    oracle = read(closed)
    assert len(oracle.records) == 100
    assert oracle.messages[0].sequence == 0 and oracle.messages[0].templates
    moments = [message.export_time for message in oracle.messages]
    assert moments == sorted(moments)


def test_files_are_closed_by_size_and_by_age_and_each_stands_alone(path: Path):
    """No record is lost between two files; of the closed ones only the last stay."""
    options = FileOptions(rotate_size=10_000, rotate_interval=60, keep=3)
    with exporter_to(target(path), file=options) as exporter:
        connect(exporter)
        exporter.ingest(ports(200), 200)
        exporter.tick(NOW + SECOND)  # larger than 10 000 octets
        exporter.ingest(ports(10), 10)
        exporter.tick(NOW + 30 * SECOND)  # neither
        exporter.ingest(ports(10), 10)
        exporter.tick(NOW + 62 * SECOND)  # older than a minute
        exporter.ingest(ports(30), 30)
        wait_until(lambda: path.exists() and len(read(path, growing=True).records) == 30)
        assert [len(read(closed).records) for closed in closed_files(path)] == [200, 20]
        assert [len(read(closed).options) for closed in closed_files(path)] == [1, 1]
        exporter.tick(NOW + 1000 * SECOND)
        wait_until(lambda: len(closed_files(path)) == 3)
        # A file without a flow is not closed by its age, for it would say nothing.
        exporter.tick(NOW + 2000 * SECOND)
        exporter.tick(NOW + 3000 * SECOND)
        exporter.ingest(ports(1), 1)
        exporter.tick(NOW + 4000 * SECOND)
        wait_until(lambda: len(read(closed_files(path)[-1]).records) == 1)
        assert [len(read(closed).records) for closed in closed_files(path)] == [20, 30, 1]
        row = exporter.targets()[0]
        assert (row["sessions"], row["reconnects"], exporter.collectors[0].records_lost) == (5, 0, 0)
    # The last one had no flow.
    wait_until(lambda: not path.exists())
    assert len(closed_files(path)) == 3


def test_files_of_the_same_second_get_numbers_and_stay_in_order(path: Path):
    with exporter_to(target(path), file=FileOptions(rotate_size=1)) as exporter:
        connect(exporter)
        for count in range(1, 13):
            exporter.ingest(ports(count), count)
            exporter.tick(NOW)
        wait_until(lambda: len(closed_files(path)) == 12)
        assert [len(read(closed).records) for closed in closed_files(path)] == list(range(1, 13))


@pytest.fixture
def limited() -> object:
    """Files of this process grow to 20 000 octets: what a full disk does, in the middle of a message too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_takes_no_more_is_a_counted_loss_and_not_an_end(path: Path, limited: object):
    """The file ends with its last whole message; the next attempt makes another one, with templates."""
    with exporter_to(target(path)) as exporter:
        connect(exporter)
        exporter.ingest(ports(2000), 2000)
        tick_until(exporter, lambda: not exporter.collectors[0].connected)
        row = exporter.targets()[0]
        assert row["state"] == "not connected: File too large"
        (closed,) = closed_files(path)
        written = len(read(closed).records)
        before = exporter.collectors[0].records_lost
        lost = row["records_unacknowledged"] + before
        assert written + lost == 2000 and 18_600 <= closed.stat().st_size <= 20_000
        exporter.ingest(ports(5), 5)
        assert exporter.collectors[0].records_lost == before + 5
        tick_until(exporter, lambda: exporter.collectors[0].connected, iter(range(NOW, NOW + 10**15, SECOND)))
        exporter.ingest(ports(7), 7)
        wait_until(lambda: len(read(path, growing=True).records) == 7)
        row = exporter.targets()[0]
        assert (row["sessions"], row["reconnects"]) == (2, 1)
    # The two files together have what was sent and not lost.
    wait_until(lambda: not path.exists())
    assert [len(read(closed).records) for closed in closed_files(path)] == [written, 7]


def test_what_a_killed_writer_left_is_closed_without_its_half_message(path: Path):
    with exporter_to(target(path)) as exporter:
        connect(exporter)
        exporter.ingest(ports(50), 50)
        wait_until(lambda: len(read(path, growing=True).records) == 50)
        whole = path.read_bytes()
    wait_until(lambda: not path.exists())
    closed_files(path)[0].unlink()
    path.write_bytes(whole + whole[:30])  # a header, and less than it says
    with exporter_to(target(path)) as exporter:
        connect(exporter)
        (left,) = closed_files(path)
        assert left.read_bytes() == whole
        exporter.ingest(ports(3), 3)
        wait_until(lambda: len(read(path, growing=True).records) == 3)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("flows.ipfix", b"#!/bin/sh\n", "is there and is no IPFIX file: move it away, or name another"),
        ("nowhere/flows.ipfix", None, "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_made_is_told_and_left_alone(
    tmp_path: Path, name: str, content: bytes | None, reason: str
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with exporter_to(target(tmp_path / name)) as exporter:
        tick_until(exporter, lambda: exporter.targets()[0]["start_errors"])
        assert reason in exporter.targets()[0]["state"]
    if content is not None:
        assert (tmp_path / name).read_bytes() == content


def test_two_writers_of_one_file_do_not_mix(path: Path, monkeypatch: pytest.MonkeyPatch):
    """The second waits for the first, as after a reload, and says so when that goes on."""
    monkeypatch.setattr("exporter.transports.file.CONNECT_TIMEOUT", 0.1)
    with exporter_to(target(path)) as first, exporter_to(target(path)) as second:
        connect(first)
        first.ingest(ports(5), 5)
        tick_until(second, lambda: second.targets()[0]["start_errors"])
        assert "another process writes it: name another file" in second.targets()[0]["state"]
        monkeypatch.setattr("exporter.transports.file.CONNECT_TIMEOUT", 30)
        collector = second.collectors[0]
        tick_until(second, lambda: collector._connector.busy, iter(range(NOW, NOW + 10**15, SECOND)))
        first.close()
        tick_until(second, lambda: collector.connected)
        second.ingest(ports(6), 6)
        wait_until(lambda: len(read(path, growing=True).records) == 6)
        assert [len(read(closed).records) for closed in closed_files(path)] == [5]


def test_nothing_is_left_open(path: Path):
    """Descriptors of closed files are given back."""

    def descriptors() -> list[Path]:
        links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return [link for link in links if link.is_relative_to(path.parent)]

    with exporter_to(target(path), file=FileOptions(rotate_size=1)) as exporter:
        connect(exporter)
        for _ in range(5):
            exporter.ingest(ports(5), 5)
            exporter.tick(NOW)
        wait_until(lambda: len(closed_files(path)) == 5)
    wait_until(lambda: not descriptors())
