"""`xdpfix read` as its user meets it: the real program over captures made up here, files and pipes.

That the headers are read right is tests/native/test_parser.py's and tests/peers/test_dissector.py's.
"""

import fcntl
import io
import json
import math
import os
import pty
import signal
import subprocess
import sys
import termios
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import ipfix.ie
import ipfix.reader
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from lib.capturefile import pcap
from lib.receiver import Receiver
from lib.tunnel_frames import FALLBACKS, FRAMES
from lib.wait import wait_until
from sampler.captures.capture import TUNNEL_MISSES

PROGRAM = str(Path(sys.executable).with_name("xdpfix"))
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
IDLE, ACTIVE, END, FORCED = 1, 2, 3, 4  # IANA flowEndReason
DAY = 86400
# A false alarm of 1e-6, both tails of the normal law together.
SIGMAS = 4.892
UDP_FRAME = bytes(ETHERNET / IP(src="192.0.2.1", dst="198.51.100.2") / UDP(dport=53, chksum=0))


def udp(port: int) -> bytes:
    return UDP_FRAME[:34] + port.to_bytes(2, "big") + UDP_FRAME[36:]


def tcp(port: int, flags: str) -> bytes:
    return bytes(ETHERNET / IP(src="192.0.2.1", dst="198.51.100.2") / TCP(sport=port, dport=443, flags=flags))


