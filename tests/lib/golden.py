"""What Open vSwitch 2.5.0 emitted (tests/data/ovs25_*.tsv), and our exporter made to emit the same."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import Selector, main_selector
from lib.ipfix_oracle import Oracle
from lib.receiver import Receiver

DATA = Path(__file__).parents[1] / "data"
NOW = 5000 * 10**9
WALL = 1450000000_250000000  # the clock of the golden messages


def golden_messages() -> list[tuple[str, bytes]]:
    rows = [line.split("\t") for line in (DATA / "ovs25_messages.tsv").read_text().splitlines()[1:]]
    return [(label, bytes.fromhex(octets)) for label, _, octets in rows]


TEMPLATE_MESSAGES = [octets for _, octets in golden_messages() if octets[16:18] == b"\0\2"]
RECORD_MESSAGES = [(label, octets) for label, octets in golden_messages() if octets[16:18] != b"\0\2"]


def values_of(octets: bytes) -> dict[str, Any]:
    """The fields of a golden record by name."""
    oracle = Oracle(strict_sequence=False)
    for message in TEMPLATE_MESSAGES:
        oracle.feed(message)
    (record,) = oracle.feed(octets).records
    return dict(record.values)


def sample_of(octets: bytes) -> dict:
    """Rebuild the sample that makes this golden record."""
    values = values_of(octets)
    seen = {
        "ifindex": 1,
        "time": NOW,
        "direction": values["flowDirection"],
        "src_mac": values["sourceMacAddress"],
        "dst_mac": values["destinationMacAddress"],
        "ethertype": values["ethernetType"],
        "ethernet_header_length": values["ethernetHeaderLength"],
        "main": 1,
        "packets": 1,
        "frame_octets": values["layer2OctetDeltaCount"],
        "ip_octets": values.get("octetDeltaCount", 0),
        "ip_length": values.get("octetDeltaCount", 0),
    }
    if "vlanId" in values:
        seen |= {"vlan_count": 1, "vlan_tci": [values["dot1qPriority"] << 13 | values["vlanId"], 0]}
    if "ipVersion" in values:
        version = values["ipVersion"]
        seen |= {
            "ip_version": version,
            "ip_ttl": values["ipTTL"],
            "ip_protocol": values["protocolIdentifier"],
            "ip_tos": values["ipClassOfService"],
            "src_addr": values[f"sourceIPv{version}Address"],
            "dst_addr": values[f"destinationIPv{version}Address"],
            "flow_label": values.get("flowLabelIPv6", 0),
            "src_port": values.get("sourceTransportPort", values.get(f"icmpTypeIPv{version}", 0)),
            "dst_port": values.get("destinationTransportPort", values.get(f"icmpCodeIPv{version}", 0)),
        }
    if "tunnelType" in values:
        seen["tunnel"] = {
            "src_addr": values["tunnelSourceIPv4Address"],
            "dst_addr": values["tunnelDestinationIPv4Address"],
            "key": int.from_bytes(values["tunnelKey"], "big"),
            "key_length": len(values["tunnelKey"]),
            "src_port": values["tunnelSourceTransportPort"],
            "dst_port": values["tunnelDestinationTransportPort"],
            "type": values["tunnelType"],
            "protocol": values["tunnelProtocolIdentifier"],
            "ip_version": 4,
        }
    return seen


def message_of(samples: Any, rule: int | None = None) -> bytes:
    """The message that our exporter sends for one `struct sample`, at the clock and identity of the golden ones.

    Of options data it sends samplingInterval alone. With `rule` it is a flow exporter, whose identity is the rule's.
    """
    with Receiver() as receiver:
        options = ExporterOptions(
            targets=(receiver.target,),
            **({"obs_domain_id": 123, "obs_point_id": 456} if rule is None else {}),
            cache_active_timeout=0,
            cache_max_flows=0,
            profile="ovs",
            options_data=False,
        )
        with Exporter(options, offset=lambda: WALL - NOW) as exporter:
            selector = main_selector(options) if rule is None else Selector(2 + rule, rule, Fraction(1), 123, 456)
            exporter.set_weight(0, Fraction(1), [selector])
            exporter.tick(NOW)
            receiver.read()
            exporter.ingest(samples, 1)
            (message,) = receiver.read()
    return message


def assert_same(message: bytes, golden: bytes) -> None:
    """Equal to the octet, but for the sequence number: ours counts from 0 and counts the announcement."""
    assert message[:8] + message[12:] == golden[:8] + golden[12:]
    assert int.from_bytes(message[8:12], "big") == 1
