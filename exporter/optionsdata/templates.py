"""The options templates. Their ids lie between those of profiles "ovs" and "full", so both can have them.

docs/ipfix.md says why each is as it is; reference for the order of fields and their sizes is what collectors read.
"""

from exporter.template import Template, field

NAME_LENGTH = 16  # IFNAMSIZ of <linux/if.h>, with its terminating zero
DESCRIPTION_LENGTH = 64  # of 256 that Linux allows; collectors show fewer

# RFC 7011 section 4 asks for two timestamps of one element: when first and when last. Losses are looked for by the
# second, so no finer clock is claimed (RFC 5153 section 4.5).
_FIRST_AND_LAST = ("observationTimeSeconds", "observationTimeSeconds")


def _template(number: int, scope: tuple[str, ...], *names: str) -> Template:
    return Template(number, tuple(field(name) for name in (*scope, *names)), len(scope))


# Of its own, with nothing else: the one form that every collector reads the same.
SAMPLING_INTERVAL = _template(512, ("observationDomainId",), "samplingInterval")

# RFC 7011 sections 4.1 to 4.4.
METERING_STATISTICS = _template(
    513,
    ("observationDomainId", "meteringProcessId"),
    "exportedMessageTotalCount",
    "exportedFlowRecordTotalCount",
    "exportedOctetTotalCount",
)
METERING_RELIABILITY = _template(
    514,
    ("observationDomainId", "meteringProcessId"),
    "ignoredPacketTotalCount",
    "ignoredOctetTotalCount",
    *_FIRST_AND_LAST,
)
EXPORTING_RELIABILITY = _template(
    515,
    ("exportingProcessId",),
    "notSentFlowTotalCount",
    "notSentPacketTotalCount",
    "notSentOctetTotalCount",
    *_FIRST_AND_LAST,
)
FLOW_KEYS = _template(516, ("templateId",), "flowKeyIndicator")

# RFC 5476 sections 6.5.1 to 6.5.3. Never samplingPacketInterval (305) or samplingPacketSpace (306) beside flows:
# goflow2 takes 305 for the rate.
SELECTOR = _template(517, ("selectorId",), "selectorAlgorithm", "samplingProbability")
# The Observation Point by 138: by ingressInterface (10) nfcapd takes the record for an interface's name.
SELECTION_SEQUENCE = _template(518, ("selectionSequenceId",), "observationPointId", "selectorId")
SEQUENCE_STATISTICS = _template(
    519, ("selectionSequenceId",), "selectorIdTotalPktsObserved", "selectorIdTotalPktsSelected"
)

# As Cisco's interface table: the interface is no scope, and texts have a fixed length. nfcapd reads no other form.
INTERFACE = Template(
    520,
    (
        field("exportingProcessId"),
        field("ingressInterface"),
        field("interfaceName", NAME_LENGTH),
        field("interfaceDescription", DESCRIPTION_LENGTH),
    ),
    scope=1,
)

# RFC 5610 section 3.9, with all that may be left out: libfixbuf reads no shorter form.
ELEMENT_TYPE = _template(
    521,
    ("privateEnterpriseNumber", "informationElementId"),
    "informationElementDataType",
    "informationElementSemantics",
    "informationElementUnits",
    "informationElementRangeBegin",
    "informationElementRangeEnd",
    "informationElementName",
    "informationElementDescription",
)

# RFC 5476 section 6.5.4, with the limits that IANA has for values estimated from samples.
ACCURACY = _template(
    522,
    ("observationDomainId", "selectorId", "informationElementId"),
    "lowerCILimit",
    "upperCILimit",
    "confidenceLevel",
)
