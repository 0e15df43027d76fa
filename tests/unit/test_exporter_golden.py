"""Profile "ovs" against the octets that Open vSwitch 2.5.0 emitted (tests/data/ovs25_*.tsv), byte for byte."""

import pytest

from exporter.profiles import FULL, OVS
from lib.golden import DATA, RECORD_MESSAGES, TEMPLATE_MESSAGES, assert_same, message_of, sample_of
from lib.samples import batch


def test_templates_are_those_of_ovs_field_by_field():
    rows = [line.split("\t") for line in (DATA / "ovs25_templates.tsv").read_text().splitlines()[2:]]
    expected: dict[int, list[tuple[int, int, int]]] = {}
    for number, _, _, _, _, _, pen, element, length, _ in rows:
        expected.setdefault(int(number), []).append((int(pen), int(element), int(length)))
    actual = {t.id: [(f.element.pen, f.element.id, f.length) for f in t.fields] for t in OVS.templates}
    assert actual == expected
    assert len(actual) == 28


def test_template_records_are_those_of_ovs_byte_for_byte():
    # OVS puts several messages' worth of records in sets of its own cut; records and their order are the layout.
    expected = b"".join(octets[20:] for octets in TEMPLATE_MESSAGES)
    assert b"".join(template.encode() for template in OVS.templates) == expected


def test_profiles_share_no_template_id():
    assert not {t.id for t in OVS.templates} & {t.id for t in FULL.templates}
    assert min(t.id for t in FULL.templates) >= 512


@pytest.mark.parametrize(("label", "octets"), RECORD_MESSAGES, ids=[label for label, _ in RECORD_MESSAGES])
def test_records_are_those_of_ovs_byte_for_byte(label: str, octets: bytes):
    assert_same(message_of(batch([sample_of(octets)])), octets)


@pytest.mark.parametrize(("label", "octets"), RECORD_MESSAGES, ids=[label for label, _ in RECORD_MESSAGES])
def test_records_of_a_rule_are_those_of_a_bridge_byte_for_byte(label: str, octets: bytes):
    """One layout for all exporters. Open vSwitch 2.5's sample action said direction 0 and no tunnel of every packet."""
    assert_same(message_of(batch([sample_of(octets) | {"main": 0, "rules": 1 << 5}]), rule=5), octets)
