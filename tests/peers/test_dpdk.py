"""DPDK applications whose driver takes the whole device: eBPF sees nothing of them, and this is what shows their flows.

dpdk-dumpcap piped into `xdpfix read -`, or a tap of the application's that xdpfix samples. The application is testpmd,
its device a capture file, of which the kernel sees as little as of a network card that DPDK drives.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest

from exporter.decoder import Record
from lib.capturefile import pcap
from lib.daemon import Daemon
from lib.dumpcap import DumpcapIntoRead
from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.netns import Namespace
from lib.sink import Sink
from lib.testpmd import Testpmd, shared_memory
from lib.traffic import udp_frame
from lib.wait import wait_until

PORTS = range(1000, 1005)
PACKETS = 1000

CONFIG = """
[sampler]
interfaces = ["dtap0"]
[exporter]
targets = ["{target}"]
sampling = 1
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace() as made:
        yield made


@pytest.fixture
def device() -> Iterator[str]:
    """A port that receives PACKETS frames once, as fast as they are taken."""
    frames = [udp_frame(sport=PORTS[number % len(PORTS)]) for number in range(PACKETS)]
    # A short path: dumpcap opens the file, too, and is told only the beginning of long arguments.
    with NamedTemporaryFile(suffix=".pcap") as file:
        Path(file.name).write_bytes(pcap(frames))
        yield f"net_pcap0,rx_pcap={file.name}"


def counts(records: Iterable[dict[str, Any] | Record]) -> Counter[int]:
    """Packets by source port."""
    found: Counter[int] = Counter()
    for record in records:
        found[record.get("sourceTransportPort")] += record.get("packetDeltaCount")
    return found


EXPECTED = Counter(dict.fromkeys(PORTS, PACKETS // len(PORTS)))


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_dumpcap_piped_into_read(host: Namespace, device: str, tmp_path: Path, form: str) -> None:
    """Each packet that the application receives is in a flow."""
    began = time.time()
    options = ("-P",) if form == "pcap" else ()
    with (
        shared_memory(tmp_path) as memory,
        Testpmd(host, tmp_path, [device], "rxonly", memory) as testpmd,
        DumpcapIntoRead(testpmd, tmp_path, *options) as pipeline,
    ):
        testpmd.command("start")
        pipeline.wait_captured(PACKETS)
        records, said = pipeline.finish()
    assert f"xdpfix: {PACKETS} packets" in said
    assert counts(records) == EXPECTED
    if form == "pcap":
        # In pcapng DPDK 22.11's clock is 2^64 cycles of the processor ahead.
        for record in records:
            start = datetime.fromisoformat(record["flowStartMilliseconds"]).timestamp()
            assert began - 1 <= start <= time.time()


def test_a_tap_of_the_application_is_sampled(host: Namespace, device: str, tmp_path: Path) -> None:
    """What the application sends to a port of the driver net_tap comes into the kernel: xdpfix samples it at tc."""
    devices = [device, "net_tap0,iface=dtap0"]
    with Sink(host) as sink, Testpmd(host, tmp_path, devices, "io") as testpmd:
        with Daemon(host, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:
            testpmd.command("start")
            wait_until(lambda: daemon.show("stats")["ring"]["received"] >= PACKETS)
            assert testpmd.counts()[1][1] == PACKETS
        wait_until(lambda: sink.total(flowDirection=0) == PACKETS)
        records = [record for record in sink.records if record.get("flowDirection") == 0]
    assert counts(records) == EXPECTED
