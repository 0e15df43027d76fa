"""An exporter under a virtual clock, sending to a real socket that the oracle reads."""

from fractions import Fraction
from typing import Any, Self

from exporter.exporter import Exporter
from exporter.options import ExporterOptions
from exporter.selector import main_selector
from lib.ipfix_oracle import OracleRecord
from lib.receiver import Receiver
from lib.samples import TCP_V4, batch, sample

START = 1000.0  # monotonic seconds at the first tick
WALL = 1_700_000_000.0  # wall time at monotonic 0

UDP_V4 = TCP_V4 | {"ip_protocol": 17}
OTHER_V4 = TCP_V4 | {"ip_protocol": 47, "src_port": 0, "dst_port": 0}
ICMP_V4 = TCP_V4 | {"ip_protocol": 1, "src_port": 8, "dst_port": 3}
TCP_V6 = TCP_V4 | {
    "ethertype": 0x86DD,
    "ip_version": 6,
    "src_addr": "2001:db8::1",
    "dst_addr": "2001:db8::2",
    "flow_label": 0x12345,
}
UDP_V6 = TCP_V6 | {"ip_protocol": 17}
OTHER_V6 = TCP_V6 | {"ip_protocol": 47, "src_port": 0, "dst_port": 0}
ICMP_V6 = TCP_V6 | {"ip_protocol": 58, "src_port": 128, "dst_port": 0}
ARP = {
    "ifindex": 2,
    "ethertype": 0x0806,
    "ethernet_header_length": 14,
    "src_mac": "00:00:5e:00:53:01",
    "dst_mac": "ff:ff:ff:ff:ff:ff",
    "ip_octets": 0,
    "ip_length": 0,
}
VXLAN = {
    "src_addr": "203.0.113.1",
    "dst_addr": "203.0.113.2",
    "key": 0x123456,
    "key_length": 3,
    "src_port": 54321,
    "dst_port": 4789,
    "type": 1,
    "protocol": 17,
    "ip_version": 4,
}
OUTER_V6 = {"src_addr": "2001:db8:ff::1", "dst_addr": "2001:db8:ff::2", "ip_version": 6}
GENEVE = VXLAN | {"type": 7, "dst_port": 6081}
GRE = VXLAN | {"type": 2, "protocol": 47, "src_port": 0, "dst_port": 0, "key": 0x12345678, "key_length": 4}
STT = VXLAN | {"type": 4, "protocol": 6, "dst_port": 7471, "key": 0x1122334455667788, "key_length": 8}
# One of each template: a key that no IANA element has, a VNI, a GRE key; over IPv4 and over IPv6.
TUNNELS = tuple(kind | outer for outer in ({}, OUTER_V6) for kind in (GENEVE, VXLAN, GRE))
UNTAGGED = (ARP, OTHER_V4, TCP_V4, UDP_V4, ICMP_V4, OTHER_V6, TCP_V6, UDP_V6, ICMP_V6)
VLAN = {"vlan_count": 1, "vlan_tci": [5 << 13 | 100, 0], "ethernet_header_length": 18}


def every_kind() -> list[dict[str, Any]]:
    """One sample of each kind of flow."""
    tagged = [*UNTAGGED, *(base | VLAN for base in UNTAGGED)]
    tunnelled = [base | {"tunnel": tunnel} for tunnel in TUNNELS for base in tagged]
    return [sample(base) for base in (*tagged, *tunnelled)]


class Harness:
    """Exporter, receiver and clock. Times are monotonic seconds."""

    def __init__(self, seed: int | None = 1, **options: Any) -> None:
        self.receiver = Receiver()
        self.options = ExporterOptions(**{"targets": (self.receiver.target,), "profile": "ovs", **options})
        self.now = START
        self.wall = WALL
        self.exporter = Exporter(
            self.options, offset=lambda: round(self.wall * 10**9), pause=lambda seconds: None, seed=seed
        )
        self.set_weight(0, Fraction(1))

    def set_weight(self, generation: int, gate: Fraction) -> None:
        """Take whole what a gate of this probability takes."""
        self.exporter.set_weight(generation, gate, [main_selector(self.options)])

    def ingest(self, *samples: dict[str, Any]) -> None:
        """Count these samples, now unless they carry a time."""
        described = [{"time": round(self.now * 10**9), **values} for values in samples]
        self.exporter.ingest(batch(described), len(described))
        self.receiver.read()

    def tick(self, now: float | None = None, ticks: int = 1) -> None:
        """Let time pass to `now` in equal ticks."""
        start, end = self.now, self.now if now is None else now
        for i in range(1, ticks + 1):
            self.now = start + (end - start) * i / ticks
            self.exporter.tick(round(self.now * 10**9))
        self.receiver.read()

    def flush(self, reason: int = 4) -> None:
        self.exporter.flush(reason, round(self.now * 10**9), round((self.now + 1) * 10**9))
        self.receiver.read()

    @property
    def records(self) -> list[OracleRecord]:
        return self.receiver.oracle.records

    def told(self, *names: str) -> list[OracleRecord]:
        """Records of the options template that has all of these elements."""
        return [record for record in self.receiver.oracle.options if set(names) <= set(record.values)]

    @property
    def stats(self) -> dict[str, int]:
        return self.exporter.stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.exporter.close()
        self.receiver.socket.close()
