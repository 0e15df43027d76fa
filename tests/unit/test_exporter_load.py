"""Many records, and collectors that are too slow for them: what arrives, and what each loss shows (RFC 5471 3.5)."""

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.decoder import Decoder
from exporter.exporter import Exporter
from exporter.options import Target
from exporter.outbox import QUEUE_LIMIT
from lib.ipfix_oracle import ELEMENTS, Oracle
from lib.receiver import Receiver, StreamReceiver
from lib.sending import NOW, clock, connect, exporter_to, ports, tick_until

MILLION = 10**6
BATCH = 1000
SECOND = 10**9
MEMORY = 32 << 20  # octets: a million records have ten times as many, and a full queue a twentieth


class Counter:
    """Takes messages and keeps none. Of flows of one kind it counts the records, and adds up packetDeltaCount."""

    def __init__(self) -> None:
        self.records = self.packets = 0
        self.oracle = Oracle()
        self._layout: struct.Struct | None = None

    def feed(self, octets: bytes) -> None:
        length, sequence, set_id, set_length = struct.unpack_from("!2xH4xI4xHH", octets)
        if set_id in (2, 3, 512):
            self.oracle.feed(octets)
            return
        assert sequence == self.records + len(self.oracle.options), "a message is missing"
        assert length == len(octets) == 16 + set_length, "one Set of flows"
        self._layout = self._layout or self._packets(set_id)
        values = [packets for (packets,) in self._layout.iter_unpack(memoryview(octets)[20:])]
        self.records += len(values)
        self.packets += sum(values)

    def _packets(self, set_id: int) -> struct.Struct:
        """What takes packetDeltaCount out of a record; all of its elements have a fixed length."""
        fields = [(ELEMENTS[pen, number][0], length) for pen, number, length in self.oracle.templates[0, set_id].fields]
        return struct.Struct("!" + "".join("Q" if name == "packetDeltaCount" else f"{size}x" for name, size in fields))


class Reader:
    """A collector by UDP or TCP that reads when it is told to, into a Counter."""

    def __init__(self, transport: str) -> None:
        self.counter = Counter()
        self._stream = transport == "tcp"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.target = Target("127.0.0.1", self._socket.getsockname()[1], transport)
        self._connection = None if self._stream else self._socket
        self._rest = b""
        if self._stream:
            self._socket.listen()
        self._socket.setblocking(False)

    def read(self) -> None:
        with suppress(BlockingIOError):
            if self._connection is None:
                self._connection, _ = self._socket.accept()
                self._connection.setblocking(False)
            while octets := self._connection.recv(1 << 20):
                self._take(self._rest + octets)

    def _take(self, octets: bytes) -> None:
        at = 0
        while len(octets) - at >= 16 and len(octets) - at >= (length := int.from_bytes(octets[at + 2 : at + 4], "big")):
            self.counter.feed(octets[at : at + length])
            at += length
        self._rest = octets[at:]

    def close(self) -> None:
        self._socket.close()
        if self._connection is not None:
            self._connection.close()


