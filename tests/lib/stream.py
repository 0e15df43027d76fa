"""A stream for other people's collectors: one flow of every kind, each with values of its own, from a real exporter.

What was put in is kept as Flow, so that a test can say in a peer's own words what it must show.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

from exporter.exporter import Exporter, wall_offset
from exporter.options import ExporterOptions, Target
from exporter.profiles import profile as profile_of
from exporter.selector import main_selector
from exporter.status import Metering
from lib.samples import batch, sample
from lib.wait import wait_until

NS = 10**9
IDLE, ACTIVE, DETECTED, FORCED = 1, 2, 3, 4  # flowEndReason (136)
FIN, SYN, PSH, ACK = 1, 2, 8, 16
# What a program decided on the packets of a flow, one after the other, and the forwardingStatus (89) that follows.
DROP, PASS, TX = 2, 3, 4
VERDICTS = (((DROP,), 128), ((DROP, DROP, PASS), 64), ((TX,), 66))
FRAGMENTS = (0, 0x40, 0x23)  # of the last packet: none, DF, a later one with more to come
IDLE_TIMEOUT, ACTIVE_TIMEOUT = 15, 60
INTERFACES = (11, 12)  # ifindex by flowDirection: taken in at the one, sent out by the other
NAMES = (
    (11, "eth0", "uplink to the world"),
    (12, "veth1", ""),
    (99, "b\u00fcro", "so many octets that they are cut " * 3),
)
OBSERVED = Metering(observed=10**9, selected=12_345, ignored=67)
STATS_INTERVAL = 5
POINTS = tuple((ifindex, 7000 + ifindex) for ifindex in INTERFACES)  # observationPointId

# (ip_version, ip_protocol); no IP at all is ARP, 47 has no ports. SCTP goes by UDP's templates.
PROTOCOLS = ((0, 0), (4, 47), (4, 17), (4, 132), (4, 1), (4, 6), (6, 47), (6, 17), (6, 132), (6, 58), (6, 6))
# By the element that can say the key, which decides the template: layer2SegmentId, greKey, none.
TUNNELS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"type": 1, "protocol": 17, "src_port": 50001, "dst_port": 4789, "key_length": 3},),  # VXLAN
    (
        {"type": 2, "protocol": 47, "src_port": 0, "dst_port": 0, "key_length": 4},  # GRE
        {"type": 5, "protocol": 47, "src_port": 0, "dst_port": 0, "key_length": 4},  # with IPsec
    ),
    (
        {"type": 7, "protocol": 17, "src_port": 50002, "dst_port": 6081, "key_length": 3},  # Geneve
        {"type": 3, "protocol": 17, "src_port": 50003, "dst_port": 4341, "key_length": 3},  # LISP
        {"type": 4, "protocol": 6, "src_port": 50004, "dst_port": 7471, "key_length": 8},  # STT
    ),
)
UNDERLAYS = (
    {"ip_version": 4, "src_addr": "203.0.113.{}", "dst_addr": "203.0.113.{}"},
    {"ip_version": 6, "src_addr": "2001:db8:ff::1:{}", "dst_addr": "2001:db8:ff::2:{}"},
)


@dataclass(frozen=True)
class Flow:
    """One flow as it was observed: `key` in the names of lib.samples, counts as scaled, times in ns since 1970."""

    key: dict[str, Any]
    packets: int
    octets: int
    frame_octets: int
    octets_sumsq: int
    length: int
    flags: int
    start: int
    end: int
    reason: int
    point: int
    other: int  # ifindex of the side that did not see it
    fragment: int  # fragmentFlags
    flag_counts: dict[str, int]  # by the flags' names in the elements
    status: int | None  # forwardingStatus, None where no program was observed
    dropped: int  # packets

    @property
    def mac(self) -> str:
        """The source address: every flow has its own, so it names the flow in every peer."""
        return str(self.key["src_mac"])

    def tunnel(self, profile: str) -> dict[str, Any]:
        """Return the tunnel that the profile shows: OVS's has no fields for one over IPv6."""
        tunnel = self.key.get("tunnel", {})
        return {} if profile == "ovs" and tunnel.get("ip_version") == 6 else tunnel

    @property
    def tunnel_key(self) -> bytes:
        tunnel = self.key["tunnel"]
        return int(tunnel["key"]).to_bytes(tunnel["key_length"], "big")

    @property
    def vlan(self) -> int | None:
        return self.key["vlan_tci"][0] & 0xFFF if "vlan_tci" in self.key else None

    def elements(self, profile: str) -> dict[str, Any]:
        """Return the record that must come out, by IANA's, VMware's and ntop's names; times in ms since 1970.

        Without flowStart/EndDeltaMicroseconds (158, 159), which depend on the message's Export Time.
        """
        key, tunnel = self.key, self.tunnel(profile)
        values: dict[str, Any] = {
            "observationPointId": self.point,
            "flowDirection": key["direction"],
            "sourceMacAddress": self.mac,
            "destinationMacAddress": key["dst_mac"],
            "ethernetType": key["ethertype"],
            "ethernetHeaderLength": key["ethernet_header_length"],
            "packetDeltaCount": self.packets,
            "layer2OctetDeltaCount": self.frame_octets,
            "flowEndReason": self.reason,
        }
        if profile == "full":
            interfaces = (self.other, key["ifindex"]) if key["direction"] else (key["ifindex"], self.other)
            values |= {
                **dict(zip(("ingressInterface", "egressInterface"), interfaces, strict=True)),
                "flowStartMilliseconds": self.start // 10**6,
                "flowEndMilliseconds": self.end // 10**6,
            }
        if self.vlan is not None:
            values |= {"vlanId": self.vlan, "dot1qVlanId": self.vlan, "dot1qPriority": key["vlan_tci"][0] >> 13}
        if profile == "full" and key.get("vlan_count") == 2:
            inner = key["vlan_tci"][1]
            values |= {"dot1qCustomerVlanId": inner & 0xFFF, "dot1qCustomerPriority": inner >> 13}
        if profile == "full" and "mpls_label" in key:
            values["mplsTopLabelStackSection"] = key["mpls_label"].to_bytes(4, "big")[:3].hex()
        if self.has_ip(profile):
            version = f"IPv{key['ip_version']}"
            ttl = {"minimumTTL": key["ip_ttl"] - 1, "maximumTTL": key["ip_ttl"]}
            values |= ttl | {"fragmentFlags": self.fragment} if profile == "full" else {"ipTTL": key["ip_ttl"]}
            values |= {
                "ipVersion": key["ip_version"],
                "protocolIdentifier": key["ip_protocol"],
                "ipDiffServCodePoint": key["ip_tos"] >> 2,
                "ipPrecedence": key["ip_tos"] >> 5,
                "ipClassOfService": key["ip_tos"],
                f"source{version}Address": key["src_addr"],
                f"destination{version}Address": key["dst_addr"],
                "octetDeltaCount": self.octets,
                "octetDeltaSumOfSquares": self.octets_sumsq,
                "minimumIpTotalLength": self.length,
                "maximumIpTotalLength": self.length,
            }
            if "flow_label" in key:
                values["flowLabelIPv6"] = key["flow_label"]
            if self.has_ports:
                values |= {"sourceTransportPort": key["src_port"], "destinationTransportPort": key["dst_port"]}
            if self.is_icmp:
                values |= {f"icmpType{version}": key["src_port"], f"icmpCode{version}": key["dst_port"]}
                if profile == "full":
                    values[f"icmpTypeCode{version}"] = key["src_port"] << 8 | key["dst_port"]
        if profile == "full" and key.get("ip_protocol") == 6:
            values["tcpControlBits"] = self.flags
            values |= {f"tcp{flag}TotalCount": count for flag, count in self.flag_counts.items()}
        if profile == "full" and self.status is not None:
            values |= {"forwardingStatus": self.status, "droppedPacketDeltaCount": self.dropped}
            if self.has_ip(profile):
                values["droppedOctetDeltaCount"] = self.dropped * self.length
        if tunnel:
            ends = {
                4: ("tunnelSourceIPv4Address", "tunnelDestinationIPv4Address"),
                6: ("UNTUNNELED_IPV6_SRC_ADDR", "UNTUNNELED_IPV6_DST_ADDR"),
            }[tunnel["ip_version"]]
            values |= dict(zip(ends, (tunnel["src_addr"], tunnel["dst_addr"]), strict=True))
            values |= {
                "tunnelProtocolIdentifier": tunnel["protocol"],
                "tunnelSourceTransportPort": tunnel["src_port"],
                "tunnelDestinationTransportPort": tunnel["dst_port"],
                "tunnelType": tunnel["type"],
                "tunnelKey": self.tunnel_key.hex(),
            }
        if tunnel and profile == "full":
            if tunnel["type"] == 1:
                values["layer2SegmentId"] = 0x01 << 56 | tunnel["key"]
            if tunnel["type"] in (2, 5):
                values["greKey"] = tunnel["key"]
        return values

    def has_ip(self, profile: str) -> bool:
        """Whether the record tells the IP packet: Open vSwitch knows nothing behind a label."""
        return bool(self.key["ip_version"]) and (profile == "full" or "mpls_label" not in self.key)

    def template(self, profile: str) -> int:
        """Return the id of its template, by the formulas of docs/ipfix.md."""
        key, tunnel = self.key, self.tunnel(profile)
        tags = key.get("vlan_count", 0)
        l3 = {0: 0, 4: 1, 6: 2}[key["ip_version"]] if self.has_ip(profile) else 0
        protocol = key.get("ip_protocol") if l3 else None
        if profile == "ovs":
            l4 = {6: 1, 17: 1, 132: 1, 1: 2, 58: 2}.get(protocol, 0)
            return 256 + (((tags > 0) * 3 + l3) * 3 + l4) * 2 + bool(tunnel)
        l4 = {17: 1, 132: 1, 1: 2, 58: 2, 6: 3}.get(protocol, 0)
        outer = 1 + (tunnel["ip_version"] == 6) * 3 + {1: 1, 2: 2, 5: 2}.get(tunnel["type"], 0) if tunnel else 0
        layers = ((self.status is not None) * 2 + ("mpls_label" in key)) * 3 + tags
        return 1024 + ((layers * 3 + l3) * 4 + l4) * 7 + outer

    @property
    def is_icmp(self) -> bool:
        return self.key.get("ip_protocol") in (1, 58)

    @property
    def has_ports(self) -> bool:
        return self.key.get("ip_protocol") in (6, 17, 132)