def read(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "read", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


def flows(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def written(path: Path, frames: list[bytes], times: list[int] | range | tuple[()] = (), **options) -> Path:
    path.write_bytes(pcap(frames, times=times, **options))
    return path


@contextmanager
def reading_pipe(*arguments: object, stdout: int = subprocess.PIPE):
    """`xdpfix read -` with a pipe as its standard input."""
    command = [PROGRAM, "read", *map(str, arguments), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_flows_end_by_the_captures_time(tmp_path: Path) -> None:
    """One flow pauses, one goes on for 130 s, one ends with FIN: by the default timeouts of 15 and 60 s."""
    packets = [(0, udp(1)), (1, udp(1)), (2, tcp(3, "FA"))] + [(second, udp(2)) for second in range(131)]
    packets.sort(key=lambda packet: packet[0])
    path = written(tmp_path / "a.pcap", [frame for _, frame in packets], [1000 + second for second, _ in packets])
    done = read(path, "--json")
    reasons: dict[int, list[tuple[int, int]]] = {}
    for flow in flows(done):
        reasons.setdefault(flow["sourceTransportPort"], []).append((flow["flowEndReason"], flow["packetDeltaCount"]))
    assert reasons[1] == [(IDLE, 2)]
    assert reasons[3] == [(END, 1)]
    assert [reason for reason, _ in reasons[2]] == [ACTIVE, ACTIVE, FORCED]
    assert sum(packets for _, packets in reasons[2]) == 131
    octets = sum(map(len, (frame for _, frame in packets)))
    assert done.returncode == 0
    assert done.stderr == f"xdpfix: 134 packets ({octets} octets) in 1 capture, 5 flows, 5 records\n"


def test_totals_are_exact(tmp_path: Path) -> None:
    addresses = IP(src="192.0.2.1", dst="198.51.100.2")
    frames = [bytes(ETHERNET / addresses / UDP(sport=1 + i, dport=53) / (b"x" * 28 * i)) for i in range(50)] * 100
    path = written(tmp_path / "a.pcap", frames, [1000] * 5000)
    shown = flows(read(path, "--json"))
    assert len(shown) == 50
    assert sum(flow["packetDeltaCount"] for flow in shown) == 5000
    assert sum(flow["octetDeltaCount"] for flow in shown) == sum(len(frame) - 14 for frame in frames)
    assert sum(flow["layer2OctetDeltaCount"] for flow in shown) == sum(map(len, frames))


def test_captures_are_read_in_the_order_given(tmp_path: Path) -> None:
    """The flow that both hold is one; a third capture is of the day before, and its flows have times of their own."""
    first = written(tmp_path / "1.pcap", [udp(1)] * 2, [DAY + 1000, DAY + 1001])
    second = written(tmp_path / "2.pcap", [udp(1)] * 2, [DAY + 1002, DAY + 1003])
    before = written(tmp_path / "0.pcap", [udp(1)] * 100 + [udp(2)], range(1000, 1101))
    done = read(first, second, before, "--json")
    together, alone = (
        [(flow["flowStartMilliseconds"], flow["packetDeltaCount"], flow["flowEndReason"]) for flow in flows(one)]
        for one in (done, read(before, "--json"))
    )
    assert together == [("1970-01-02T00:16:40.000000Z", 4, FORCED), *alone]
    assert (alone[0][0], alone[0][2]) == ("1970-01-01T00:16:40.000000Z", ACTIVE)
    assert sum(packets for _, packets, _ in alone) == 101
    assert "105 packets" in done.stderr and "in 3 captures" in done.stderr


def test_a_little_disorder_is_no_new_time(tmp_path: Path) -> None:
    first = written(tmp_path / "1.pcap", [udp(1)] * 2, [1000, 1002])
    second = written(tmp_path / "2.pcap", [udp(1)] * 2, [1001, 1003])
    assert [flow["packetDeltaCount"] for flow in flows(read(first, second, "--json"))] == [4]


def test_sampling_is_exact_in_the_mean(tmp_path: Path) -> None:
    packets = 100_000
    path = written(tmp_path / "a.pcap", [udp(1)] * packets, [1000] * packets)
    done = read(path, "--sampling", 10, "--json")
    taken = int(done.stderr.split(" sampled (1 in 10)")[0].rsplit(" ", 1)[1])
    assert abs(taken - packets / 10) <= SIGMAS * math.sqrt(packets * 0.1 * 0.9)
    assert sum(flow["packetDeltaCount"] for flow in flows(done)) == 10 * taken


def test_a_file_of_messages_is_read_by_others(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcap", [udp(1), udp(2), udp(2)])
    done = read(path, "--write", tmp_path / "flows.ipfix", "--json")
    ipfix.ie.use_iana_default()
    reader = ipfix.reader.from_stream(io.BytesIO((tmp_path / "flows.ipfix").read_bytes()))
    rows = [row for row in reader.namedict_iterator() if "packetDeltaCount" in row]
    assert Counter((row["sourceTransportPort"], row["packetDeltaCount"]) for row in rows) == {(1, 1): 1, (2, 2): 1}
    assert len(flows(done)) == 2


@pytest.mark.parametrize("form", [[], ["--json"], ["--table"]])
def test_what_is_written_is_shown_only_when_asked_for(form: list[str], tmp_path: Path) -> None:
    """Decoding and showing a record costs many times what writing it does."""
    path = written(tmp_path / "a.pcap", [udp(1), udp(2)])
    done = read(path, "--write", tmp_path / "flows.ipfix", *form)
    lines = {"": 0, "--json": 2, "--table": 3}["".join(form)]
    assert (done.returncode, len(done.stdout.splitlines())) == (0, lines)
    assert done.stderr.endswith("2 packets (84 octets) in 1 capture, 2 flows, 2 records\n")


@pytest.mark.parametrize(("text", "records"), [("", 70_000), ("cache_max_flows = 60000\n", 140_000)])
def test_more_flows_than_a_service_holds(text: str, records: int, tmp_path: Path) -> None:
    """Two packets of each of 70 000 flows, round by round: no flow makes room for another unless that is configured."""
    frames = [UDP_FRAME[:26] + number.to_bytes(4, "big") + UDP_FRAME[30:] for number in range(70_000)]
    path = written(tmp_path / "a.pcap", frames * 2, [1000] * 140_000)
    config = tmp_path / "xdpfix.toml"
    config.write_text(f"[exporter]\nsampling = 1\n{text}")
    done = read(path, "--config", config, "--write", tmp_path / "flows.ipfix")
    assert done.stderr.endswith(f"{records} flows, {records} records\n")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_flows_go_to_a_collector(form: list[str], tmp_path: Path) -> None:
    """Without being shown, unless that is asked for."""
    path = written(tmp_path / "a.pcap", [udp(1 + i % 300) for i in range(3000)], [1000] * 3000)
    with Receiver() as receiver:
        done = read(path, "--target", receiver.target, *form)
        receiver.read()
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 300 if form else 0)
    counts = [record["packetDeltaCount"] for record in receiver.oracle.records if "packetDeltaCount" in record.values]
    assert (len(counts), sum(counts)) == (300, 3000)


def test_a_configuration_names_the_profile(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcap", [udp(1)])
    config = tmp_path / "xdpfix.toml"
    config.write_text('[exporter]\nsampling = 1\nprofile = "ovs"\nobs_domain_id = 7\n')
    (flow,) = flows(read(path, "--config", config, "--json"))
    assert flow["domain"] == 7 and "flowStartMilliseconds" not in flow


def test_lines_when_the_output_is_no_terminal(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcap", [udp(1)])
    plain, forced = read(path), read(path, "--table")
    head, line = plain.stdout.splitlines()
    assert head.split()[:2] == ["start", "duration"]
    assert "192.0.2.1:1 → 198.51.100.2:53" in line and line.split()[-4:] == ["forced", "-", "-", "-"]
    assert forced.stdout == plain.stdout


def test_a_table_on_a_terminal_keeps_all_flows(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pcap", [udp(port) for port in range(1, 61)], [1000] * 60)
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 200))
    with subprocess.Popen([PROGRAM, "read", str(path)], stdout=child, stderr=subprocess.PIPE):
        os.close(child)
        shown = b""
        try:
            while octets := os.read(parent, 65536):
                shown += octets
        except OSError:  # how a terminal says that its other side is closed
            pass
    os.close(parent)
    last = shown.decode().rsplit("start", 1)[1]
    assert all(f"192.0.2.1:{port} → " in last for port in range(1, 61))
    assert "60 flows, 60 packets" in last and "packets/s" not in last


def test_a_pipe_that_is_quiet_goes_on_by_the_clock(tmp_path: Path) -> None:
    config = tmp_path / "xdpfix.toml"
    config.write_text("[exporter]\nsampling = 1\ncache_idle_timeout = 1\n")
    with reading_pipe("--json", "--config", config) as process:
        process.stdin.write(pcap([udp(1)]))
        process.stdin.flush()
        flow = json.loads(process.stdout.readline())  # and the pipe is open
        assert (flow["flowEndReason"], flow["packetDeltaCount"]) == (IDLE, 1)
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_what_a_pipe_gave(number: int) -> None:
    with reading_pipe("--json") as process:
        process.stdin.write(pcap([udp(1), udp(2)], times=[1000, 2000]))
        process.stdin.flush()
        # The first flow is idle by the second packet, so that both were read.
        assert json.loads(process.stdout.readline())["sourceTransportPort"] == 1
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    (flow,) = map(json.loads, out.splitlines())
    assert (flow["sourceTransportPort"], flow["flowEndReason"]) == (2, FORCED)
    assert process.returncode == 0
    assert err.decode().endswith("2 packets (84 octets) in 1 capture, 2 flows, 2 records\n")


def test_a_signal_ends_the_wait_for_a_captures_header() -> None:
    with reading_pipe() as process:
        process.stdin.write(pcap([])[:10])
        process.stdin.flush()

        def taken() -> bool:
            return not any(fcntl.ioctl(process.stdin, termios.FIONREAD, b"\0" * 4))

        wait_until(taken, 30, "the begin of the header is read")

        for _ in range(20):
            # One that comes between two reads of the pipe finds nothing to interrupt: try again.
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
                break
        assert (process.returncode, process.stderr.read()) == (0, b"")


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    """As in `xdpfix read … | head -1`; the flows are more than a pipe holds."""
    path = written(tmp_path / "a.pcap", [udp(port) for port in range(1, 20_000)], [1000] * 19_999)
    with subprocess.Popen([PROGRAM, "read", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"start")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_what_came_before_the_damage_is_kept(tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(pcap([udp(1)] * 3)[:-5])
    whole = written(tmp_path / "whole.pcap", [udp(2)])
    done = read(cut, whole, "--json")
    assert {flow["sourceTransportPort"]: flow["packetDeltaCount"] for flow in flows(done)} == {1: 2, 2: 1}
    assert done.returncode == 1
    damage, summary = done.stderr.splitlines()
    assert damage.startswith(f"xdpfix: {cut}: the capture is cut off behind packet 2 (")
    assert summary.startswith("xdpfix: 3 packets") and "in 2 captures" in summary


def test_what_cannot_be_read_is_one_sentence_each(tmp_path: Path) -> None:
    none, text, radio = tmp_path / "none.pcap", tmp_path / "text.pcap", tmp_path / "radio.pcap"
    text.write_text("no capture at all, but long enough for a header")
    radio.write_bytes(pcap([], 105))
    done = read(none, text, radio)
    assert done.returncode == 1
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [str(none), str(text), str(radio)]
    assert "no such file" in done.stderr and "no pcap or pcapng capture" in done.stderr
    assert "IEEE802_11" in done.stderr and "tcpdump -y EN10MB" in done.stderr


def test_a_terminal_is_no_capture() -> None:
    parent, child = pty.openpty()
    done = read("-", stdin=child)
    os.close(parent)
    os.close(child)
    assert (done.returncode, done.stderr) == (
        1,
        "xdpfix: standard input: a terminal holds no capture: pipe one in, or name a file\n",
    )


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    done = read(written(tmp_path / "a.pcap", [udp(1)]), "--write", "/dev/full")
    assert done.returncode == 1
    assert done.stderr == "xdpfix: --write /dev/full: No space left on device: give a file on a disk with room\n"


def test_a_wrong_interval_is_a_wrong_argument(tmp_path: Path) -> None:
    done = read(written(tmp_path / "a.pcap", [udp(1)]), "--sampling", 0)
    assert done.returncode == 2 and done.stderr.startswith("xdpfix: --sampling = 0: must be")


def tunnel_capture(path: Path) -> Path:
    """Each tunnel packet of the parser's tests once."""
    return written(path, [case.frame for case in FRAMES.values()] + [frame for frame, _ in FALLBACKS.values()])


def test_tunnels_are_looked_into(tmp_path: Path) -> None:
    """Inner flows with their keys; packets without their tunnel are counted by cause in the last line."""
    done = read("--json", tunnel_capture(tmp_path / "tunnels.pcap"))
    tunnelled = [flow for flow in flows(done) if flow.get("tunnelType")]
    assert sum(flow["packetDeltaCount"] for flow in tunnelled) == len(FRAMES)
    assert {flow["tunnelType"] for flow in tunnelled} == {1, 2, 3, 4, 7}
    for cause, count in Counter(miss for _, miss in FALLBACKS.values()).items():
        assert f"{count} tunnel_{TUNNEL_MISSES[cause - 1]}" in done.stderr


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("[sampler.tunnel_ports]\nvxlan = []\nstt = [9]\n", {2, 3, 7}),
        ("[exporter]\nenable_tunnel_sampling = false\n", set()),
    ],
)
def test_tunnels_by_the_configuration(tmp_path: Path, text: str, types: set[int]) -> None:
    config = tmp_path / "xdpfix.toml"
    config.write_text(text)
    done = read("--json", "--config", config, "--sampling", 1, tunnel_capture(tmp_path / "tunnels.pcap"))
    assert {flow["tunnelType"] for flow in flows(done) if flow.get("tunnelType")} == types
    assert ("tunnel_" in done.stderr) == bool(types)
