"""Other people's collectors on loopback: started, waited for, stopped by their pid, and what they show as dicts.

Each shows in its own words. tests/peers says what these must be for a flow of lib.stream.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, ClassVar, Self

from scapy.layers.inet import IP, TCP, UDP
from scapy.utils import RawPcapWriter

from exporter.options import Target
from lib.wait import wait_until

Row = dict[str, Any]
PROGRAM = str(Path(sys.executable).with_name("xdpfix"))
# Times in UTC and messages in English, whatever the machine's settings.
ENVIRONMENT = os.environ | {"TZ": "UTC", "LC_ALL": "C.UTF-8"}
IPFIX_PORT = 4739
LINKTYPE_RAW = 101  # frames begin with the IP header (tcpdump.org/linktypes.html)

# VMware's elements that OVS sends, and ntop's for IPv6: name, enterprise, id, type, octets (65535: variable).
VENDORS = (
    ("tunnelType", 6876, 891, "unsigned8", 1),
    ("tunnelKey", 6876, 892, "octetArray", 65535),
    ("tunnelSourceIPv4Address", 6876, 893, "ipv4Address", 4),
    ("tunnelDestinationIPv4Address", 6876, 894, "ipv4Address", 4),
    ("tunnelProtocolIdentifier", 6876, 895, "unsigned8", 1),
    ("tunnelSourceTransportPort", 6876, 896, "unsigned16", 2),
    ("tunnelDestinationTransportPort", 6876, 897, "unsigned16", 2),
    ("UNTUNNELED_IPV6_SRC_ADDR", 35632, 396, "ipv6Address", 16),
    ("UNTUNNELED_IPV6_DST_ADDR", 35632, 397, "ipv6Address", 16),
)
IPV6_ADDRESSES = {name for name, _, _, kind, _ in VENDORS if kind == "ipv6Address"} | {
    "sourceIPv6Address",
    "destinationIPv6Address",
}


# Elements of the packets by TCP flag.
FLAG_COUNTS = {218: "syn", 219: "fin", 220: "rst", 221: "psh", 222: "ack", 223: "urg"}


def free_port() -> int:
    """Return a UDP port of loopback that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])


