"""The lines of `xdpfix show exporters --ovs`. tests/peers compares them with Open vSwitch's own."""

from sampler.console.ovsformat import lines

FIGURES = {
    "flows_created": 12,
    "flows": 3,
    "samples_cached": 4,
    "samples_pending": 1,
    "samples_exported": 7,
    "samples_ipv4_known": 8,
    "samples_ipv6_known": 2,
    "samples_ipv4_other": 1,
    "samples_ipv6_other": 5,
    "messages_sent": 32,
    "send_failures": 6,
    "targets": [],
}
BRIDGE = [
    "NXST_IPFIX_BRIDGE reply (xid=0x2):",
    "  bridge ipfix: flows=12, current flows=3, sampled pkts=12, ipv4 ok=8, ipv6 ok=2, tx pkts=32",
    "                pkts errs=6, ipv4 errs=1, ipv6 errs=5, tx errs=6",
]


def test_the_main_exporter_is_the_bridge() -> None:
    assert lines({"main": FIGURES}) == BRIDGE


def test_without_a_main_exporter_there_is_no_bridge() -> None:
    assert lines({"collector-set-1": FIGURES})[0] == "NXST_IPFIX_FLOW reply (xid=0x2): 1 ids"


def test_exporters_for_rules_have_their_ids() -> None:
    assert lines({"collector-set-12345": FIGURES, "main": FIGURES, "collector-set-7": FIGURES}) == [
        *BRIDGE,
        "NXST_IPFIX_FLOW reply (xid=0x2): 2 ids",
        "  id   7: flows=12, current flows=3, sampled pkts=12, ipv4 ok=8, ipv6 ok=2, tx pkts=32",
        "          pkts errs=6, ipv4 errs=1, ipv6 errs=5, tx errs=6",
        "  id 12345: flows=12, current flows=3, sampled pkts=12, ipv4 ok=8, ipv6 ok=2, tx pkts=32",
        "          pkts errs=6, ipv4 errs=1, ipv6 errs=5, tx errs=6",
    ]
