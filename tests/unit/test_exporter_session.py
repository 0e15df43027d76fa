"""Sessions under a clock of the test: which templates go out in which domain and when, what is withdrawn, what changes.

Messages are read by the oracle of tests/lib, in the order in which the session gave them.
"""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter import message
from exporter.optionsdata.figures import Figures, Interface
from exporter.optionsdata.kinds import KINDS
from exporter.pace import BURST_MESSAGES, BURST_NS
from exporter.profiles import FULL, OVS
from exporter.session import REFUSED_DELAY_NS
from exporter.template import Template, field
from lib.ipfix_oracle import Oracle
from lib.talk import MAIN, SECOND, ids, talk

TEMPLATES = [template.id for template in FULL.templates]


def test_full_sends_only_the_templates_that_data_uses_and_ovs_all():
    """Hundreds of templates would go out for one kind of flow."""
    full, ovs = talk(FULL), talk(OVS)
    assert ids(full.announce()) == [512, 512]
    assert ids(full.use({MAIN: {TEMPLATES[3]}})) == [TEMPLATES[3]] * 2
    assert ids(full.use({MAIN: {TEMPLATES[3], TEMPLATES[5]}})) == [TEMPLATES[5]] * 2
    assert full.use({MAIN: {TEMPLATES[3]}}) == []
    first = ids(ovs.announce())
    assert sorted(first) == sorted([*(template.id for template in OVS.templates), 512] * 2)
    assert ovs.use({MAIN: {256}}) == []


@pytest.mark.parametrize("profile", [FULL, OVS], ids=lambda profile: profile.name)
def test_e050_e062_each_domain_has_its_templates_before_its_data(profile):
    """RFC 7011 3.4.1, 8.4: templates belong to a session and a domain; two copies in messages of their own."""
    heard = talk(profile)
    heard.announce()
    used = profile.templates[2].id
    for domain in (8, 9, MAIN):
        messages = heard.use({domain: {used}})
        if domain != MAIN or profile is FULL:
            copies = [item for item in messages if used in ids([item])]
            assert len(copies) == 2 and {item.domain for item in copies} == {domain}
        heard.data(domain, used)  # the oracle refuses data without template
    announced = [(record.domain, record["observationDomainId"]) for record in heard.oracle.options]
    assert announced == [(MAIN, MAIN), (8, 8), (9, 9)]


def test_e060_each_domain_is_repeated_at_its_own_time():
    heard = talk()
    heard.announce()
    heard.later(100)
    heard.use({8: {TEMPLATES[0]}})
    assert heard.later(499) == []
    assert {item.domain for item in heard.later(1)} == {MAIN}
    assert heard.later(99) == []
    again = heard.later(1)
    assert {item.domain for item in again} == {8}
    assert sorted(ids(again)) == [512, TEMPLATES[0]]


def test_repetition_is_paced():
    """Hundreds of templates in several domains: at most BURST_MESSAGES each BURST_NS, and nothing is left out."""
    heard = talk()
    heard.announce()
    for domain in range(10):
        heard.use({domain: set(TEMPLATES)})
    heard.now += 600 * SECOND
    sent = []
    for _ in range(200):
        burst = heard.announce()
        assert len(burst) <= BURST_MESSAGES
        heard.now += BURST_NS // 2
        assert heard.announce() == []
        heard.now += BURST_NS // 2
        sent += burst
    told = [(item.domain, template.id) for item in sent for template in item.templates]
    assert len(told) == len(set(told)) == 10 * (len(TEMPLATES) + 1)


def test_e050_e054_a_reliable_session_sends_a_template_once():
    """RFC 7011 8.1: no retransmission, one copy; options data that did not change neither."""
    heard = talk(figures=Figures(domain=MAIN, interfaces=(Interface(1, "lo"),)), reliable=True, stats_ns=10**6 * SECOND)
    heard.announce()
    heard.use({MAIN: set(TEMPLATES[:4])})
    heard.export_time -= 5000
    for _ in range(20):
        heard.later(1000)
    sent = ids(heard.oracle.messages)
    assert len(sent) == len(set(sent)) >= 4
    records = [record.octets for record in heard.oracle.options]
    assert len(records) == len(set(records))


