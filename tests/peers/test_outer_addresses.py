"""Which elements can carry the outer IPv6 addresses of a tunnel: what readers make of each candidate, by measurement.

The rule: the addresses of the flow itself are shown, right and alone, under the names of a flow's addresses. Only
ntop's elements keep it; docs/ipfix.md has the table, which is MEASURED here. What profile "full" sends by them is read
in the tests beside this one.
"""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from ipaddress import ip_address

import ipfix.ie
import ipfix.reader
import pytest

from exporter.message import Message, encode_set
from exporter.template import Field, Template, field
from lib.peers import VENDORS, Collect, Nfacctd, Nfcapd, Peer, Row, ipfix_dump, tshark_records, write_capture

OWN = {4: ("192.0.2.1", "198.51.100.2"), 6: ("2001:db8::1", "2001:db8::2")}
OUTER = ("2001:db8:ff::1", "2001:db8:ff::2")
MIXED = ("::192.0.2.1", "::198.51.100.2")  # an IPv4 address in the low octets of an outer one
PACKETS, OCTETS = 10, 1000

# RFC 7011 section 8 has a repeated element in the order of the headers: the outer addresses before the flow's own.
CANDIDATES = ("none", "repeated", "repeated behind", "ntop")

# By reader and candidate: what stands where it shows the sources and destinations of a flow over IPv4, and one over
# IPv6. One that keeps a single pair shows one, the others all that came.
Pairs = tuple[tuple[str, str], ...]
MEASURED: dict[tuple[str, str], tuple[Pairs, Pairs]] = {
    ("nfdump", "none"): ((OWN[4],), (OWN[6],)),
    ("nfdump", "repeated"): ((MIXED,), (OWN[6],)),
    ("nfdump", "repeated behind"): ((OUTER,), (OUTER,)),
    ("nfdump", "ntop"): ((OWN[4],), (OWN[6],)),
    ("nfacctd", "none"): ((OWN[4],), (OWN[6],)),
    ("nfacctd", "repeated"): ((OWN[4],), (OWN[6],)),
    ("nfacctd", "repeated behind"): ((OWN[4],), (OUTER,)),
    ("nfacctd", "ntop"): ((OWN[4],), (OWN[6],)),
    ("tshark", "none"): ((OWN[4],), (OWN[6],)),
    ("tshark", "repeated"): ((OUTER, OWN[4]), (OUTER, OWN[6])),
    ("tshark", "repeated behind"): ((OWN[4], OUTER), (OWN[6], OUTER)),
    ("tshark", "ntop"): ((OWN[4],), (OWN[6],)),
    ("ipfixDump", "none"): ((OWN[4],), (OWN[6],)),
    ("ipfixDump", "repeated"): ((OUTER, OWN[4]), (OUTER, OWN[6])),
    ("ipfixDump", "repeated behind"): ((OWN[4], OUTER), (OWN[6], OUTER)),
    ("ipfixDump", "ntop"): ((OWN[4],), (OWN[6],)),
    ("ipfix of PyPI", "none"): ((OWN[4],), (OWN[6],)),
    ("ipfix of PyPI", "repeated"): ((OUTER, OWN[4]), (OWN[6],)),
    ("ipfix of PyPI", "repeated behind"): ((OWN[4], OUTER), (OUTER,)),
    ("ipfix of PyPI", "ntop"): ((OWN[4],), (OWN[6],)),
    ("xdpfix collect", "none"): ((OWN[4],), (OWN[6],)),
    ("xdpfix collect", "repeated"): ((OUTER, OWN[4]), (OUTER, OWN[6])),
    ("xdpfix collect", "repeated behind"): ((OWN[4], OUTER), (OWN[6], OUTER)),
    ("xdpfix collect", "ntop"): ((OWN[4],), (OWN[6],)),
}
READERS = tuple(dict.fromkeys(reader for reader, _ in MEASURED))
# By reader: the names under which it shows the outer addresses that came as ntop's elements; nfdump shows none.
NTOP = ("UNTUNNELED_IPV6_SRC_ADDR", "UNTUNNELED_IPV6_DST_ADDR")
NAMES = {
    "nfdump": None,
    "nfacctd": ("tunnel_source6", "tunnel_destination6"),  # primitives that it was told of
    "tshark": ("pie.ntop.untunneled_ipv6_src_addr", "pie.ntop.untunneled_ipv6_dst_addr"),
    "ipfixDump": NTOP,  # of elements described to it
    "ipfix of PyPI": NTOP,  # likewise
    "xdpfix collect": NTOP,
}