def receive_queue(port: int) -> int | None:
    """Return the octets that wait at the socket on this port, None while there is no socket. Nothing may be lost."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            assert fields[12] == "0", f"the peer on port {port} lost {fields[12]} datagrams"
            return int(fields[4].rpartition(":")[2], 16)
    return None


class Peer(ABC):
    """A collector's process. A context manager: enters when it listens; leaving it ends the process.

    `folder` is for what it writes; made if missing.
    """

    ending = signal.SIGTERM  # what it writes out and ends on

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.target = Target("127.0.0.1", self.port)
        self.log = folder / "log"

    @abstractmethod
    def command(self) -> list[str]:
        """Return program and arguments; writes its configuration."""

    def __enter__(self) -> Self:
        with self.log.open("wb") as log, (self.folder / "out").open("wb") as out:
            self._process = subprocess.Popen(self.command(), stdout=out, stderr=log, env=ENVIRONMENT)
        try:
            wait_until(self._listens, 30, f"{self.command()[0]} listening")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listens(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        return receive_queue(self.port) is not None

    def read_all(self) -> None:
        """Wait until it has taken every datagram from its socket."""
        wait_until(lambda: receive_queue(self.port) == 0, 30, f"{self.command()[0]} reading its socket")

    def stop(self) -> None:
        """Let it read what was sent, then end and write out."""
        self.read_all()
        self._process.send_signal(self.ending)
        assert self._process.wait(30) == 0, self.log.read_text()

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Nfcapd(Peer):
    """nfcapd, and nfdump on the file that it leaves when stopped."""

    def command(self) -> list[str]:
        # One file: it is not rotated before the longest interval is over. Room for all templates and flows at once.
        room = ["-B", str(1 << 20)]
        return ["nfcapd", "-4", "-b", "127.0.0.1", "-p", str(self.port), *room, "-w", str(self.folder), "-t", "3600"]

    def nfdump(self, *arguments: str) -> str:
        return "".join(_run("nfdump", *arguments, str(file)) for file in sorted(self.folder.glob("nfcapd.2*")))

    def records(self) -> list[Row]:
        """Return the flows with every field, named as `nfdump -o raw` does; the value's first word."""
        blocks = self.nfdump("-q", "-o", "raw", "-r").split("Flow Record:")[1:]
        line = re.compile(r"^  (\S.*?) += +(\S+)", re.MULTILINE)
        return [dict(line.findall(block)) for block in blocks]

    def totals(self) -> dict[str, int]:
        """Return what `nfdump -I` counts, such as Packets, Bytes, Sequence failures."""
        found = re.findall(r"^(.+): (\d+)$", self.nfdump("-I", "-r"), re.MULTILINE)
        totals = dict.fromkeys((name for name, _ in found), 0)
        for name, value in found:
            totals[name] += int(value)
        return totals

    def samplers(self) -> list[int]:
        """Return the sampling intervals that it was told: so many packets, and the space to the next ones."""
        found = re.findall(r"packet interval: (\d+), packet space: (\d+)", self.nfdump("-E"))
        return [(int(taken) + int(space)) // int(taken) for taken, space in found]


class Nfacctd(Peer):
    """pmacct's nfacctd with its print plugin. It would multiply if told to: renormalize is on."""

    ending = signal.SIGINT
    # What it knows by itself, and elements that it is told of: name → (id, octets, how to show it).
    primitives = (
        "src_host,dst_host,src_port,dst_port,proto,tos,tcpflags,in_iface,out_iface,src_mac,dst_mac,"
        "timestamp_start,timestamp_end,sampling_rate,export_proto_sysid,vxlan"
    )
    custom: ClassVar = {
        "point": ("138", "4", "u_int"),
        "direction": ("61", "1", "u_int"),
        "ethertype": ("256", "2", "u_int"),
        "vlan_id": ("58", "2", "u_int"),
        "priority": ("244", "1", "u_int"),
        "ttl": ("192", "1", "u_int"),
        "flow_label": ("31", "4", "u_int"),
        "icmp_type4": ("176", "1", "u_int"),
        "icmp_code4": ("177", "1", "u_int"),
        "icmp_type6": ("178", "1", "u_int"),
        "icmp_code6": ("179", "1", "u_int"),
        "frame_octets": ("352", "8", "u_int"),
        "octets_sumsq": ("198", "8", "u_int"),
        "min_length": ("25", "8", "u_int"),
        "max_length": ("26", "8", "u_int"),
        "min_length_short": ("25", "4", "u_int"),  # it reads the length that it was told alone
        "max_length_short": ("26", "4", "u_int"),
        "end_reason": ("136", "1", "u_int"),
        "tunnel_source": ("6876:893", "4", "ip"),
        "tunnel_destination": ("6876:894", "4", "ip"),
        "tunnel_protocol": ("6876:895", "1", "u_int"),
        "tunnel_sport": ("6876:896", "2", "u_int"),
        "tunnel_dport": ("6876:897", "2", "u_int"),
        "tunnel_type": ("6876:891", "1", "u_int"),
        "tunnel_key": ("6876:892", "vlen", "raw"),
        "tunnel_source6": ("35632:396", "16", "ip"),
        "tunnel_destination6": ("35632:397", "16", "ip"),
        "segment": ("351", "8", "u_int"),
        "gre_key": ("296", "4", "u_int"),
        "ttl_min": ("52", "1", "u_int"),
        "ttl_max": ("53", "1", "u_int"),
        "fragment_flags": ("197", "1", "u_int"),
        "customer_vlan": ("245", "2", "u_int"),
        "customer_priority": ("246", "1", "u_int"),
        "mpls_section": ("70", "3", "raw"),
        "type_code4": ("32", "2", "u_int"),
        "type_code6": ("139", "2", "u_int"),
        "forwarding_status": ("89", "1", "u_int"),
        "dropped_packets": ("133", "8", "u_int"),
        "dropped_octets": ("132", "8", "u_int"),
        **{f"{flag}_count": (str(number), "4", "u_int") for number, flag in FLAG_COUNTS.items()},
    }

    def command(self) -> list[str]:
        primitives, config = self.folder / "primitives.lst", self.folder / "nfacctd.conf"
        primitives.write_text(
            "".join(
                f"name={name} field_type={number} len={length} semantics={kind}\n"
                for name, (number, length, kind) in self.custom.items()
            )
        )
        config.write_text(
            f"""daemonize: false
nfacctd_ip: 127.0.0.1
nfacctd_port: {self.port}
nfacctd_renormalize: true
nfacctd_pipe_size: {1 << 20}
aggregate_primitives: {primitives}
plugins: print[a]
aggregate[a]: {self.primitives},{",".join(self.custom)}
print_output[a]: json
print_refresh_time[a]: 1
print_output_file[a]: {self.folder / "flows.json"}
print_output_file_append[a]: true
"""
        )
        return ["nfacctd", "-f", str(config)]

    def records(self) -> list[Row]:
        """Return the flows written so far."""
        file = self.folder / "flows.json"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_records(self, count: int) -> list[Row]:
        """Wait until it has written so many flows; it does so each second."""
        wait_until(lambda: len(self.records()) >= count, 30, f"{count} flows in {self.folder}")
        return self.records()


class Collect(Peer):
    """`xdpfix collect`: JSON lines, and the messages in an RFC 5655 file."""

    @property
    def file(self) -> Path:
        return self.folder / "flows.ipfix"

    def command(self) -> list[str]:
        listen = f"127.0.0.1:{self.port}"
        return [PROGRAM, "collect", "--listen", listen, "--json", "--write", str(self.file)]

    def records(self) -> list[Row]:
        """Return all records, those of options templates too."""
        return [json.loads(line) for line in (self.folder / "out").read_text().splitlines()]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def write_capture(file: Path, datagrams: Iterable[tuple[bytes, int]]) -> None:
    """Write UDP payloads, each with its source port, as a pcap file of packets to port 4739 of loopback."""
    writer = RawPcapWriter(str(file), linktype=LINKTYPE_RAW)
    writer.write_header(None)
    for second, (octets, port) in enumerate(datagrams):
        packet = IP(src="127.0.0.1", dst="127.0.0.1") / UDP(sport=port, dport=IPFIX_PORT) / octets
        writer.write_packet(bytes(packet), sec=second, usec=0)
    writer.close()


def write_stream_capture(file: Path, octets: bytes, segment: int) -> None:
    """Write a TCP stream as a pcap file of segments to port 4739 of loopback, cut without regard to what is in it."""
    writer = RawPcapWriter(str(file), linktype=LINKTYPE_RAW)
    writer.write_header(None)
    for start in range(0, len(octets), segment):
        payload = octets[start : start + segment]
        header = TCP(sport=40000, dport=IPFIX_PORT, seq=1 + start, ack=1, flags="A")
        packet = IP(src="127.0.0.1", dst="127.0.0.1") / header / payload
        writer.write_packet(bytes(packet), sec=start // segment, usec=0)
    writer.close()


def tshark(capture: Path, *arguments: str) -> str:
    """Run tshark on a capture; by default it gives up on templates of more than 60 fields."""
    return _run("tshark", "-r", str(capture), "-o", "cflow.max_template_fields:0", *arguments)


def tshark_records(capture: Path) -> list[Row]:
    """Return the data records, fields named as tshark's filters without "cflow."; all texts, as tshark writes them.

    "set" is added, and "export_time" of the message.
    """
    # Without the option a field that occurs twice keeps its last value.
    frames = json.loads(tshark(capture, "-T", "json", "--no-duplicate-keys", "-Y", "cflow"))
    records = []
    layers = [frame["_source"]["layers"]["cflow"] for frame in frames]
    # A segment of TCP may end several messages.
    for message in (message for layer in layers for message in (layer if isinstance(layer, list) else [layer])):
        for name, body in message.items():
            if not (name.startswith("Set ") and int(body["cflow.flowset_id"]) >= 256):
                continue
            flows = [value for key, value in body.items() if key.startswith("Flow ")]
            records += [
                {key.removeprefix("cflow."): value for key, value in flow.items()}
                | {"set": int(body["cflow.flowset_id"]), "export_time": _export_time(message)}
                for flow in flows
            ]
    return records


def _export_time(message: Row) -> int:
    return int(message["cflow.timestamp_tree"]["cflow.exporttime"])


def ipfix_dump(file: Path) -> tuple[list[Row], str]:
    """Return libfixbuf's reading of an RFC 5655 file: data records, and its warnings.

    Values are texts; an element that occurs again has a list of them.
    """
    elements = file.with_suffix(".xml")
    elements.write_text(_elements_xml())
    command = ("ipfixDump", "--in", str(file), "--data", "--hexdump=8", "--element-file", str(elements))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr
    field = re.compile(r"^\t\([\d/]+\)(?: \(S\))? *(\w+) : (.*?) *$", re.MULTILINE)
    blocks = done.stdout.split("--- data record ")[1:]
    return [_row((name, _plain(name, value)) for name, value in field.findall(block)) for block in blocks], done.stderr


def _plain(name: str, value: str) -> str:
    if name in IPV6_ADDRESSES:
        return str(IPv6Address(value))  # it writes leading zeros
    if name == "mplsTopLabelStackSection":
        return int(value).to_bytes(3, sys.byteorder).hex()  # and octets of a fixed length as a number of this host
    return value.rpartition(" 0x")[2] if name == "tunnelKey" else value  # and lengths before octets


def _row(fields: Iterable[tuple[str, str]]) -> Row:
    row: Row = {}
    for name, value in fields:
        row[name] = [*(row[name] if isinstance(row[name], list) else [row[name]]), value] if name in row else value
    return row


def _elements_xml() -> str:
    """Describe the vendors' elements as libfixbuf reads them: IANA's registry format with an enterprise number."""
    records = "".join(
        f"<record><name>{name}</name><dataType>{kind}</dataType><group></group>"
        f"<dataTypeSemantics>default</dataTypeSemantics><elementId>{number}</elementId>"
        f"<cert:enterpriseId>{enterprise}</cert:enterpriseId></record>"
        for name, enterprise, number, kind, _ in VENDORS
    )
    return (
        '<?xml version="1.0"?><registry xmlns="http://www.iana.org/assignments" '
        'xmlns:cert="http://www.cert.org/ipfix" id="vendors">'
        f'<registry id="ipfix-information-elements">{records}</registry></registry>'
    )