def test_t06_t44_a_withdrawn_template_is_gone_and_comes_back_before_data():
    """RFC 7011 8.1, RFC 5471 3.2.5.1: withdrawal by id in each domain; needed again, it is sent anew."""
    heard = talk(reliable=True)
    heard.use({MAIN: {TEMPLATES[0], TEMPLATES[1]}, 8: {TEMPLATES[0]}})
    heard.session.withdraw([TEMPLATES[0]])
    withdrawn = heard.use({MAIN: {TEMPLATES[1]}})
    assert [(item.domain, item.withdrawals) for item in withdrawn] == [(MAIN, [TEMPLATES[0]]), (8, [TEMPLATES[0]])]
    assert ids(heard.use({MAIN: {TEMPLATES[0]}})) == [TEMPLATES[0]]
    heard.data(MAIN, TEMPLATES[0])


def test_t09_t10_all_templates_are_withdrawn_by_the_short_form():
    """RFC 7011 8.1, RFC 5471 3.2.5.4, RFC 5471 3.2.5.5: template id 2 in set 2 and 3 in set 3.

    T-07, T-08: never twice, the oracle refuses that.
    """
    heard = talk(reliable=True)
    heard.use({MAIN: set(TEMPLATES[:3])})
    heard.session.withdraw()
    assert sorted(number for item in heard.use({})[:2] for number in item.withdrawals) == [2, 3]
    heard.session.withdraw([TEMPLATES[0]])
    assert heard.later(1) == []


def test_e052_what_waits_is_not_sent_after_its_withdrawal():
    """RFC 7011 8.2: no record of a template behind its withdrawal; the oracle would find it."""
    many = tuple(Interface(number, f"veth{number}") for number in range(1000))
    heard = talk(figures=Figures(domain=MAIN, interfaces=many), reliable=True)
    heard.announce()
    heard.session.withdraw([520])
    for _ in range(40):
        heard.later(1)
    named = [record["ingressInterface"] for record in heard.oracle.options if record.template.id == 520]
    assert set(named) == set(range(1000))


@pytest.mark.parametrize("reliable", [False, True])
def test_t24_flow_keys_wait_no_longer_than_their_template_and_come_again_with_it(reliable: bool):
    """RFC 7011 4.4: never of a template that the collector does not have; the oracle would find it."""
    heard = talk(figures=Figures(domain=MAIN), reliable=reliable)

    def keys() -> list[int]:
        return [record["templateId"] for record in heard.oracle.options if "templateId" in record.values]

    heard.use({MAIN: {TEMPLATES[0]}})  # the pace lets nothing more pass for a while
    heard.use({MAIN: {TEMPLATES[0], TEMPLATES[1]}})
    heard.session.withdraw([TEMPLATES[1]])
    heard.use({MAIN: {TEMPLATES[0]}})
    heard.later(1)
    assert keys() == [TEMPLATES[0]]
    heard.use({MAIN: {TEMPLATES[1]}})
    heard.later(1)
    assert keys() == TEMPLATES[:2]
    heard.session.withdraw([TEMPLATES[1]])
    heard.use({MAIN: {TEMPLATES[0]}})
    heard.use({MAIN: {TEMPLATES[1]}})
    heard.later(1)
    assert keys() == [*TEMPLATES[:2], TEMPLATES[1]]


def test_e063_udp_never_withdraws():
    """RFC 7011 8.4; retired templates are not repeated any more."""
    heard = talk()
    heard.use({MAIN: {TEMPLATES[0], TEMPLATES[1]}})
    heard.session.withdraw([TEMPLATES[0]])
    assert heard.use({MAIN: {TEMPLATES[1]}}) == []
    assert sorted(ids(heard.later(601))) == [512, TEMPLATES[1]]


