"""Living flows as plain dicts, for people: what `xdpfix show flows` prints. The cache is left as it is."""

import socket
import zlib
from typing import Any

from exporter._native import ffi
from exporter.elements import TUNNEL_TYPES
from exporter.transports.connection import SCTP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL

_PROTOCOLS_WITH_PORTS = (TCP_PROTOCOL, UDP_PROTOCOL, SCTP_PROTOCOL)
_FLAGS = "FSRPAUEC"  # from the lowest bit of the TCP header's flags octet
_VERDICTS = {
    number: name.removeprefix("VERDICT_").lower() for number, name in ffi.typeof("enum verdict").elements.items()
}


def flow_row(flow: "ffi.CData", now_ns: int) -> dict[str, Any]:
    """One `struct flow` as a row; ages in seconds before `now_ns` (CLOCK_MONOTONIC). Counts are scaled.

    "flow" is the same for all flows of one key, one after the other, while the cache lives; "started" (ns of
    CLOCK_MONOTONIC) tells them apart.
    """
    key = flow.key
    row: dict[str, Any] = {
        # The hash has the observation point too, and is short for so many flows.
        "flow": f"{flow.hash:08x}{zlib.crc32(ffi.buffer(ffi.addressof(key))):08x}",
        "started": int(flow.first),
        "interface": int(key.ifindex),
        "direction": ("in", "out")[key.direction],
        "ethertype": f"0x{socket.ntohs(key.ethertype):04x}",
        "source": _mac(key.src_mac),
        "destination": _mac(key.dst_mac),
        "protocol": None,
        "other_interface": int(flow.other_ifindex) or None,
        "ttl": None,
        "mpls": socket.ntohl(key.mpls_label) >> 12 if key.mpls_label else None,
        "vlan": [socket.ntohs(key.vlan_tci[i]) & 0xFFF for i in range(key.vlan_count)] or None,
        "packets": int(flow.packets),
        "octets": int(flow.ip_octets if key.ip_version else flow.frame_octets),
        "tcp_flags": "".join(flag for bit, flag in enumerate(_FLAGS) if flow.tcp_flags >> bit & 1),
        "age": round((now_ns - flow.first) / 1e9, 1),
        "idle": round((now_ns - flow.last) / 1e9, 1),
    }
    if key.ip_version:
        row["source"] = _address(key.ip_version, key.src_addr)
        row["destination"] = _address(key.ip_version, key.dst_addr)
        row["protocol"] = int(key.ip_protocol)
        low, high = int(flow.ttl_min), int(flow.ttl_max)
        row["ttl"] = str(low) if low == high else f"{low}-{high}"
    if key.ip_protocol in _PROTOCOLS_WITH_PORTS:
        row["source_port"] = socket.ntohs(key.src_port)
        row["destination_port"] = socket.ntohs(key.dst_port)
    if key.tunnel.type:
        row |= _tunnel(key.tunnel)
    if flow.verdict.last:
        row |= _verdict(flow.verdict)
    return row


def column(flows: "ffi.CData", name: str) -> list[int]:
    """One 64-bit field of every struct flow of an array, without Python for a flow: some ms for 100 000 of them."""
    size, offset = ffi.sizeof("struct flow"), ffi.offsetof("struct flow", name)
    return memoryview(ffi.buffer(flows)).cast("B").cast("Q")[offset // 8 :: size // 8].tolist() if len(flows) else []


def _tunnel(tunnel: "ffi.CData") -> dict[str, Any]:
    """Columns of tunnelled flows alone: no column is there for a host without tunnels."""
    return {
        "tunnel": TUNNEL_TYPES.get(tunnel.type, str(tunnel.type)),
        "tunnel_key": int.from_bytes(ffi.buffer(ffi.addressof(tunnel, "key")), "big"),
        "tunnel_source": _address(tunnel.ip_version, tunnel.src_addr),
        "tunnel_destination": _address(tunnel.ip_version, tunnel.dst_addr),
    }


def _verdict(verdict: "ffi.CData") -> dict[str, Any]:
    """Columns of flows whose packets an observed XDP program decided on, alone."""
    return {
        "verdict": _VERDICTS.get(verdict.last, str(verdict.last)),
        "dropped_packets": int(verdict.dropped_packets),
    }


def _mac(octets: "ffi.CData") -> str:
    return bytes(ffi.buffer(octets)).hex(":")


def _address(version: int, octets: "ffi.CData") -> str:
    packed = bytes(ffi.buffer(octets))
    return socket.inet_ntop(socket.AF_INET, packed[:4]) if version == 4 else socket.inet_ntop(socket.AF_INET6, packed)
