"""The oracle of tests/lib refuses what an exporter must never send: else its silence would show nothing.

"Never" in docs/ipfix.md's table of RFC 5471 stands on this: every message that a test receives goes through it.
"""

import struct

import pytest

from lib.ipfix_oracle import Oracle
from lib.messages import ipfix_set, message, options_template, specifiers, template, variable

VARIABLE = 65535
PORT = template(256, (7, 2))  # sourceTransportPort
PORTS = template(256, (7, 2), (11, 2))
NAME = template(256, (82, VARIABLE))
FLOW_KEYS = options_template(257, 1, (145, 2), (173, 8))
SAMPLING = options_template(257, 1, (149, 4), (34, 4))


def withdrawal(number: int, set_id: int = 2) -> bytes:
    return ipfix_set(set_id, struct.pack(">HH", number, 0))


def flow_keys(number: int, indicator: int) -> bytes:
    return ipfix_set(257, struct.pack(">HQ", number, indicator))


UNRELIABLE = {
    "3.1 another version": [b"\0\x09" + message(PORT)[2:]],
    "3.1 a length that is too large": [message(PORT)[:-1]],
    "3.1 a length that is too small": [message(PORT) + b"\0"],
    "3.1 a record that is not counted": [message(PORT, ipfix_set(256, b"\0\1")), message(sequence=0)],
    "3.3 an empty Set": [message(PORT), message(ipfix_set(256))],
    "3.3.1 padding behind a template": [
        message(ipfix_set(2, struct.pack(">HH", 256, 1), specifiers(((7, 2),)), b"\0"))
    ],
    "3.3.2 a reserved Set id": [message(ipfix_set(4, bytes(4)))],
    "3.4.1 a reserved template id": [message(template(255, (7, 2)))],
    "3.4.2 no scope": [message(options_template(257, 0, (149, 4)))],
    "3.4.2 more scopes than fields": [message(options_template(257, 2, (149, 4)))],
    "4.4 keys of a template that was never sent": [message(FLOW_KEYS, flow_keys(256, 1))],
    "4.4 keys of a template of another domain": [message(PORT, domain=2), message(FLOW_KEYS, flow_keys(256, 1))],
    "4.4 a key behind the last field": [message(PORT, FLOW_KEYS, flow_keys(256, 2))],
    "6.1.6 a string that is no UTF-8": [message(NAME, ipfix_set(256, variable(b"a\xff")))],
    "6.2 an address in fewer octets": [message(template(256, (8, 3)))],
    "6.2 a number in more octets": [message(template(256, (7, 3)))],
    "7 a length that runs out of its Set": [message(NAME, ipfix_set(256, b"\x05eth"))],
    "8 data before its template": [message(ipfix_set(256, b"\0\1"))],
    "8 data of a template of another domain": [message(PORT, domain=2), message(ipfix_set(256, b"\0\1"))],
    "8 fewer values than the template has": [message(PORTS, ipfix_set(256, bytes(3)))],
    "8 more values than the template has": [message(PORT, ipfix_set(256, bytes(3)))],
    "8.4 another layout under an id": [message(PORT), message(PORTS)],
    "8.4 a withdrawal": [message(PORT), message(withdrawal(256))],
}

RELIABLE = {
    "8.1 a template that is there already": [message(PORT), message(PORT)],
    "8.1 another layout without withdrawal": [message(PORT), message(PORTS)],
    "8.1 withdrawn twice": [message(PORT), message(withdrawal(256)), message(withdrawal(256))],
    "8.1 withdrawn and never sent": [message(PORT), message(withdrawal(257))],
    "8.1 withdrawn in another domain": [message(PORT), message(withdrawal(256), domain=2)],
    "8.1 an options template in a set of templates": [message(SAMPLING), message(withdrawal(257))],
    "8.2 data behind the withdrawal": [message(PORT), message(withdrawal(256)), message(ipfix_set(256, b"\0\1"))],
}

CASES = [(False, name) for name in UNRELIABLE] + [(True, name) for name in RELIABLE]


@pytest.mark.parametrize(("reliable", "name"), CASES, ids=[name for _, name in CASES])
def test_what_no_exporter_may_send_is_refused(reliable: bool, name: str) -> None:
    """Of several messages the last is the one that must not be. Sections of RFC 7011."""
    oracle = Oracle(reliable=reliable)
    *before, wrong = (RELIABLE if reliable else UNRELIABLE)[name]
    for octets in before:
        oracle.feed(octets)
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        oracle.feed(wrong)


def test_what_an_exporter_may_send_is_read() -> None:
    """The same things done right: a withdrawn id may have another layout, over UDP a template may come again."""
    reliable, unreliable = Oracle(reliable=True), Oracle()
    for octets in (message(PORT), message(withdrawal(256)), message(PORTS, ipfix_set(256, bytes(4)))):
        reliable.feed(octets)
    for octets in (message(PORT), message(PORT, FLOW_KEYS, flow_keys(256, 1))):
        unreliable.feed(octets)
    assert [record["destinationTransportPort"] for record in reliable.records] == [0]
    assert [record["flowKeyIndicator"] for record in unreliable.options] == [1]
