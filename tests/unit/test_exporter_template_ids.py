"""Ids of templates through changes of layouts: what is withdrawn, what comes again, and what never does."""

from dataclasses import replace

import pytest

from exporter.decoder import Decoder
from exporter.optionsdata.figures import Figures
from exporter.profiles import FULL, OVS, profile
from lib.harness import START, Harness
from lib.receiver import StreamReceiver
from lib.samples import sample
from lib.talk import MAIN, SECOND, talk
from lib.templateids import check_template_ids

INTERVAL = 100  # seconds between templates


def test_t06_t44_e052_e053_over_tcp_ids_are_used_again_behind_their_withdrawal() -> None:
    """RFC 5471 3.2.5.1, RFC 5471 3.6.8.2: withdrawn in the session that told them, no data behind, then told anew."""
    with StreamReceiver() as receiver:
        check_template_ids(receiver)


def change(harness: Harness, profile: str) -> None:
    harness.options = replace(harness.options, profile=profile)
    harness.exporter.reconfigure(harness.options, round(harness.now * 10**9))
    harness.receiver.read()


def test_t45_over_udp_no_id_has_two_layouts_and_no_data_a_template_that_has_expired() -> None:
    """RFC 5471 3.6.8.3.1: the same template comes again inside its lifetime, another one under its id never does.

    RFC 5471 3.6.8.3.2: templates that are used no more expire at the collector; they come again ahead of their data.
    The oracle refuses another layout, and a withdrawal.
    """
    with Harness(cache_active_timeout=0, template_interval=INTERVAL) as harness:
        told: dict[int, list[float]] = {}
        heard = 0
        for second in range(0, 40 * INTERVAL, 10):
            harness.tick(START + second)
            # Every 7 intervals another profile: longer than 3 intervals, the least lifetime at a collector.
            profile = ("ovs", "full")[second // (7 * INTERVAL) % 2]
            if profile != harness.options.profile:
                change(harness, profile)
            harness.ingest(sample(src_port=second % 60_000))
            for message in harness.receiver.oracle.messages[heard:]:
                for template in message.templates:
                    told.setdefault(template.id, []).append(harness.now)
                for record in message.records:
                    assert harness.now - told[record.template.id][-1] <= INTERVAL
            heard = len(harness.receiver.oracle.messages)
        used = {record.template.id for record in harness.records}
        assert len(used) == 2 and len(harness.records) == 400
        for number in used:
            gaps = {late - early for early, late in zip(told[number], told[number][1:], strict=False)}
            assert min(gaps) == 0, "two copies ahead of the first data"
            assert INTERVAL in gaps, "again inside the lifetime"
            assert max(gaps) > 3 * INTERVAL, "after the lifetime"
        assert len(set(harness.receiver.senders)) == 1


@pytest.mark.parametrize("reliable", [False, True])
def test_t07_t08_no_template_is_withdrawn_twice_or_without_having_been_sent(reliable: bool) -> None:
    """RFC 5471 3.2.5.2, RFC 5471 3.2.5.3: nothing goes out.

    tests/unit/test_exporter_session.py walks at random through what a session can meet, and the oracle refuses both.
    """
    heard = talk(FULL, reliable=reliable)
    first, other = (template.id for template in FULL.templates[:2])
    heard.use({MAIN: {first}})
    heard.session.withdraw([first])
    withdrawn = [number for message in heard.use({MAIN: set()}) for number in message.withdrawals]
    assert withdrawn == ([first] if reliable else [])
    heard.session.withdraw([first])
    heard.session.withdraw([other, 65535])
    assert heard.later(1) == []


def test_t28_all_templates_there_are_within_one_lifetime() -> None:
    """RFC 5471 3.5.4: both profiles, with and without virtualObsID, and options data, in one session and domain.

    xdpfix collect knows them all at once, and reads a record of each.
    """
    heard = talk(OVS, Figures(domain=MAIN), stats_ns=SECOND)
    collector = Decoder()
    sent: set[int] = set()
    for layouts in (profile(name, virtual) for virtual in (False, True) for name in ("ovs", "full")):
        heard.catalog.set_templates(layouts.templates, layouts.whole, MAIN)
        heard.session.update(600 * SECOND, SECOND)
        numbers = {template.id for template in layouts.templates}
        heard.use({MAIN: numbers})
        for number in numbers:
            heard.data(MAIN, number)
        for _ in range(200):  # what is paced
            heard.later(0.05)
        sent |= numbers
    assert heard.now - 1000 * SECOND < 600 * SECOND, "the interval of templates is not over"
    for octets in heard.octets:
        collector.decode(octets, "an exporter")
    assert len(sent) == 2 * (28 + 756)
    assert [number for number in sent if collector.template("an exporter", MAIN, number) is None] == []
    stats = collector.stats
    assert (stats.records, stats.unknown_sets, stats.lost_records, stats.evicted_templates) == (len(sent), 0, 0, 0)
    described = {record["templateId"] for record in heard.oracle.options if "templateId" in record.values}
    assert described == sent, "Flow Keys of each"