@pytest.mark.parametrize("reliable", [False, True])
def test_a_change_of_templates_keeps_sequence_and_session(reliable: bool):
    """Another profile: new templates before their data, old ones withdrawn or forgotten, numbers go on."""
    heard = talk(reliable=reliable)
    heard.use({MAIN: {TEMPLATES[0]}})
    heard.data(MAIN, TEMPLATES[0])
    before = heard.session.sequence(MAIN)
    heard.catalog.set_templates(OVS.templates, OVS.whole, MAIN)
    heard.session.update(600 * SECOND, 600 * SECOND)
    changed = heard.announce()
    copies = 1 if reliable else 2
    assert sorted(ids(changed)) == sorted([template.id for template in OVS.templates] * copies)
    assert [n for item in changed for n in item.withdrawals] == ([TEMPLATES[0]] if reliable else [])
    heard.data(MAIN, 256)
    assert heard.session.sequence(MAIN) == before + 1
    if not reliable:
        repeated = ids(heard.later(601)) + ids(heard.later(1))
        assert TEMPLATES[0] not in repeated and 256 in repeated


def test_a_layout_that_changes_under_its_id_is_withdrawn_first():
    """RFC 7011 8.1: an id is defined anew only after its withdrawal; the oracle refuses else."""
    heard = talk(reliable=True)
    heard.use({MAIN: {TEMPLATES[0]}})
    longer = replace(FULL.templates[0], fields=(*FULL.templates[0].fields, field("ipTTL")))
    heard.catalog.set_templates((longer, *FULL.templates[1:]), False, MAIN)
    heard.session.update(600 * SECOND, 600 * SECOND)
    heard.use({MAIN: {TEMPLATES[0]}})
    heard.data(MAIN, TEMPLATES[0])


def test_update_without_a_change_sends_nothing():
    heard = talk(figures=Figures(domain=MAIN, interfaces=(Interface(1, "lo"),)))
    heard.use({MAIN: set(TEMPLATES[:4])})
    heard.later(1)
    heard.catalog.change()
    heard.session.update(600 * SECOND, 600 * SECOND)
    assert heard.announce() == []


def test_another_interval_counts_from_the_last_templates():
    heard = talk()
    heard.announce()
    heard.later(5)
    heard.session.update(10 * SECOND, 10 * SECOND)
    assert heard.later(4) == []
    assert ids(heard.later(1)) == [512]
    assert ids(heard.later(10)) == [512]
    heard.session.update(1000 * SECOND, 10 * SECOND)
    assert heard.later(999) == []
    assert ids(heard.later(1)) == [512]


def test_only_what_changed_is_said_again():
    """A new interface and a renamed one: two records."""
    heard = talk(figures=Figures(domain=MAIN, interfaces=(Interface(1, "lo"), Interface(2, "eth0"))))
    heard.announce()
    heard.source[0] = replace(heard.source[0], interfaces=(Interface(1, "lo"), Interface(2, "wan"), Interface(3, "x")))
    heard.catalog.change()
    records = [record for item in heard.later(1) for record in item.records]
    assert [(record["ingressInterface"], record["interfaceName"]) for record in records] == [(2, "wan"), (3, "x")]


def test_a_changed_sampling_interval_goes_out_at_once():
    """Reference: announced before the first data that is to be multiplied by it, whatever waits."""
    heard = talk(figures=Figures(domain=MAIN, interfaces=tuple(Interface(n, f"e{n}") for n in range(5000))))
    heard.announce()
    heard.source[0] = replace(heard.source[0], interval={MAIN: 100})
    heard.catalog.change()
    (record,) = [record for item in heard.announce() for record in item.records]
    assert (record["observationDomainId"], record["samplingInterval"]) == (MAIN, 100)


def test_e051_a_clock_that_was_set_back_repeats_the_templates_of_every_domain():
    """RFC 7011 8.2: at once, before data; over UDP only, for elsewhere the order cannot change."""
    heard = talk()
    heard.use({MAIN: {TEMPLATES[0]}, 8: {TEMPLATES[1]}})
    heard.export_time -= 1
    assert sorted(ids(heard.announce())) == [512, 512, TEMPLATES[0], TEMPLATES[1]]
    assert heard.announce() == []


def test_a_collector_that_refused_gets_everything_again():
    heard = talk()
    heard.use({MAIN: {TEMPLATES[0]}, 8: {TEMPLATES[1]}})
    heard.session.refused(heard.now)
    assert heard.later(REFUSED_DELAY_NS / SECOND - 1) == []
    again = heard.later(1)
    assert sorted(ids(again)) == [512, 512, TEMPLATES[0], TEMPLATES[1]]
    assert sum(len(item.records) for item in again) == 2


