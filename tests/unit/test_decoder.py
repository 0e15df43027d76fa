"""The decoder against hand-built messages: data types, templates' life, RFC 5471's bad input, bounds, sequence."""

import contextlib
import struct
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.decoder import Decoder
from exporter.elements import VARIABLE_LENGTH, by_name
from exporter.errors import DecodeError
from lib.messages import ipfix_set, message, options_template, specifiers, template, variable

SOURCE = ("192.0.2.1", 40000)


def one_value(number, length, octets, pen=None):
    spec = (number, length) if pen is None else (number, length, pen)
    (record,) = Decoder().decode(message(template(256, spec), ipfix_set(256, octets)), SOURCE)
    ((element, value),) = record.fields
    return element.name, value


NOON = datetime(2023, 11, 14, 22, 13, 20, 500000, UTC)  # 1 700 000 000.5


@pytest.mark.parametrize(
    ("number", "octets", "expected"),
    [
        (4, b"\x11", ("protocolIdentifier", 17)),
        (7, b"\x01\x02", ("sourceTransportPort", 258)),
        (10, b"\x00\x00\x00\x07", ("ingressInterface", 7)),
        (1, b"\xff" * 8, ("octetDeltaCount", 2**64 - 1)),
        (434, b"\xff\xff\xff\xfe", ("mibObjectValueInteger", -2)),
        (320, struct.pack(">d", 0.25), ("absoluteError", 0.25)),
        (276, b"\x01", ("dataRecordsReliability", True)),
        (276, b"\x02", ("dataRecordsReliability", False)),
        (56, b"\x00\x00\x5e\x00\x53\x01", ("sourceMacAddress", "00:00:5e:00:53:01")),
        (8, b"\xc0\x00\x02\x01", ("sourceIPv4Address", IPv4Address("192.0.2.1"))),
        (27, b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x01", ("sourceIPv6Address", IPv6Address("2001:db8::1"))),
        (150, struct.pack(">I", 1_700_000_000), ("flowStartSeconds", NOON.replace(microsecond=0))),
        (152, struct.pack(">Q", 1_700_000_000_500), ("flowStartMilliseconds", NOON)),
        (154, struct.pack(">II", 1_700_000_000 + 2_208_988_800, 1 << 31), ("flowStartMicroseconds", NOON)),
        (156, struct.pack(">II", 1_700_000_000 + 2_208_988_800, 1 << 31), ("flowStartNanoseconds", NOON)),
        (154, struct.pack(">II", 0, 0), ("flowStartMicroseconds", datetime(2036, 2, 7, 6, 28, 16, tzinfo=UTC))),
    ],
)
def test_every_data_type_is_read(number, octets, expected):
    assert one_value(number, len(octets), octets) == expected


@pytest.mark.parametrize("length", range(1, 9))
def test_counters_of_reduced_size(length):
    assert one_value(1, length, b"\x80".ljust(length, b"\0"))[1] == 0x80 << 8 * (length - 1)


def test_reduced_float_and_signed():
    assert one_value(320, 4, struct.pack(">f", 0.5))[1] == 0.5
    assert one_value(434, 2, b"\xff\xfe")[1] == -2


@pytest.mark.parametrize("size", [0, 1, 254, 255, 300])
def test_variable_length_strings(size):
    assert one_value(82, VARIABLE_LENGTH, variable(b"e" * size)) == ("interfaceName", "e" * size)


def test_long_form_of_a_short_length():
    assert one_value(82, VARIABLE_LENGTH, b"\xff\x00\x04eth0")[1] == "eth0"


def test_invalid_utf8_keeps_the_record():
    assert one_value(82, VARIABLE_LENGTH, variable(b"a\xff"))[1] == "a\ufffd"


def test_enterprise_elements():
    assert one_value(893, 4, b"\xc0\0\2\1", 6876) == ("tunnelSourceIPv4Address", IPv4Address("192.0.2.1"))
    assert one_value(892, VARIABLE_LENGTH, variable(b"\0\x13\x88"), 6876) == ("tunnelKey", b"\0\x13\x88")
    assert one_value(1, 2, b"\xab\xcd", 32473) == ("enterprise32473.1", b"\xab\xcd")


def test_repeated_elements_keep_their_order_and_padding_is_skipped():
    spec = ((82, VARIABLE_LENGTH), (10, 4), (82, VARIABLE_LENGTH))
    body = variable(b"outer") + b"\0\0\0\1" + variable(b"inner")
    (record,) = Decoder().decode(message(template(300, *spec), ipfix_set(300, body, b"\0\0\0")), SOURCE)
    assert record.all("interfaceName") == ["outer", "inner"]
    assert [element.id for element, _ in record.fields] == [82, 10, 82]


def test_padding_in_template_sets_and_several_templates_a_set():
    spec = specifiers(((4, 1),))
    records = [struct.pack(">HH", number, 1) + spec for number in (256, 257)]
    decoder = Decoder()
    decoder.decode(message(ipfix_set(2, *records, b"\0\0")), SOURCE)
    assert decoder.template(SOURCE, 1, 256) and decoder.template(SOURCE, 1, 257)


def test_t04_padding_between_sets_is_skipped():
    """RFC 5471 3.2.3: figure 1, with every length that is no record."""
    for padding in (1, 2, 3):
        first, second = ipfix_set(256, b"\xc0\0\2\1", bytes(padding)), ipfix_set(257, b"\x06")
        octets = message(template(256, (8, 4)), template(257, (4, 1)), first, second)
        records = Decoder().decode(octets, SOURCE)
        assert [record.fields[0].value for record in records] == [IPv4Address("192.0.2.1"), 6]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12, VARIABLE_LENGTH])
