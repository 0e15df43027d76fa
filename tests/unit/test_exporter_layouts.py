"""Layouts of records: what fields a template may have, and any value in them, as two decoders read it.

RFC 5471 sections 3.2 to 3.5, where its tests ask for templates that no exporter of flows has.
"""

import itertools

import pytest

from exporter import message
from exporter.elements import VARIABLE_LENGTH, registry
from exporter.errors import MessageTooLongError
from exporter.options import ExporterOptions
from exporter.optionsdata.encoding import record
from exporter.optionsdata.kinds import KINDS
from exporter.profiles import profile
from exporter.template import Template, field
from lib.decoders import Values, read_twice
from lib.harness import UDP_V4, VXLAN, Harness
from lib.samples import sample

LARGEST_MESSAGE = 65535 - 20 - 8  # octets: what UDP over IPv4 carries
HEADERS = 16 + 4 + 4  # of message, Set and Template Record
ALL = [
    *(
        template
        for name in ("ovs", "full")
        for virtual in (False, True)
        for template in profile(name, virtual).templates
    ),
    *(kind.template for kind in KINDS),
]


def send(template: Template, *records: bytes, limit: int = LARGEST_MESSAGE) -> list[Values]:
    """Send a template and records of it, by the functions that send options data; what arrives."""
    items = [(template.set_id, template.encode()), *((template.id, octets) for octets in records)]
    messages, sequence = [], 0
    for packed in message.pack(items, limit):
        messages.append(packed.encode(1_700_000_000, sequence, 1))
        sequence += packed.records
    return read_twice(messages)


@pytest.mark.parametrize(
    ("number", "fields", "scope", "reason"),
    [
        (255, 1, 0, "template id 255 is out of range"),
        (65536, 1, 0, "template id 65536 is out of range"),
        (300, 0, 0, "has no field and would be its own withdrawal"),
        (300, 1, 2, "has 1 fields, of which 2 cannot be its scope"),
        (300, 1, -1, "has 1 fields, of which -1 cannot be its scope"),
    ],
)
def test_a_layout_that_no_collector_can_read_is_refused(number: int, fields: int, scope: int, reason: str) -> None:
    """RFC 5471 3.4.1: never an Options Template without a scope: with none it is a Template, in a Set of those."""
    with pytest.raises(ValueError, match=reason):
        Template(number, (field("ipTTL"),) * fields, scope)
    assert (Template(300, (field("ipTTL"),)).set_id, Template(300, (field("ipTTL"),), 1).set_id) == (2, 3)


# Of each type that options data has, of IANA's and of an enterprise: element, octets, value.
SCOPES = [
    ("protocolIdentifier", 1, 17),
    ("templateId", 2, 256),
    ("observationDomainId", 4, 2**32 - 1),
    ("selectorId", 8, 2**64 - 1),
    ("samplingProbability", 8, 0.1),
    ("observationTimeSeconds", 4, 1_700_000_000),
    ("interfaceName", VARIABLE_LENGTH, "eth0"),
    ("interfaceName", 16, "eth0"),
    ("tunnelType", 1, 7),
    ("virtualObsID", VARIABLE_LENGTH, "rack 7"),
]


@pytest.mark.parametrize(("name", "length", "value"), SCOPES)
def test_t15_t16_any_element_can_be_a_scope(name: str, length: int, value: int | float | str) -> None:
    """RFC 5471 3.4.1: one of each type that we encode, enterprise-specific ones too."""
    template = Template(300, (field(name, length), field("samplingInterval")), scope=1)
    assert send(template, record(template, value, 1)) == [[(name, value), ("samplingInterval", 1)]]


def test_t18_scopes_keep_their_order() -> None:
    """RFC 5471 3.4.2: of all our scopes in one template, forwards and backwards."""
    names = [item.element.name for kind in KINDS for item in kind.template.fields[: kind.template.scope]]
    for order in (list(dict.fromkeys(names)), list(dict.fromkeys(reversed(names)))):
        template = Template(300, (*map(field, order), field("samplingInterval")), scope=len(order))
        numbers = list(range(1, len(order) + 1))
        ((*scopes, _),) = send(template, record(template, *numbers, 1))
        assert scopes == list(zip(order, numbers, strict=True))


ARRANGEMENTS = [
    ("interfaceName",),
    ("interfaceName", "ingressInterface"),
    ("ingressInterface", "interfaceName"),
    ("interfaceName", "interfaceDescription", "ingressInterface", "virtualObsID"),
]