def resident() -> int:
    """Octets of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_rest_saves_up_no_pace() -> None:
    """A second without a tick, and all flows are due: a tenth of a second's worth ends, and the rest is due now."""
    flows, most = 60_000, 15_360
    with exporter_to(cache_active_timeout=60, cache_idle_timeout=2, cache_max_flows=flows) as exporter:
        exporter.tick(NOW)
        exporter.ingest(ports(flows), flows)
        moments = [NOW + 2 * SECOND + number * SECOND // 10 for number in range(4)]
        exporter.tick(NOW + SECOND)
        before = exporter.exporting.records
        assert before == 0
        for now in moments:
            exporter.tick(now)
            made, before = exporter.exporting.records - before, exporter.exporting.records
            assert made == min(most, flows - before + made)
            assert (exporter.due_ns(now) <= now) == (before < flows)
        assert before == flows


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_t25_a_million_records_of_one_template(transport: str) -> None:
    """RFC 5471 3.5.1: every one arrives, counted once; what waits and the memory stay bounded."""
    reader = Reader(transport)
    samples = ports(BATCH)
    try:
        with exporter_to(reader.target) as exporter:
            connect(exporter)
            before = None
            for sent in range(0, MILLION, BATCH):
                exporter.ingest(samples, BATCH)
                reader.read()
                before = resident() if before is None else before
                if sent % (MILLION // 10) == 0:
                    assert resident() - before < MEMORY
                    assert len(exporter.collectors[0].outbox._queue) < QUEUE_LIMIT
            moments = clock()
            tick_until(exporter, lambda: (reader.read(), reader.counter.records == MILLION)[1], moments)
            assert reader.counter.packets == MILLION
            row = exporter.targets()[0]
            assert row["records_sent"] == MILLION + 1
            assert exporter.collectors[0].records_lost == 0
    finally:
        reader.close()


def gaps(messages: list[bytes]) -> tuple[int, int]:
    """What xdpfix collect says of a session: records of flows, and records that are missing by the sequence."""
    decoder = Decoder()
    for octets in messages:
        decoder.decode(octets, "a session")
    assert (decoder.stats.unknown_sets, decoder.stats.malformed) == (0, 0)
    return decoder.stats.records, decoder.stats.lost_records


def flood(exporter: Exporter, enough: Callable[[], object]) -> int:
    """Send faster and faster, twice as many each time, until it is enough; how many."""
    sent, number, samples = 0, 250, ports(BATCH)
    while not enough():
        for first in range(0, number, BATCH):
            exporter.ingest(samples, min(BATCH, number - first))
        sent += number
        number *= 2
    return sent


def test_t26_e071_what_a_stalled_tcp_collector_does_not_get_is_told_in_sequence_and_options() -> None:
    """RFC 5471 3.5.2: TCP stalls, the queue is bounded; of each lost record the gap shows and 4.3's options tell."""
    options = {"options_data": True, "stats_interval": 60, "message_size": 512}
    with (
        StreamReceiver(strict_sequence=False, buffer=4096) as stalled,
        exporter_to(stalled.target, **options) as exporter,
    ):
        connect(exporter)
        sent = flood(exporter, lambda: exporter.collectors[0].counters["records_lost_queue"] > 1000)
        lost = exporter.targets()[0]["records_lost_queue"]

        def all_is_there() -> bool:
            stalled.read()
            return len(stalled.sessions[0].messages) == exporter.targets()[0]["messages_sent"]

        tick_until(exporter, lambda: all_is_there() and not exporter.collectors[0].waiting)
        exporter.tick(NOW + 61 * SECOND)
        exporter.ingest(ports(1), 1)  # behind the gap
        tick_until(exporter, lambda: all_is_there() and not exporter.collectors[0].waiting, clock())
        record = [told for told in stalled.sessions[0].oracle.options if "notSentFlowTotalCount" in told.values][-1]
        assert record["notSentFlowTotalCount"] == record["notSentPacketTotalCount"] == lost
        assert record["notSentOctetTotalCount"] == lost * 40
        assert gaps(stalled.sessions[0].messages) == (sent - lost + 1, lost)


def test_t26_what_a_flooded_udp_collector_does_not_get_is_missing_in_the_sequence() -> None:
    """RFC 5471 3.5.2: its kernel drops datagrams, which no exporter can know; the collector counts each record."""
    with Receiver(strict_sequence=False) as receiver, exporter_to(receiver.target) as exporter:
        exporter.tick(NOW)
        receiver.read()
        receiver.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        sent = flood(exporter, lambda: exporter.targets()[0]["records_sent"] > 10_000)
        receiver.read()
        exporter.ingest(ports(1), 1)
        receiver.read()
        arrived, missing = gaps(receiver.datagrams)
        assert missing > 5000 and arrived + missing == sent + 1
        assert exporter.collectors[0].records_lost == 0