def _keys() -> Iterable[tuple[dict[str, Any], bool]]:
    """A flow key of every kind, with and without VLAN and each kind of tunnel, by every protocol; if with verdicts."""
    number = 0
    for labelled, tags, (tunnels, underlay), decided in _layers():
        for version, protocol in PROTOCOLS:
            number += 1
            key: dict[str, Any] = {
                "direction": number % 2,
                "ifindex": INTERFACES[number % 2],
                "src_mac": f"02:00:5e:10:00:{number:02x}",
                "dst_mac": f"02:00:5e:10:01:{number:02x}",
                "ethernet_header_length": 14 + 4 * tags,
                "ethertype": {0: 0x0806, 4: 0x0800, 6: 0x86DD}[version],
                "ip_version": version,
            }
            if tags:
                outer, inner = number % 8 << 13 | 1000 + number, number % 5 << 13 | 3000 + number
                key |= {"vlan_count": tags, "vlan_tci": [outer, inner if tags == 2 else 0]}
            if labelled:
                key |= {"ethertype": 0x8847, "mpls_label": 16 + number << 12 | number % 8 << 9 | 0x1FF}
            if version:
                key |= {"ip_protocol": protocol, "ip_tos": number << 2 & 0xFF, "ip_ttl": 250 - number}
                text = {4: "{}.{}", 6: "2001:db8:{}::{}"}[version]
                first, second = {4: ("192.0.2", "198.51.100"), 6: ("1", "2")}[version]
                key |= {"src_addr": text.format(first, number), "dst_addr": text.format(second, number)}
            if version == 6:
                key |= {"flow_label": 0x12300 + number}
            if protocol in (6, 17, 132):
                key |= {"src_port": 40000 + number, "dst_port": 20000 + number}
            if protocol in (1, 58):
                key |= {"src_port": 50 + number, "dst_port": number}  # type and code
            if tunnels:
                tunnel = tunnels[number % len(tunnels)]
                size = {3: 0xA00000, 4: 0xB0000000, 8: 0xC0000000_00000000}[tunnel["key_length"]]
                source = underlay["src_addr"].format(number)
                destination = underlay["dst_addr"].format(60 + number)
                ends = underlay | {"src_addr": source, "dst_addr": destination}
                key |= {"tunnel": tunnel | ends | {"key": size + number}}
            yield key, decided


