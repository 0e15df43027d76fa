"""Run in a network namespace of its own by test_exporter_mtu.py: exports over a loopback whose MTU shrinks midway."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from lib.harness import UDP_V4
from lib.receiver import Receiver
from lib.samples import batch, sample

NOW = 10**12


def main(host: str) -> None:
    """Print, for each MTU in turn, the longest message that arrived and how many records did."""
    report = []
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with Receiver(host) as receiver:
        options = ExporterOptions(targets=(receiver.target,), cache_active_timeout=0, template_interval=1)
        with Exporter(options) as exporter:
            exporter.set_weight(0, Fraction(1), [main_selector(options)])
            for step, mtu in enumerate((1500, 1300)):
                subprocess.run(["ip", "link", "set", "lo", "mtu", str(mtu)], check=True)
                seen = len(receiver.oracle.records)
                now = NOW + step * 10**10
                exporter.tick(now)
                exporter.ingest(batch([sample(UDP_V4, src_port=port, time=now) for port in range(500)]), 500)
                longest = max(map(len, receiver.read()))
                report.append({"mtu": mtu, "longest": longest, "records": len(receiver.oracle.records) - seen})
            # A path that narrows between the look at it and the send: messages are cut and nothing is lost.
            collector = exporter.collectors[0]
            outbox = collector.outbox
            assert outbox is not None
            known, outbox.message_limit = outbox.message_limit, lambda: None  # type: ignore[method-assign]
            seen = len(receiver.oracle.records)
            exporter._connect(now)
            whole = exporter.exporting._send_part

            def narrowed(*arguments: object) -> None:
                subprocess.run(["ip", "link", "set", "lo", "mtu", "1280"], check=True)
                outbox.message_limit = known  # type: ignore[method-assign]
                whole(*arguments)

            exporter.exporting._send_part = narrowed  # type: ignore[method-assign]
            exporter.ingest(batch([sample(UDP_V4, src_port=port, time=now) for port in range(500)]), 500)
            longest = max(map(len, receiver.read()))
            report.append({"mtu": 1280, "longest": longest, "records": len(receiver.oracle.records) - seen})
            assert collector.counters["messages_split"] > 0
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