def test_split_cuts_options_data_and_gives_templates_anew():
    """A path that became narrower: options records keep a Set each; templates come again at once."""
    heard = talk(figures=Figures(domain=MAIN, interfaces=tuple(Interface(n, f"e{n}") for n in range(10))))
    messages = heard.session.announce(heard.now, heard.export_time, 1400)
    templates, names = messages[0][0], messages[-1][0]
    assert heard.session.split(templates, 300) == []
    pieces = heard.session.split(names, 300)
    assert len(pieces) > 1 and all(len(octets) <= 300 for octets, _ in pieces)
    assert sum(records for _, records in pieces) == messages[-1][1]
    heard.oracle = Oracle(strict_sequence=False)
    for octets in [templates, *(octets for octets, _ in pieces)]:
        last = heard.oracle.feed(octets)
        assert last.sets.count(520) == sum(record.template.id == 520 for record in last.records)
    assert sorted(ids(heard.announce())) == [512, 520]


def test_e050_what_moves_from_another_session_finds_its_templates():
    """Failover and balancing: a message made for another collector, in a domain that this one never heard of."""
    heard = talk(reliable=True)
    heard.announce()
    body = message.encode_set(TEMPLATES[0], [bytes(FULL.templates[0].fixed_length)])
    moved = message.Message(body, 1).encode(heard.export_time, 77, 9)
    for octets, _ in heard.session.catch_up(moved, heard.now, heard.limit):
        heard.oracle.feed(octets)
    heard.data(9, TEMPLATES[0])
    assert heard.session.catch_up(moved, heard.now, heard.limit) == []
    announced = [record for record in heard.oracle.options if "samplingInterval" in record.values]
    assert [record.domain for record in announced] == [MAIN, 9]
    assert heard.later(1) == []


DOMAINS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("use"), DOMAINS, st.sets(st.sampled_from(TEMPLATES), min_size=1, max_size=3)),
    st.tuples(st.just("later"), st.integers(0, 700), st.none()),
    st.tuples(st.just("withdraw"), st.none(), st.sets(st.sampled_from([*TEMPLATES, 512, 520]))),
    st.tuples(st.just("interfaces"), st.integers(0, 40), st.none()),
    st.tuples(st.just("profile"), st.booleans(), st.none()),
)


@settings(deadline=None, max_examples=150)
@given(st.booleans(), st.lists(STEPS, max_size=30))
def test_e004_e005_any_talk_is_understood(reliable: bool, steps: list):
    """Property: in any order of events each record has its template, each number counts all records before it.

    By domain, options records among them; the oracle asserts both, and the rules of withdrawals: RFC 5471 3.2.5.2 and
    RFC 5471 3.2.5.3 never happen, nor RFC 5471 3.4.6's Flow Keys that no template fits.
    """
    heard = talk(figures=Figures(domain=2), reliable=reliable, stats_ns=50 * SECOND)
    sent = 0
    for name, first, second in steps:
        if name == "use":
            known = {number for number in second if number in heard.catalog.templates} or {
                next(iter(heard.catalog.templates))
            }
            heard.use({first: known})
            for number in known:
                heard.data(first, number)
                sent += 1
        elif name == "later":
            heard.later(first)
        elif name == "withdraw":
            heard.session.withdraw(second)
        elif name == "interfaces":
            named = tuple(Interface(number, f"if{number}") for number in range(first))
            heard.source[0] = replace(heard.source[0], interfaces=named)
            heard.catalog.change()
        else:
            profile = OVS if first else FULL
            heard.catalog.set_templates(profile.templates, profile.whole, 2)
            heard.session.update(600 * SECOND, 50 * SECOND)
            heard.announce()
    assert len(heard.oracle.records) == sent
    for domain, count in heard.oracle.sequences.items():
        assert heard.session.sequence(domain) == count


def test_ids_of_options_templates_are_no_profile_s():
    numbers = {template.id for profile in (OVS, FULL) for template in profile.templates}
    assert not numbers & {kind.template.id for kind in KINDS}
    assert isinstance(KINDS[0].template, Template)
