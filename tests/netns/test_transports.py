"""Transports where the network or the disk fails, and as `xdpfix run` uses them."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

from exporter.decoder import Decoder, Record
from lib.daemon import Daemon
from lib.netns import Namespace
from lib.receiver import Receiver, StreamReceiver
from lib.traffic import send, udp_frame
from lib.wait import PATIENCE, wait_until

FOLDER = Path(__file__).parent
DEADLINE = 60 * PATIENCE


def probe(*command: str) -> dict:
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_t31_a_network_that_goes_away_shortly_and_for_long() -> None:
    """RFC 5471 3.6.1: TCP resumes, or begins anew when its time is over; UDP shows what it lost in the sequence."""
    report = probe("unshare", "--net", sys.executable, str(FOLDER / "disconnect_probe.py"))
    short, long = report["short"], report["long"]
    assert short["sessions"] == 1
    assert (short["udp"], short["udp_sequence"]) == (110, 201)
    assert long["state"].startswith("not connected: ")
    assert (long["unacknowledged"], long["lost"], long["sequence"]) == (100, 50, 0)
    assert report["keepalive"] == [1, 15, 5, 3, 1500]


def test_a_full_disk_is_a_counted_loss_and_not_an_end(tmp_path: Path) -> None:
    """Whole messages are there, the rest is counted, and when there is room again it goes on."""
    script = 'mount -t tmpfs -o size=128k none "$1" && exec "$2" "$3" "$1"'
    arguments = (str(tmp_path), sys.executable, str(FOLDER / "full_disk_probe.py"))
    report = probe("unshare", "--mount", "sh", "-c", script, "sh", *arguments)
    assert report["state"] == "not connected: No space left on device"
    assert report["files"][0] > 500
    assert sum(report["files"]) + report["unacknowledged"] + report["lost"] == report["sent"]
    assert report["later"] == len(report["files"]) == 1


CONFIG = """
[sampler]
interfaces = ["lo", "a"]
[exporter]
targets = ["{udp}", "{tcp}", "file://{file}"]
sampling = 1
cache_idle_timeout = 1
"""


def test_t32_a_killed_exporter_starts_anew(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """RFC 5471 3.6.2: SIGKILL while it exports: new sessions, templates first, sequence 0; its old file is closed."""
    left, right = wire
    file = tmp_path / "flows.ipfix"
    left.run("ip", "link", "set", "lo", "up")
    with left.call(lambda: Receiver(strict_sequence=False)) as udp, left.call(StreamReceiver) as tcp:
        config = CONFIG.format(udp=udp.target, tcp=tcp.target, file=file)

        def export(sessions: int) -> None:
            wait_until(lambda: all(row["state"] == "connected" for row in targets(daemon)))
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: (udp.read(), flows(udp.oracle.records) == sessions)[1], what="the flow over UDP")
            wait_until(lambda: flows(tcp.records()) == sessions, what="the flow over TCP")
            assert len(tcp.sessions) == sessions
            assert tcp.sessions[-1].oracle.messages[0].sequence == 0

        with Daemon(left, tmp_path, config) as daemon:
            daemon.wait_ready()
            export(1)
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
        with Daemon(left, tmp_path, config) as daemon:
            daemon.wait_ready()
            export(2)
        assert not file.exists()
        assert len(list(tmp_path.glob("flows-*.ipfix"))) == 2


def test_packets_of_a_tcp_session_are_no_flows(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Neither its data nor the acknowledgements, which would feed themselves; only the handshake comes too early."""
    left, right = wire
    left.run("ip", "link", "set", "lo", "up")
    with left.call(lambda: Receiver(strict_sequence=False)) as udp, left.call(StreamReceiver) as tcp:
        config = CONFIG.format(udp=udp.target, tcp=tcp.target, file=tmp_path / "flows.ipfix")
        with Daemon(left, tmp_path, config) as daemon:
            daemon.wait_ready()
            wait_until(lambda: all(row["state"] == "connected" for row in targets(daemon)))
            send(right, "b", [udp_frame()] * 8)
            wait_until(lambda: flows(tcp.records()) == 1)
            assert daemon.show("exporters")["main"]["samples_excluded_own"] > 20
        wait_until(lambda: tcp.read() or tcp.sessions[0].ended)
        places = ("sourceTransportPort", "destinationTransportPort")
        own = [r for r in tcp.records() if tcp.target.port in [r.values.get(place) for place in places]]
        # SYN, SYN and ACK, ACK, each seen at both gates of lo.
        assert sum(int(record.values["packetDeltaCount"]) for record in own) <= 6


def test_a_slow_collector_gets_what_waits_at_the_stop(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """It reads nothing until all else has ended; messages wait for it in the kernel and in xdpfix."""
    left, right = wire
    left.run("ip", "link", "set", "lo", "up")
    with left.call(lambda: socket.create_server(("127.0.0.1", 0))) as listener:
        target = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        config = f"""
[sampler]
interfaces = ["a"]
ring_pages = 4096
[exporter]
targets = ["{target}"]
sampling = 1
cache_active_timeout = 0
"""
        sent = 0
        with Daemon(left, tmp_path, config) as daemon:
            daemon.wait_ready()
            listener.settimeout(DEADLINE)
            collector = listener.accept()[0]
            wait_until(lambda: targets(daemon)[0]["state"] == "connected")
            while targets(daemon)[0]["records_waiting"] < 1000:
                sent += send(right, "b", [udp_frame()] * 1000)
                wait_until(lambda: daemon.show("stats")["ring"]["received"] == sent)  # noqa: B023 - called at once
            assert targets(daemon)[0].get("records_lost_queue", 0) == 0
            daemon.process.send_signal(signal.SIGTERM)
            # The last thing that it does but wait for its collectors.
            wait_until(lambda: not daemon.socket.exists())
            with collector:
                collector.settimeout(DEADLINE)
                octets = b"".join(iter(lambda: collector.recv(1 << 20), b""))
            assert daemon.process.wait(DEADLINE) == 0
    decoder = Decoder()
    records: list[Record] = []
    while octets:
        length = int.from_bytes(octets[2:4], "big")
        assert length <= len(octets), "the last message is whole"
        records += decoder.decode(octets[:length], target)
        octets = octets[length:]
    assert len([record for record in records if not record.scope_count]) == sent


def targets(daemon: Daemon) -> list[dict]:
    return daemon.show("exporters")["main"]["targets"]


def flows(records: list) -> int:
    """How many are the flow of eight packets that the test sends."""
    return len([record for record in records if record.values["packetDeltaCount"] == 8])