def test_t05_padding_octets_are_a_value_like_others(size):
    """RFC 5471 3.2.4: figures 2 and 3, and other sizes: padding longer than the record is no record of its own."""
    padding = [bytes(size)] * 15 if size != VARIABLE_LENGTH else [variable(bytes(number)) for number in range(15)]
    body = b"".join(bytes([number]) + octets for number, octets in enumerate(padding))
    records = Decoder().decode(message(template(256, (195, 1), (210, size)), ipfix_set(256, body)), SOURCE)
    assert [record.get("ipDiffServCodePoint") for record in records] == list(range(15))
    assert {element.name for record in records for element, _ in record.fields[1:]} == {"paddingOctets"}


def test_options_records_are_marked():
    decoder = Decoder()
    (record,) = decoder.decode(
        message(options_template(400, 1, (149, 4), (34, 4)), ipfix_set(400, b"\0\0\0\1\0\0\0\1")), SOURCE
    )
    assert (record.scope_count, record.get("samplingInterval")) == (1, 1)
    assert (decoder.stats.records, decoder.stats.options_records) == (0, 1)


def test_templates_belong_to_source_and_domain():
    decoder = Decoder()
    decoder.decode(message(template(256, (4, 1))), SOURCE)
    assert decoder.decode(message(ipfix_set(256, b"\x06")), ("192.0.2.2", 40000)) == []
    assert decoder.decode(message(ipfix_set(256, b"\x06"), domain=2), SOURCE) == []
    assert decoder.stats.unknown_sets == 2
    assert len(decoder.decode(message(ipfix_set(256, b"\x06")), SOURCE)) == 1


def test_redefinition_and_withdrawal():
    decoder = Decoder()
    decoder.decode(message(template(256, (4, 1)), options_template(257, 1, (149, 4))), SOURCE)
    decoder.decode(message(template(256, (7, 2))), SOURCE)
    (record,) = decoder.decode(message(ipfix_set(256, b"\x00\x35")), SOURCE)
    assert record.get("sourceTransportPort") == 53
    decoder.decode(message(ipfix_set(2, struct.pack(">HH", 256, 0))), SOURCE)
    assert decoder.template(SOURCE, 1, 256) is None
    decoder.decode(message(template(256, (4, 1)), template(258, (4, 1))), SOURCE)
    decoder.decode(message(ipfix_set(2, struct.pack(">HH", 2, 0))), SOURCE)
    assert [decoder.template(SOURCE, 1, n) is None for n in (256, 257, 258)] == [True, False, True]
    decoder.decode(message(ipfix_set(3, struct.pack(">HH", 3, 0))), SOURCE)
    assert decoder.template(SOURCE, 1, 257) is None
    decoder.decode(message(ipfix_set(2, struct.pack(">HH", 999, 0))), SOURCE)  # T-08: never sent: no error
    assert decoder.stats.withdrawals == 4


