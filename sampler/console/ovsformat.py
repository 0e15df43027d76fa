"""The figures of exporters as `ovs-ofctl dump-ipfix-bridge` and `dump-ipfix-flow` print them, for scripts that read it.

Pure. docs/operations.md says what each figure means, and where Open vSwitch's names mislead.
"""

import re
from collections.abc import Mapping
from typing import Any

MAIN = "main"


def counters(exporter: Mapping[str, Any]) -> dict[str, int]:
    """Open vSwitch's ten figures, by its names and in its order, out of one exporter of `show exporters`."""
    errors = {f"ipv{version}": exporter[f"samples_ipv{version}_other"] for version in (4, 6)}
    return {
        "flows": exporter["flows_created"],
        "current flows": exporter["flows"],
        "sampled pkts": sum(exporter[f"samples_{place}"] for place in ("cached", "pending", "exported")),
        "ipv4 ok": exporter["samples_ipv4_known"],
        "ipv6 ok": exporter["samples_ipv6_known"],
        "tx pkts": exporter["messages_sent"],
        "pkts errs": sum(errors.values()),
        "ipv4 errs": errors["ipv4"],
        "ipv6 errs": errors["ipv6"],
        "tx errs": exporter["send_failures"],
    }


def lines(exporters: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The replies of Open vSwitch: to dump-ipfix-bridge for the main exporter, to dump-ipfix-flow for the others."""
    printed = []
    if MAIN in exporters:
        printed.append("NXST_IPFIX_BRIDGE reply (xid=0x2):")
        printed += _entry("  bridge ipfix: ", 16, exporters[MAIN])
    rules = {name: exporter for name, exporter in exporters.items() if name != MAIN}
    if rules:
        printed.append(f"NXST_IPFIX_FLOW reply (xid=0x2): {len(rules)} ids")
        for name, exporter in sorted(rules.items(), key=lambda item: _set_id(item[0])):
            printed += _entry(f"  id {_set_id(name):3}: ", 10, exporter)
    return printed


def _entry(title: str, indent: int, exporter: Mapping[str, Any]) -> list[str]:
    texts = [f"{name}={count}" for name, count in counters(exporter).items()]
    return [title + ", ".join(texts[:6]), " " * indent + ", ".join(texts[6:])]


def _set_id(name: str) -> int:
    """The collector_set_id of an exporter for flow rules, which its name ends with."""
    digits = re.search(r"\d+$", name)
    return int(digits[0]) if digits else 0