@pytest.mark.parametrize("names", ARRANGEMENTS, ids=" ".join)
@pytest.mark.parametrize("length", [0, 1, 254, 255, 300])
def test_t03_e036_values_of_variable_length_alone_and_among_fixed_ones(names: tuple[str, ...], length: int) -> None:
    """RFC 5471 3.2.2: of 0 to 254 octets; a longer text is cut, so that one octet always says the length."""
    template = Template(300, tuple(map(field, names)))
    texts = ["a" * length, "é" * (length // 2), "日" * (length // 3)]
    for text in texts:
        values = [text if item.length == VARIABLE_LENGTH else 7 for item in template.fields]
        shown = text.encode()[:254].decode(errors="ignore")
        expected = [(name, 7 if name == "ingressInterface" else shown) for name in names]
        assert send(template, record(template, *values), record(template, *values)) == [expected] * 2


def test_t05_no_template_has_padding() -> None:
    """RFC 5471 3.2.4: paddingOctets (210) is in no layout; records are as long as their values."""
    assert {item.element.id for template in ALL for item in template.fields if not item.element.pen} >= {4, 138}
    assert not [template for template in ALL if any(item.element.name == "paddingOctets" for item in template.fields)]


def test_p05_p08_p14_no_template_has_octets_of_packets() -> None:
    """RFC 5476 6.4, 7: no Packet Report is sent, so no header and no payload, padded or not, leaves the host."""
    sections = {"ipHeaderPacketSection", "ipPayloadPacketSection", "dataLinkFrameSection"}
    sections |= {"mplsLabelStackSection", "mplsPayloadPacketSection"}
    assert not sections & {item.element.name for template in ALL for item in template.fields}
    assert sections < {element.name for element in registry().values()}


# What goes out in fewer octets than its type has: element → octets.
REDUCED = {
    "observationPointId": 4,
    "tcpControlBits": 1,
    "forwardingStatus": 1,
    "minimumIpTotalLength": 4,
    "maximumIpTotalLength": 4,
    **dict.fromkeys((f"tcp{flag}TotalCount" for flag in ("Ack", "Fin", "Psh", "Rst", "Syn", "Urg")), 4),
}


def test_t12_reduced_sizes_hold_every_value_that_there_is() -> None:
    """RFC 5471 3.3.2: which elements, and the largest value of each read with the type that it really has."""
    integers = [item for template in ALL for item in template.fields if item.element.type.startswith("unsigned")]
    assert {item.element.name: item.length for item in integers if item.length != item.element.length} == REDUCED
    largest = 2**32 - 1
    with Harness(profile="full", obs_point_id=largest) as harness:
        harness.tick()
        harness.ingest(sample(ip_length=largest, ip_octets=largest, tcp_flags=0xFF, verdict=2))
        harness.flush()
        values = dict(read_twice(harness.receiver.datagrams)[-1])
        assert values["observationPointId"] == ExporterOptions(obs_point_id=largest).obs_point_id
        assert values["minimumIpTotalLength"] == values["maximumIpTotalLength"] == values["octetDeltaCount"] == largest
        assert (values["tcpControlBits"], values["forwardingStatus"]) == (0xFF, 0x80)


def test_t13_t14_an_element_that_occurs_twice_keeps_its_order() -> None:
    """RFC 5471 3.3.3: observationTimeSeconds, first and last time, one behind the other. Nothing else occurs twice."""
    repeated = {}
    for template in ALL:
        names = [item.element.name for item in template.fields]
        again = {name: [at for at, other in enumerate(names) if other == name] for name in names}
        repeated |= {(template.id, name): places for name, places in again.items() if len(places) > 1}
    assert repeated == {(514, "observationTimeSeconds"): [4, 5], (515, "observationTimeSeconds"): [4, 5]}
    template = next(template for template in ALL if template.id == 515)
    times = [("observationTimeSeconds", 9), ("observationTimeSeconds", 8)]
    assert send(template, record(template, 1, 2, 3, 4, 9, 8))[0][-2:] == times
    # Apart, as Open vSwitch 3.x has names of interfaces.
    apart = Template(300, (field("interfaceName"), field("ipTTL"), field("interfaceName")))
    assert send(apart, record(apart, "outer", 64, "inner")) == [
        [("interfaceName", "outer"), ("ipTTL", 64), ("interfaceName", "inner")]
    ]


def test_t27_the_largest_template() -> None:
    """RFC 5471 3.5.3: 16370 elements in a message of 65504 octets, and a record of it; one more is too many."""
    one = field("ipTTL")
    largest = Template(300, (one,) * ((LARGEST_MESSAGE - HEADERS) // 4))
    assert (len(largest.fields), HEADERS + 4 * len(largest.fields)) == (16370, 65504)
    octets = bytes(itertools.islice(itertools.cycle(range(251)), 16370))
    (values,) = send(largest, octets)
    assert bytes(value for _, value in values) == octets  # type: ignore[arg-type, misc]
    with pytest.raises(MessageTooLongError, match="raise message_size or the path MTU"):
        send(Template(300, (one,) * 16371))


def test_t27_our_largest_fit_the_smallest_message_size() -> None:
    """RFC 5471 3.5.3: so that no path is too narrow for a template of ours, nor for a record with the longest texts."""
    smallest = 512
    assert max(16 + 4 + len(template.encode()) for template in ALL) <= smallest
    with Harness(profile="full", virtual_obs_id="x" * 254, message_size=smallest) as harness:
        harness.tick()
        harness.ingest(sample(UDP_V4, tunnel=VXLAN))
        harness.flush()
        assert len(harness.records) == 1
