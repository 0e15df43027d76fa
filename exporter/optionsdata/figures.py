"""The values that options data tells, as one snapshot: the exporter fills it, the builders beside this file read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from exporter.template import Template


@dataclass(frozen=True)
class Interface:
    """An interface as collectors are to show it: number, name, and a description for people ("" if it has none)."""

    ifindex: int
    name: str
    description: str = ""


@dataclass(frozen=True)
class Loss:
    """What was lost until now: flows (0 where packets never became any), packets, octets; when first and last.

    Times in seconds since 1970; 0 while nothing was lost.
    """

    flows: int = 0
    packets: int = 0
    octets: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Sent:
    """What a session has sent in one observation domain: messages, Flow Records, octets of IPFIX."""

    messages: int = 0
    flows: int = 0
    octets: int = 0


@dataclass(frozen=True)
class Estimate:
    """A total that sampling estimates, and the variance of that estimate."""

    total: float
    variance: float


@dataclass(frozen=True)
class Selector:
    """One Selector (RFC 5475: uniform probabilistic sampling) and the Selection Sequence that ends with it.

    Attributes:
        id: selectorId and selectionSequenceId, unique in its domain (RFC 5476 section 6.1).
        domain: observation domain of what it selects.
        point: observationPointId of the Observation Point that the packets come from.
        probability: with which each packet is selected.
        observed: packets at the Observation Point; None where nobody counts them.
        selected: packets selected of those; None as above.
        packets: estimate of packetTotalCount of all that it selected from; None where nobody keeps it.
        octets: estimate of octetTotalCount, as above.

    """

    id: int
    domain: int
    point: int
    probability: Fraction
    observed: int | None = None
    selected: int | None = None
    packets: Estimate | None = None
    octets: Estimate | None = None


@dataclass(frozen=True)
class Figures:
    """One moment of an exporter, as one of its sessions tells it.

    Attributes:
        domain: the main observation domain: what is of no flow's domain goes out here.
        began: when the counting of losses began, in seconds since 1970.
        metering_process: meteringProcessId (143).
        exporting_process: exportingProcessId (144).
        interval: samplingInterval (34) by observation domain; 1 for those not named.
        interfaces: all that are known.
        selectors: all of them.
        ignored: observed packets that the Metering Process did not process.
        lost: Flow Records that this session's collector did not get.
        sent: what this session has sent, by observation domain.
        templates: of flow records, by the observation domains that have any: those that this session has sent, and
            those that it sends next.
        announce_selector: whether selectors, and with them samplingProbability (311), may be told.
        everything: False: samplingInterval alone.

    """

    domain: int = 0
    began: int = 0
    metering_process: int = 1
    exporting_process: int = 1
    interval: Mapping[int, int] = field(default_factory=dict)
    interfaces: tuple[Interface, ...] = ()
    selectors: tuple[Selector, ...] = ()
    ignored: Loss = Loss()
    lost: Loss = Loss()
    sent: Mapping[int, Sent] = field(default_factory=dict)
    templates: Mapping[int, tuple[Template, ...]] = field(default_factory=dict)
    announce_selector: bool = True
    everything: bool = True

    def has_flows(self, domain: int) -> bool:
        """Whether flow records go out in this domain, or will."""
        return domain == self.domain or bool(self.templates.get(domain))
