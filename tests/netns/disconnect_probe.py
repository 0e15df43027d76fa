"""Run in a network namespace of its own by test_transports.py: a network that goes away, shortly and for long."""

import json
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from exporter.transports import tcp
from lib.receiver import Receiver, StreamReceiver
from lib.sending import NOW, connect, exporter_to, ports, tick_until

SECOND = 10**9


def network(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def main() -> None:
    """Print what arrived, by each transport and step."""
    network("up")
    tcp.USER_TIMEOUT_MS = 1500
    report = {}
    with (
        StreamReceiver() as stream,
        Receiver(strict_sequence=False) as datagrams,
        exporter_to(stream.target, datagrams.target, reconnect_interval=1) as exporter,
    ):
        connect(exporter)
        exporter.ingest(ports(100), 100)
        tick_until(exporter, lambda: len(stream.records()) == 100)
        network("down")
        exporter.ingest(ports(100), 100)
        exporter.tick(NOW)
        network("up")
        tick_until(exporter, lambda: len(stream.records()) == 200)
        exporter.ingest(ports(10), 10)
        datagrams.read()
        report["short"] = {
            "sessions": len(stream.sessions),
            "udp": len(datagrams.oracle.records),
            "udp_sequence": datagrams.oracle.messages[-1].sequence,
        }
        tick_until(exporter, lambda: len(stream.records()) == 210)
        network("down")
        exporter.ingest(ports(100), 100)
        tick_until(exporter, lambda: not exporter.collectors[0].connected)
        row = exporter.targets()[0]
        report["long"] = {"state": row["state"], "unacknowledged": row["records_unacknowledged"]}
        exporter.ingest(ports(50), 50)
        report["long"]["lost"] = exporter.collectors[0].records_lost
        network("up")
        connect(exporter, iter(range(NOW, NOW + 10**15, SECOND)))
        exporter.ingest(ports(7), 7)
        tick_until(exporter, lambda: stream.records() and len(stream.sessions) == 2)
        tick_until(exporter, lambda: len(stream.records()) == 217)
        report["long"]["sequence"] = stream.sessions[1].oracle.messages[0].sequence
        # Silence on a path that is gone: keepalive notices.
        probes = stream_options(exporter.collectors[0].outbox.connection._socket)
        report["keepalive"] = probes
    print(json.dumps(report))


def stream_options(sock: socket.socket) -> list[int]:
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    return [
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        *(sock.getsockopt(socket.IPPROTO_TCP, option) for option in options),
    ]


if __name__ == "__main__":
    main()
