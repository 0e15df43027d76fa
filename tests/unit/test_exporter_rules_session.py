"""Sessions over UDP: what RFC 7011 sections 8 and 10.3 ask about templates and the transport, rule by rule."""

import errno
import itertools
import socket
from fractions import Fraction

import pytest

from exporter.exporter import Exporter
from exporter.options import DEFAULT_PORTS, ExporterOptions, Target
from exporter.profiles import FULL, OVS
from exporter.selector import main_selector
from lib.harness import START, UDP_V4, Harness, every_kind
from lib.receiver import Receiver
from lib.samples import batch, sample

SO_NO_CHECK = 11  # <asm-generic/socket.h>


def template_messages(harness: Harness) -> list[int]:
    """Places of the messages that carry templates."""
    return [i for i, message in enumerate(harness.receiver.oracle.messages) if message.templates]


def announced(harness: Harness) -> int:
    """How often samplingInterval went out."""
    return sum("samplingInterval" in record.values for record in harness.receiver.oracle.options)


def test_e050_e062_templates_go_first_in_two_copies_in_separate_messages():
    """RFC 7011 8, 8.4: each template arrives twice before the first data."""
    with Harness() as harness:
        harness.tick()
        harness.ingest(*every_kind())
        harness.flush()
        messages = harness.receiver.oracle.messages
        flows = [any(not record.template.scope for record in message.records) for message in messages]
        first_data = flows.index(True)
        for template in (*OVS.templates,):
            copies = [i for i, m in enumerate(messages) if template.id in {t.id for t in m.templates}]
            assert len(copies) == 2 and copies[0] < copies[1] < first_data


def test_e051_no_data_is_older_than_its_template():
    """RFC 7011 8.2: Export Time of data is not before its template's, also when the clock is set back."""
    with Harness(cache_active_timeout=0) as harness:
        harness.tick()
        harness.ingest(sample())
        harness.wall -= 5000
        harness.tick(START + 1)
        harness.ingest(sample())
        latest: dict[int, int] = {}
        for message in harness.receiver.oracle.messages:
            latest |= {template.id: message.export_time for template in message.templates}
            for record in message.records:
                assert message.export_time >= latest[record.template.id]


def test_e052_e053_e063_templates_are_never_withdrawn():
    """RFC 7011 8.4: no Template Withdrawal over UDP: the oracle refuses a field count of 0, in every message here."""
    with Harness(template_interval=60) as harness:
        harness.tick()
        harness.tick(START + 200, ticks=20)
        harness.flush()
        assert all(t.fields for message in harness.receiver.oracle.messages for t in message.templates)


def test_e056_e064_e068_a_new_session_starts_anew_and_an_old_one_keeps_its_socket():
    """RFC 7011 10, 8.4: new options mean a new port, sequence 0, templates first; one port for a session's life."""
    with Receiver(strict_sequence=False) as receiver:
        for profile in ("ovs", "full"):
            options = ExporterOptions(targets=(receiver.target,), profile=profile, cache_active_timeout=0)
            with Exporter(options) as exporter:
                exporter.set_weight(0, Fraction(1), [main_selector(options)])
                receiver.oracle.messages.clear()
                receiver.senders.clear()
                for now in (START, START + 100, START + 700):
                    exporter.tick(round(now * 10**9))
                    exporter.ingest(batch([sample(time=round(now * 10**9))]), 1)
                receiver.read()
                assert len(set(receiver.senders)) == 1
                first = receiver.oracle.messages[0]
                assert first.sequence == 0 and first.templates
    assert not {t.id for t in OVS.templates} & {t.id for t in FULL.templates}


def test_e060_e061_templates_are_repeated_each_interval_traffic_or_not():
    """RFC 7011 8.4: periodically, at the configured interval; the options record with them."""
    with Harness(template_interval=100) as harness:
        harness.tick()
        before = len(harness.receiver.oracle.messages)
        harness.tick(START + 99, ticks=99)
        assert len(harness.receiver.oracle.messages) == before
        harness.tick(START + 101, ticks=2)
        repeated = harness.receiver.oracle.messages[before:]
        templates = [t.id for m in repeated for t in m.templates]
        assert len(templates) == len(set(templates)) and set(templates) > {t.id for t in OVS.templates} | {512}
        assert announced(harness) == 2
        harness.tick(START + 1001, ticks=900)
        assert announced(harness) == 11


def test_e065_udp_checksums_are_on():
    """RFC 7011 10.3.2: the socket does not ask the kernel to leave checksums out."""
    with Harness() as harness:
        harness.tick()
        sock = harness.exporter.collectors[0].outbox.connection._socket
        assert sock is not None and sock.getsockopt(socket.SOL_SOCKET, SO_NO_CHECK) == 0


@pytest.mark.parametrize("size", [512, 700, 1400, 9000, 65467])
def test_e066_messages_keep_below_the_size(size: int):
    """RFC 7011 10.3.3: no message, with templates or data, is longer than message_size."""
    with Harness(message_size=size) as harness:
        harness.tick()
        harness.ingest(*(sample(UDP_V4, src_port=port) for port in range(1500)))
        harness.flush()
        longest = max(map(len, harness.receiver.datagrams))
        assert size - 200 < longest <= size
        assert len(harness.records) == 1500


def test_e066_datagrams_are_not_fragmented_and_one_too_long_is_counted():
    """RFC 7011 10.3.3: the kernel refuses what is longer than the path takes instead of cutting it in fragments."""
    with Harness(cache_active_timeout=0) as harness:
        harness.tick()
        sock = harness.exporter.collectors[0].outbox.connection._socket
        assert sock is not None
        assert sock.getsockopt(socket.IPPROTO_IP, 10) == 2  # IP_MTU_DISCOVER = IP_PMTUDISC_DO
        with pytest.raises(OSError) as error:
            sock.send(bytes(65_508))
        assert error.value.errno == errno.EMSGSIZE


def test_e067_what_timeouts_end_is_paced():
    """RFC 7011 10.3: a burst of ended flows is spread over ticks, for UDP has no congestion control."""
    with Harness(cache_active_timeout=10, cache_idle_timeout=0) as harness:
        harness.tick()
        harness.ingest(*(sample(UDP_V4, src_port=i % 60_000, dst_port=i // 60_000) for i in range(20_000)))
        harness.tick(START + 10.99, ticks=1000)
        sent = []
        for step in range(300):
            harness.tick(START + 11 + step * 0.01)
            sent.append(len(harness.records))
        assert sent[-1] == 20_000
        assert max(b - a for a, b in itertools.pairwise(sent)) <= 20_000 // 8


def test_e070_the_default_port_is_4739_with_tls_4740():
    """RFC 7011 10.1; tests/unit/test_config.py has other ones."""
    assert Target("192.0.2.1").port == 4739
    assert DEFAULT_PORTS == {"udp": 4739, "tcp": 4739, "sctp": 4739, "tls": 4740, "dtls": 4740, "file": 0}