def _layers() -> Iterable[tuple[bool, int, Any, bool]]:
    """Labelled or not, VLAN tags, tunnel and underlay: all with one tag at most, of the others some; verdicts."""
    plain = (None, None)
    tunnels = tuple(product(TUNNELS, UNDERLAYS))
    yield from ((False, tags, tunnel, False) for tags in (0, 1) for tunnel in (plain, *tunnels))
    yield from ((False, 2, plain, False), (True, 0, plain, False), (True, 2, tunnels[1], False))
    yield False, 0, plain, True


def _times(number: int, key: dict[str, Any], now: int) -> tuple[int, int, int]:
    """First and last packet, ns since 1970, and the end that follows from them at `now`. No two flows agree."""
    apart = number * 1_003_007_000  # over a second, with a fraction in microseconds
    if key.get("ip_protocol") == 6:
        return now - 5 * NS - number * 10_007_000, now - 3 * NS, DETECTED
    if number % 3 == 0:
        return now - (ACTIVE_TIMEOUT + 1) * NS - apart, now - NS - number * 10_007_000, ACTIVE
    if number % 3 == 1:
        return now - (IDLE_TIMEOUT + 9) * NS - number * 10_007_000, now - (IDLE_TIMEOUT + 1) * NS, IDLE
    return now - 4 * NS - number * 10_007_000, now - NS - number * 1_000, FORCED


