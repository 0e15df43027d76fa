"""Run in a mount namespace of its own by test_transports.py: exports into a folder whose disk is 128 KiB."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from exporter.options import Target
from exporter.transports.file import closed_files
from lib.sending import NOW, connect, exporter_to, ports, tick_until
from lib.wait import wait_until

SECOND = 10**9


def main(folder: str) -> None:
    """Print what the disk had room for and what was lost."""
    path = Path(folder) / "flows.ipfix"
    with exporter_to(Target("", 0, "file", str(path))) as exporter:
        connect(exporter)
        sent = 0
        while exporter.collectors[0].connected:
            exporter.ingest(ports(100), 100)
            exporter.tick(NOW)
            sent += 100
        row = exporter.targets()[0]
        report = {
            "sent": sent,
            "state": row["state"],
            "unacknowledged": row["records_unacknowledged"],
            "lost": exporter.collectors[0].records_lost,
            "files": [len(read(closed)) for closed in closed_files(path)],
        }
        # Nothing is left for a file: each attempt leaves nothing behind, and takes no room from others.
        moments = iter(range(NOW + SECOND, NOW + 10**15, SECOND))
        tick_until(
            exporter, lambda: exporter.targets()[0]["disconnects"] + exporter.targets()[0]["start_errors"] > 4, moments
        )
        report["later"] = len(list(Path(folder).iterdir()))
        closed_files(path)[0].unlink()
        connect(exporter, moments)
        exporter.ingest(ports(7), 7)
        wait_until(lambda: path.exists() and len(read(path)) == 7)
    print(json.dumps(report))


def read(path: Path) -> list:
    from lib.ipfix_oracle import Oracle

    oracle, octets = Oracle(), path.read_bytes()
    while octets:
        length = int.from_bytes(octets[2:4], "big")
        oracle.feed(octets[:length])
        octets = octets[length:]
    return oracle.records


if __name__ == "__main__":
    main(sys.argv[1])