SPEC_8_12 = specifiers(((8, 4), (12, 4)))
BAD = {
    "empty": b"",
    "header cut": message()[:15],
    "version 9": b"\0\x09" + message()[2:],
    "length too large": message(template(256, (4, 1)))[:-1],
    "length too small": message(template(256, (4, 1))) + b"\0",
    "T-34 an element missing": message(ipfix_set(2, struct.pack(">HH", 256, 2), SPEC_8_12[:4])),
    "T-35 set longer than message": message(struct.pack(">HHHH", 2, 16, 256, 2) + SPEC_8_12[:4]),
    "T-36 half a specifier": message(ipfix_set(2, struct.pack(">HH", 256, 2), SPEC_8_12[:6])),
    "T-37 rest after the field": message(ipfix_set(2, struct.pack(">HH", 256, 1), SPEC_8_12)),
    "T-39 scope count 0": message(options_template(256, 0, (149, 4))),
    "T-40 scope count 2 of 1": message(options_template(256, 2, (149, 4))),
    "T-41 record cut": message(template(256, (8, 4)), ipfix_set(256, b"\xc0\0\2")),
    "T-41 illegal reduced address": message(template(256, (8, 3))),
    "T-41 illegal size of a counter": message(template(256, (1, 9))),
    "T-41 varlen runs out": message(template(256, (82, VARIABLE_LENGTH)), ipfix_set(256, b"\x05eth")),
    "T-41 varlen long form cut": message(template(256, (82, VARIABLE_LENGTH)), ipfix_set(256, b"\xff\0")),
    "T-42 too few elements": message(template(256, (82, VARIABLE_LENGTH), (10, 4)), ipfix_set(256, b"\3eth0\0")),
    "T-43 reserved set id": message(ipfix_set(4, b"\0\0\0\0")),
    "template id below 256": message(template(255, (4, 1))),
    "set length below 4": message(struct.pack(">HH", 256, 3)),
    "field of length 0": message(template(256, (82, 0), (4, 1))),
}


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD.keys())
def test_bad_messages_are_refused_and_others_state_stays(octets):
    """RFC 5471 3.6.4, RFC 5471 3.6.5, RFC 5471 3.6.7, RFC 5471 3.4.1: the cases are named by their test there."""
    decoder = Decoder()
    decoder.decode(message(template(700, (4, 1))), SOURCE)
    with pytest.raises(DecodeError, match=r"^[^\n]+$"):
        decoder.decode(octets, SOURCE)
    assert decoder.stats.malformed == 1
    assert len(decoder.decode(message(ipfix_set(700, b"\x06")), SOURCE)) == 1


def test_the_completed_template_of_t38_is_accepted():
    """RFC 5471 3.6.4 (e)."""
    (record,) = Decoder().decode(
        message(template(256, (8, 4), (12, 4)), ipfix_set(256, b"\xc0\0\2\1\xc0\0\2\2")), SOURCE
    )
    assert record.get("destinationIPv4Address") == IPv4Address("192.0.2.2")


def test_a_hostile_sender_cannot_grow_it():
    decoder = Decoder(max_templates=10, max_sources=5, max_template_fields=100)
    for number in range(1000):
        fields = [(4, 1)] * (1 + number % 60)
        decoder.decode(message(template(256 + number, *fields), domain=number % 7), ("192.0.2.1", number % 11))
        assert len(decoder._lru) <= 10
        assert len(decoder._domains) <= 5
        kept = [t for state in decoder._domains.values() for t in state.templates.values()]
        assert decoder._fields == sum(len(t.fields) for t in kept) <= 100
        assert len(kept) == len(decoder._lru)
    assert decoder.stats.evicted_templates > 0
    assert decoder.stats.evicted_domains > 0
    decoder.decode(message(template(256, *[(4, 1)] * 101)), SOURCE)
    assert decoder.template(SOURCE, 1, 256) is None


def test_least_recently_used_template_goes_first():
    decoder = Decoder(max_templates=2)
    decoder.decode(message(template(256, (4, 1)), template(257, (4, 1))), SOURCE)
    decoder.decode(message(ipfix_set(256, b"\x06")), SOURCE)
    decoder.decode(message(template(258, (4, 1)), sequence=1), SOURCE)
    assert [decoder.template(SOURCE, 1, n) is not None for n in (256, 257, 258)] == [True, False, True]