@dataclass(frozen=True)
class Case:
    """One template with one record; the MAC address names it."""

    number: int
    candidate: str
    version: int

    @property
    def mac(self) -> str:
        return f"02:00:5e:10:00:{self.number:02x}"

    def encode(self) -> tuple[Template, bytes]:
        """Encode a flow of TCP, as short as it can be."""
        own = self._pair(f"sourceIPv{self.version}Address", f"destinationIPv{self.version}Address", OWN[self.version])
        repeated = self._pair("sourceIPv6Address", "destinationIPv6Address", OUTER)
        now = (time.time_ns() // 10**6).to_bytes(8, "big")
        parts = [
            (field("sourceMacAddress"), bytes.fromhex(self.mac.replace(":", ""))),
            (field("ipVersion"), bytes([self.version])),
            (field("protocolIdentifier"), b"\6"),
            *(repeated if self.candidate == "repeated" else ()),
            *own,
            (field("sourceTransportPort"), (1000).to_bytes(2, "big")),
            (field("destinationTransportPort"), (80).to_bytes(2, "big")),
            *(repeated if self.candidate == "repeated behind" else ()),
            *(self._pair(*NTOP, OUTER) if self.candidate == "ntop" else ()),
            (field("flowStartMilliseconds"), now),
            (field("flowEndMilliseconds"), now),
            (field("packetDeltaCount"), PACKETS.to_bytes(8, "big")),
            (field("octetDeltaCount"), OCTETS.to_bytes(8, "big")),
        ]
        return Template(256 + self.number, tuple(item for item, _ in parts)), b"".join(value for _, value in parts)

    @staticmethod
    def _pair(source: str, destination: str, ends: tuple[str, str]) -> list[tuple[Field, bytes]]:
        names = (source, destination)
        return [(field(name), ip_address(end).packed) for name, end in zip(names, ends, strict=True)]


CASES = tuple(
    Case(number, candidate, version)
    for number, (candidate, version) in enumerate(((c, v) for c in CANDIDATES for v in (4, 6)), 1)
)


def messages() -> list[bytes]:
    """Templates in one message, then each record in one."""
    encoded = [case.encode() for case in CASES]
    bodies = [Message(encode_set(2, (template.encode() for template, _ in encoded)), 0)]
    bodies += [Message(encode_set(template.id, [record]), 1) for template, record in encoded]
    now = int(time.time())
    return [body.encode(now, max(0, number - 1), 7) for number, body in enumerate(bodies)]


def values(row: Row, *names: str) -> list[str]:
    """Return the values of these fields, in the row's order; a list has those of one that repeats."""
    found = []
    for name, value in row.items():
        if name in names:
            found += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return found


def pairs(row: Row, sources: tuple[str, ...], destinations: tuple[str, ...]) -> Pairs:
    return tuple(zip(values(row, *sources), values(row, *destinations), strict=True))


IANA = (("sourceIPv4Address", "sourceIPv6Address"), ("destinationIPv4Address", "destinationIPv6Address"))
# Names of the field with the MAC address, and of those with the flow's addresses.
FIELDS = {
    "nfdump": ("in src mac", ("src addr",), ("dst addr",)),
    "nfacctd": ("mac_src", ("ip_src",), ("ip_dst",)),
    "tshark": ("srcmac", ("srcaddr", "srcaddrv6"), ("dstaddr", "dstaddrv6")),
    "ipfixDump": ("sourceMacAddress", *IANA),
    "ipfix of PyPI": ("sourceMacAddress", *IANA),
    "xdpfix collect": ("sourceMacAddress", *IANA),
}
Shown = dict[str, dict[str, Row]]  # by reader and MAC address


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Send every case to every reader once."""
    folder = tmp_path_factory.mktemp("candidates")
    sent = messages()
    with (
        Nfcapd(folder / "nfcapd") as nfcapd,
        Nfacctd(folder / "nfacctd") as nfacctd,
        Collect(folder / "collect") as collect,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        peers: tuple[Peer, ...] = (nfcapd, nfacctd, collect)
        for peer in peers:
            for octets in sent:
                udp.sendto(octets, (peer.target.host, peer.port))
        nfacctd.wait_records(len(CASES))
        for peer in peers:
            peer.stop()
        rows = {"nfdump": nfcapd.records(), "nfacctd": nfacctd.records(), "xdpfix collect": collect.records()}
        write_capture(folder / "sent.pcap", [(octets, 40000) for octets in sent])
        rows["tshark"] = tshark_records(folder / "sent.pcap")
        (folder / "sent.ipfix").write_bytes(b"".join(sent))
        rows["ipfixDump"], _ = ipfix_dump(folder / "sent.ipfix")
        rows["ipfix of PyPI"] = _pypi(b"".join(sent))
        yield {
            reader: {row[FIELDS[reader][0]].lower(): row for row in rows_of_reader}
            for reader, rows_of_reader in rows.items()
        }


def _pypi(octets: bytes) -> list[Row]:
    ipfix.ie.use_iana_default()
    for name, enterprise, number, kind, length in VENDORS:
        ipfix.ie.for_spec(f"{name}({enterprise}/{number})<{kind}>[{length}]")
    rows = ipfix.reader.from_stream(BytesIO(octets)).namedict_iterator()
    return [row | {"sourceMacAddress": row["sourceMacAddress"].hex(":")} for row in rows]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_what_readers_take_for_the_flows_addresses(shown: Shown, reader: str, candidate: str):
    _, sources, destinations = FIELDS[reader]
    got = tuple(pairs(shown[reader][case.mac], sources, destinations) for case in CASES if case.candidate == candidate)
    assert got == MEASURED[reader, candidate]


def test_only_ntops_elements_leave_the_flows_addresses_alone(shown: Shown):
    """In every reader, as without any outer address; the others hide it or show two, and nobody says which is which."""
    spoilt = {
        case.candidate
        for case in CASES
        for reader, (_, *ends) in FIELDS.items()
        if pairs(shown[reader][case.mac], *ends) != (OWN[case.version],)
    }
    assert spoilt == {"repeated", "repeated behind"}


@pytest.mark.parametrize("reader", READERS)
def test_ntops_elements_are_shown_under_a_name_of_their_own(shown: Shown, reader: str):
    names = NAMES[reader]
    for case in CASES:
        row = shown[reader][case.mac]
        if case.candidate == "ntop" and names is not None:
            assert pairs(row, (names[0],), (names[1],)) == (OUTER,)
        if case.candidate == "ntop" and names is None:
            assert not set(OUTER) & set(map(str, row.values()))


@pytest.mark.parametrize(
    ("reader", "packets", "octets"), [("nfdump", "in packets", "in bytes"), ("nfacctd", "packets", "bytes")]
)
def test_counts_stay_right(shown: Shown, reader: str, packets: str, octets: str):
    for case in CASES:
        row = shown[reader][case.mac]
        assert (int(row[packets]), int(row[octets])) == (PACKETS, OCTETS)