def _samples(
    number: int, key: dict[str, Any], flow: tuple[int, int], offset: int, profile: str
) -> list[dict[str, Any]]:
    """Describe 2 + number samples; no other flow has as many. A middle one, then the ends in order.

    In profile "full" they differ in what is no key there.
    """
    start, end = flow
    count = 2 + number
    length = 100 + number if key["ip_version"] else 0
    base = sample(
        key,
        ip_octets=length,
        ip_length=length,
        frame_octets=(length or 46) + key["ethernet_header_length"],
        tcp_flags=0,
    )
    moments = [start + (end - start) * i // (count - 1) for i in range(count)]
    samples = [base | {"time": moment - offset} for moment in moments]
    if profile == "full" and key["ip_version"]:
        samples[1]["ip_ttl"] -= 1
        samples[-1]["fragment"] = FRAGMENTS[number % 3]
    if profile == "full" and number % 3:
        samples[1][("egress_ifindex", "ingress_ifindex")[key["direction"]]] = INTERFACES[1 - key["direction"]]
    if key.get("ip_protocol") == 6:
        samples[0]["tcp_flags"] = SYN
        samples[1]["tcp_flags"] = ACK | PSH
        samples[-1]["tcp_flags"] = ACK | FIN
    return samples


def _tick(exporter: Exporter) -> dict[str, int]:
    exporter.tick(time.monotonic_ns())
    return exporter.stats()


def send_stream(
    targets: Iterable[Target],
    profile: str,
    sampling: int = 1,
    domain: int = 0,
    wait: Any = lambda: None,
    counts: str = "scaled",
) -> list[Flow]:
    """Run an exporter that sends one flow of every template of the profile to all targets, and options data.

    Args:
        targets: the peers.
        profile: "full" or "ovs".
        sampling: samples were taken with a probability of one in this many, so that each counts as many packets.
        domain: observationDomainId.
        wait: called when the templates are out, before the data.
        counts: "raw" sends a sampling's part of what is returned: collectors are to multiply.

    """
    options = ExporterOptions(
        targets=tuple(targets),
        sampling=sampling,
        profile=profile,
        obs_domain_id=domain,
        interface_obs_point_ids=POINTS,
        cache_idle_timeout=IDLE_TIMEOUT,
        cache_active_timeout=ACTIVE_TIMEOUT,
        stats_interval=STATS_INTERVAL,
        counts=counts,
    )
    offset = wall_offset()
    flows = []
    with Exporter(options, offset=lambda: offset) as exporter:
        exporter.set_weight(0, Fraction(1, sampling), [main_selector(options)])
        exporter.set_obs_point_ids(POINTS)
        exporter.set_interfaces(NAMES)
        exporter.set_metering(OBSERVED)
        wait_until(lambda: _tick(exporter) and all(collector.connected for collector in exporter.collectors))
        wait()
        now = (time.monotonic_ns() + offset) // 1000 * 1000  # whole microseconds, as 158 and 159 have them
        described = []
        for number, (key, decided) in enumerate(_keys(), 1):
            start, end, reason = _times(number, key, now)
            samples = _samples(number, key, (start, end), offset, profile)
            verdicts, status = VERDICTS[number % 3] if decided else ((0,), None)
            for place, values in enumerate(samples):
                values["verdict"] = verdicts[place % len(verdicts)]
            described += samples
            count, length = len(samples), samples[0]["ip_length"]
            if profile == "ovs" and "mpls_label" in key:
                length = 0  # told by layer 2
            flows.append(
                Flow(
                    key,
                    packets=count * sampling,
                    octets=count * length * sampling,
                    frame_octets=count * samples[0]["frame_octets"] * sampling,
                    octets_sumsq=count * length**2 * sampling,
                    length=length,
                    flags=SYN | ACK | PSH | FIN if reason == DETECTED else 0,
                    start=start,
                    end=end,
                    reason=reason,
                    point=7000 + key["ifindex"],
                    other=INTERFACES[1 - key["direction"]] if number % 3 else 0,
                    fragment=FRAGMENTS[number % 3] & 0x60,
                    flag_counts={
                        flag: count * sampling
                        for flag, count in {"Ack": 2, "Fin": 1, "Psh": 1, "Rst": 0, "Syn": 1, "Urg": 0}.items()
                    },
                    status=status,
                    dropped=sum(values["verdict"] == DROP for values in samples) * sampling,
                )
            )
        described.sort(key=lambda values: values["time"])
        exporter.ingest(batch(described), len(described))
        living = sum(flow.reason == FORCED for flow in flows)
        wait_until(lambda: _tick(exporter)["flows"] == living, what="the end of the flows that are due")
        exporter.flush(FORCED, time.monotonic_ns(), time.monotonic_ns())
        stats = exporter.stats()
        for step in range(10):  # what waited, and statistics
            exporter.tick(time.monotonic_ns() + (STATS_INTERVAL + step) * NS)
        assert stats["records"] == len(flows), "each key is one flow of one record"
        assert not [name for name, count in stats.items() if "lost" in name and count], stats
    return flows


def template_ids(profile: str) -> set[int]:
    """Return the ids of all data templates of a profile, of which not all need be used."""
    return {template.id for template in profile_of(profile).templates}
