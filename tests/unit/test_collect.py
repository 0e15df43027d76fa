"""`xdpfix collect` as a process: real UDP, signals, pipes that close, files; and the lines of the table."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from exporter.decoder import Decoder, Field, Record
from exporter.elements import by_name
from exporter.options import Target
from lib.harness import GRE, OUTER_V6, STT, VXLAN, Harness
from lib.messages import ipfix_set, message, options_template, template, variable
from lib.samples import sample
from lib.wait import wait_until
from sampler.collector.listen import listen, parse_listen
from sampler.console.table import flow_cells, flow_line, header_line
from sampler.errors import ConfigError, StartError

PROGRAM = str(Path(sys.executable).with_name("xdpfix"))
FLOW = message(
    template(256, (8, 4), (12, 4), (4, 1), (7, 2), (11, 2), (82, 65535), (82, 65535), (2, 8), (1, 8), (136, 1)),
    options_template(400, 1, (149, 4), (34, 4)),
    ipfix_set(400, b"\0\0\0\1\0\0\0\1"),
    ipfix_set(
        256,
        b"\xc0\0\2\1\xc0\0\2\2\x11\x00\x35\x13\xc4",
        variable(b"eth0") + variable(b"eth1"),
        (3).to_bytes(8, "big") + (300).to_bytes(8, "big") + b"\2",
    ),
)


@contextmanager
def collecting(*arguments, host="127.0.0.1", stdout=subprocess.PIPE, transport="udp"):
    """Yield (process, send): the process listens once this enters; over TCP `send` is `connect`, which gives a send."""
    listen = f"{transport}://[{host}]:0" if ":" in host else f"{transport}://{host}:0"
    process = subprocess.Popen(
        [PROGRAM, "collect", "--listen", listen, *arguments], stdout=stdout, stderr=subprocess.PIPE
    )
    try:
        readable, _, _ = select.select([process.stderr], [], [], 30)
        assert readable, "the collector did not say that it listens"
        line = process.stderr.readline().decode()
        assert line.startswith("listening on "), line
        address = (host, int(line.rsplit(" ", 1)[1]))
        if transport == "tcp":
            yield process, partial(socket.create_connection, address)
            return
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(address)
            yield process, udp.send
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_json_lines_name_the_elements(host):
    with collecting("--json", "--count", "1", host=host) as (process, send):
        send(FLOW)
        out, err = process.communicate(timeout=30)
    options, flow = map(json.loads, out.splitlines())
    assert options["options"] is True and options["scope"] == ["observationDomainId"]
    assert flow["sourceIPv4Address"] == "192.0.2.1" and flow["interfaceName"] == ["eth0", "eth1"]
    assert (flow["packetDeltaCount"], flow["octetDeltaCount"], flow["exporter"]) == (3, 300, host)
    assert b"records 1, options records 1" in err


@pytest.mark.parametrize(("number", "form"), [(signal.SIGTERM, []), (signal.SIGINT, ["--table"])])
def test_a_signal_ends_it_after_what_has_arrived(number, form):
    """Lines where the output is no terminal, with and without --table."""
    with collecting(*form) as (process, send):
        send(FLOW)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"192.0.2.1:53" in out and b"malformed 0" in err and b"Traceback" not in err


def test_malformed_messages_are_counted_and_not_written(tmp_path):
    file = tmp_path / "flows.ipfix"
    with collecting("--json", "--count", "1", "--write", str(file)) as (process, send):
        send(b"no ipfix")
        send(message(ipfix_set(300, b"\0"), domain=9))  # its template never came
        send(FLOW)
        _, err = process.communicate(timeout=30)
    assert b"malformed 1" in err and b"unknown sets 1" in err
    assert file.read_bytes() == FLOW


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_tcp_connections_are_sessions_of_their_own(host, tmp_path):
    """Messages in any pieces; templates and sequence numbers end with their connection, which may be a broken one."""
    file = tmp_path / "flows.ipfix"
    with collecting("--json", "--count", "3", "--write", str(file), host=host, transport="tcp") as (process, connect):
        with connect() as broken, connect() as slow:
            broken.sendall(b"\0\x0a\0\x03" + bytes(12))
            assert broken.recv(1) == b"", "it is ended: where the next message begins cannot be known"
            for octet in FLOW:
                slow.sendall(bytes([octet]))
            slow.sendall(FLOW + FLOW[:20])
            slow.shutdown(socket.SHUT_WR)
            assert slow.recv(1) == b""
        with connect() as other:
            other.sendall(FLOW)
            out, err = process.communicate(timeout=30)
    flows = [json.loads(line) for line in out.splitlines()]
    assert [flow["packetDeltaCount"] for flow in flows if "options" not in flow] == [3, 3, 3]
    assert b"messages 3, malformed 1, records 3" in err
    assert file.read_bytes() == 3 * FLOW


def test_a_pipe_that_closes_ends_it_quietly():
    read, write = os.pipe()
    with collecting("--json", stdout=write) as (process, send):
        os.close(write)
        os.close(read)
        send(FLOW)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0 and b"Error" not in err


def test_an_address_in_use_is_one_sentence():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{udp.getsockname()[1]}"
        done = subprocess.run([PROGRAM, "collect", "--listen", listen], capture_output=True, timeout=30)
    assert done.returncode == 1
    assert b"Address already in use" in done.stderr and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", Target("192.0.2.1", 4739)),
        ("192.0.2.1:9", Target("192.0.2.1", 9)),
        ("[2001:db8::1]:0", Target("2001:db8::1", 0)),
        ("tcp://localhost", Target("localhost", 4739, "tcp")),
    ],
)
def test_listen_addresses(text, expected):
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", ":1", "a:b", "a:65536", "a:" + "9" * 5000, "[::1", "[::1]x", "tls://a:1"])
def test_wrong_listen_addresses(text):
    with pytest.raises(ConfigError, match="--listen"):
        parse_listen(text)


def test_a_host_name_that_is_none():
    with pytest.raises(StartError, match=r"cannot listen on nowhere\.invalid port 0"):
        listen(parse_listen("nowhere.invalid:0"))


def test_cells_of_a_flow():
    flow = Decoder().decode(FLOW, ("192.0.2.9", 1))[1]
    cells = dict(zip(header_line().split(), flow_cells(flow), strict=True))
    assert cells["flow"] == "192.0.2.1:53 → 192.0.2.2:5060"
    assert (cells["proto"], cells["packets"], cells["octets"], cells["end"]) == ("udp", "3", "300", "active")


@pytest.mark.parametrize(
    ("tunnel", "shown"),
    [
        (VXLAN | {"key": 5000}, ("vxlan 5000", "203.0.113.1 → 203.0.113.2")),
        (GRE | OUTER_V6, ("gre 305419896", "2001:db8:ff::1 → 2001:db8:ff::2")),
        (STT, ("stt 1234605616436508552", "203.0.113.1 → 203.0.113.2")),
    ],
)
def test_cells_of_a_tunnelled_flow(tunnel, shown):
    """The inner flow is the flow; the tunnel stands last, for it is long."""
    with Harness(profile="full", cache_active_timeout=0) as harness:
        harness.tick()
        harness.ingest(sample(tunnel=tunnel))
        decoder = Decoder()
        *_, flow = [record for octets in harness.receiver.datagrams for record in decoder.decode(octets, "")]
    cells = dict(zip(header_line().split(), flow_cells(flow), strict=True))
    assert cells["flow"] == "192.0.2.1:1000 → 198.51.100.2:80"
    assert (cells["tunnel"], cells["outer"]) == shown
    assert flow_line(flow).split()[-5:] == " ".join(shown).split()


@pytest.mark.parametrize(
    ("verdicts", "shown"),
    [
        ((0,), "-"),
        ((2, 1), "dropped"),
        ((3, 3), "forwarded"),
        ((2, 4, 2), "forwarded, 2 dropped"),
        ((77,), "unknown"),
    ],
)
def test_cells_of_a_flow_that_a_program_decided_on(verdicts: tuple[int, ...], shown: str):
    with Harness(profile="full") as harness:
        harness.tick()
        harness.ingest(*(sample(verdict=verdict) for verdict in verdicts))
        harness.flush()
        decoder = Decoder()
        flows = [record for octets in harness.receiver.datagrams for record in decoder.decode(octets, "")]
    (flow,) = (record for record in flows if record.get("packetDeltaCount"))
    assert flow_cells(flow)[header_line().split().index("status")] == shown


@pytest.mark.parametrize(
    ("status", "shown"), [(0x81, "dropped"), (0xC1, "consumed"), (63, "unknown"), (2**32 - 1, "4294967295")]
)
def test_a_forwarding_status_of_other_exporters(status: int, shown: str):
    """With a reason, or in more than the one octet that is defined."""
    fields = (Field(by_name("forwardingStatus"), status), Field(by_name("droppedPacketDeltaCount"), 0))
    cells = flow_cells(Record(0, 256, 0, 0, fields))
    assert cells[header_line().split().index("status")] == shown


def test_a_time_beyond_the_local_calendar_is_shown(monkeypatch: pytest.MonkeyPatch):
    """Any sender may claim the last minute of 9999, which east of Greenwich lies in the year after."""
    last = Field(by_name("flowStartMilliseconds"), datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        cells = flow_cells(Record(0, 256, 0, 0, (last,)))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert cells[0] == "23:59:00.000"


@pytest.mark.parametrize("form", ["--json", "--table"])
def test_a_terminal_that_goes_ends_it_quietly(form: str):
    master, slave = pty.openpty()
    with collecting(form, stdout=slave) as (process, send):
        os.close(slave)
        os.close(master)

        def ended() -> bool:
            with suppress(ConnectionRefusedError):
                send(FLOW)  # the table finds out when it writes, and ends with the next flow
            return process.poll() is not None

        wait_until(ended, 10, "the end")
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0 and b"Error" not in err
