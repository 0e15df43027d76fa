"""Samples for tests: struct sample filled from names, as the BPF programs fill it."""

import ipaddress
from collections.abc import Iterable
from typing import Any

from exporter._native import ffi


def network(value: int, size: int) -> int:
    """Make the number whose octets in memory are `value` in network byte order."""
    import sys

    return int.from_bytes(value.to_bytes(size, "big"), sys.byteorder)


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed.ljust(16, b"\0")


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


TCP_V4: dict[str, Any] = {
    "ifindex": 2,
    "direction": 0,
    "src_mac": "00:00:5e:00:53:01",
    "dst_mac": "00:00:5e:00:53:02",
    "ethertype": 0x0800,
    "ethernet_header_length": 14,
    "ip_version": 4,
    "ip_protocol": 6,
    "ip_ttl": 64,
    "ip_tos": 0xB8,
    "src_addr": "192.0.2.1",
    "dst_addr": "198.51.100.2",
    "src_port": 1000,
    "dst_port": 80,
}

META = {name for name, _ in ffi.typeof("struct sample_meta").fields}
BIG_ENDIAN = {"ethertype": 2, "src_port": 2, "dst_port": 2, "flow_label": 4, "mpls_label": 4, "key": 8}


def _fill(target: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name == "tunnel":
            _fill(target.tunnel, value)
        elif name == "vlan_tci":
            target.vlan_tci = [network(tci, 2) for tci in value]
        elif name.endswith("_addr"):
            setattr(target, name, address(value))
        elif name.endswith("_mac"):
            setattr(target, name, mac(value))
        else:
            setattr(target, name, network(value, BIG_ENDIAN[name]) if name in BIG_ENDIAN else value)


def sample(base: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Describe one sample for the main exporter: TCP over IPv4, 54 octets, unless `base` and `changes` differ."""
    return (
        {"main": 1, "packets": 1, "frame_octets": 54, "ip_octets": 40, "ip_length": 40}
        | (TCP_V4 if base is None else base)
        | changes
    )


def batch(samples: Iterable[dict[str, Any]]) -> Any:
    """Make the struct sample[] of these descriptions."""
    items = list(samples)
    array = ffi.new("struct sample[]", len(items))
    for target, values in zip(array, items, strict=True):
        _fill(target.meta, {name: value for name, value in values.items() if name in META})
        _fill(target.key, {name: value for name, value in values.items() if name not in META})
    return array