def test_sequence_gaps_are_counted_per_domain():
    decoder = Decoder()
    two = ipfix_set(256, b"\x06\x11")
    for domain in (1, 2):
        decoder.decode(message(template(256, (4, 1)), two, sequence=2**32 - 2, domain=domain), SOURCE)
    decoder.decode(message(two, sequence=0), SOURCE)
    assert decoder.stats.lost_records == 0
    decoder.decode(message(two, sequence=5), SOURCE)
    assert (decoder.stats.sequence_gaps, decoder.stats.lost_records) == (1, 3)
    decoder.decode(message(two, sequence=2), SOURCE)  # came late
    assert decoder.stats.late_messages == 1
    decoder.decode(message(two, sequence=7), SOURCE)
    decoder.decode(message(two, sequence=0, domain=2), SOURCE)
    assert (decoder.stats.sequence_gaps, decoder.stats.lost_records) == (1, 3)


def test_t43_unknown_sets_are_passed_over():
    """RFC 5471 3.6.7: counted, and what is behind them is read."""
    decoder = Decoder()
    (record,) = decoder.decode(message(template(256, (4, 1)), ipfix_set(999, bytes(8)), ipfix_set(256, b"\6")), SOURCE)
    assert (record.get("protocolIdentifier"), decoder.stats.unknown_sets) == (6, 1)


def test_unknown_sets_do_not_make_false_gaps():
    decoder = Decoder()
    decoder.decode(message(ipfix_set(256, b"\x06\x11"), sequence=10), SOURCE)
    decoder.decode(message(template(256, (4, 1)), sequence=12), SOURCE)
    assert decoder.stats.sequence_gaps == 0


def test_times_from_offsets_to_export_time():
    octets = struct.pack(">II", 2_500_000, 500_000)
    (record,) = Decoder().decode(message(template(256, (158, 4), (159, 4)), ipfix_set(256, octets)), SOURCE)
    assert record.start == datetime(2023, 11, 14, 22, 13, 17, 500000, UTC)
    assert record.end == datetime(2023, 11, 14, 22, 13, 19, 500000, UTC)


@given(st.binary(max_size=200))
def test_random_octets_raise_nothing_but_decode_error(octets):
    decoder = Decoder()
    for candidate in (octets, message(octets), message(template(256, (82, VARIABLE_LENGTH), (152, 8)), octets)):
        try:
            decoder.decode(candidate, SOURCE)
        except DecodeError as error:
            assert str(error)


SAMPLE = message(
    template(256, (8, 4), (82, VARIABLE_LENGTH), (152, 8), (154, 8), (893, 4, 6876)),
    options_template(257, 1, (149, 4), (34, 4)),
    ipfix_set(256, b"\xc0\0\2\1\4eth0" + b"\0" * 16 + b"\xc0\0\2\1"),
    ipfix_set(257, b"\0" * 8),
)


@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255), st.integers(0, len(SAMPLE)))
def test_changed_octets_raise_nothing_but_decode_error(where, value, cut):
    octets = bytearray(SAMPLE)
    octets[where] = value
    for candidate in (bytes(octets), bytes(octets[:cut])):
        with contextlib.suppress(DecodeError):
            Decoder().decode(candidate, SOURCE)


@given(
    st.lists(
        st.tuples(st.sampled_from(["octetDeltaCount", "interfaceName", "sourceIPv6Address"]), st.binary(max_size=300)),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_encoded_is_decoded(fields):
    specs, body, expected = [], b"", []
    for name, octets in fields:
        element = by_name(name)
        specs.append((element.id, element.length))
        if element.length == VARIABLE_LENGTH:
            text = octets.hex()
            body += variable(text.encode())
            expected.append(text)
        else:
            fixed = octets[: element.length].ljust(element.length, b"\1")
            body += fixed
            expected.append(int.from_bytes(fixed, "big") if element.length == 8 else IPv6Address(fixed))
    (record,) = Decoder().decode(message(template(256, *specs), ipfix_set(256, body)), SOURCE)
    assert [value for _, value in record.fields] == expected
