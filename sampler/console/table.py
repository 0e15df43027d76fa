"""Flow records as text: a live table on a terminal, aligned lines elsewhere. sampler.collector.collect feeds it."""

import errno
import io
import socket
import sys
from collections import deque
from contextlib import suppress
from datetime import datetime
from typing import TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from exporter.decoder import Record
from exporter.elements import FORWARDING, TUNNEL_TYPES
from exporter.values import Value

END_REASONS = {1: "idle", 2: "active", 3: "end", 4: "forced", 5: "resources"}  # IANA flowEndReason (136)
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmp6", 132: "sctp"}
COLUMNS = (
    *("start", "duration", "in", "out", "dir", "proto", "flow", "vlan", "packets", "octets", "end", "status"),
    *("tunnel", "outer"),  # last, for without a tunnel they are empty and with one they are long
)
_WIDTHS = (12, 9, 8, 8, 3, 6, 48, 4, 9, 12, 9, 9, 15, 0)
_RIGHT = {"duration", "packets", "octets"}
LIVE_ROWS = 20
# What a narrow terminal does without, first to last: the rest is what happened between whom, and how much of it.
_SPARED = ("end", "vlan", "outer", "tunnel", "status", "out", "in", "duration", "start", "dir")


def _interface(record: Record, element: str) -> str:
    index = record.get(element)
    if not isinstance(index, int) or index == 0:
        return "-"
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError):
        return str(index)  # another host's, or gone


def _first(record: Record, *names: str) -> Value | None:
    return next((value for name in names if (value := record.get(name)) is not None), None)


def _endpoint(address: Value | None, port: Value | None) -> str:
    host = address.hex() if isinstance(address, bytes) else str(address)
    if not isinstance(port, int):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _flow(record: Record) -> str:
    source = _first(record, "sourceIPv4Address", "sourceIPv6Address")
    destination = _first(record, "destinationIPv4Address", "destinationIPv6Address")
    if source is None or destination is None:
        return " → ".join(str(record.get(name) or "-") for name in ("sourceMacAddress", "destinationMacAddress"))
    kind = _first(record, "icmpTypeIPv4", "icmpTypeIPv6")
    if kind is not None:
        code = _first(record, "icmpCodeIPv4", "icmpCodeIPv6")
        return f"{_endpoint(source, None)} → {_endpoint(destination, None)} type {kind!s} code {code!s}"
    return (
        f"{_endpoint(source, record.get('sourceTransportPort'))} → "
        f"{_endpoint(destination, record.get('destinationTransportPort'))}"
    )


def _protocol(record: Record) -> str:
    number = record.get("protocolIdentifier")
    if isinstance(number, int):
        return PROTOCOLS.get(number, str(number))
    ethertype = record.get("ethernetType")
    return f"0x{ethertype:04x}" if isinstance(ethertype, int) else "-"


def _tags(record: Record) -> str:
    """VLANs, the outer one first, and the MPLS label behind them."""
    tags = [_first(record, "vlanId", "dot1qVlanId"), record.get("dot1qCustomerVlanId")]
    found = ".".join(str(tag) for tag in tags if tag is not None)
    entry = record.get("mplsTopLabelStackSection")
    label = f"mpls {int.from_bytes(entry[:3], 'big') >> 4}" if isinstance(entry, bytes) else ""
    return " ".join(part for part in (found, label) if part) or "-"


def _status(record: Record) -> str:
    """What became of the packets; of a flow that was not dropped as a whole, how many were."""
    status, dropped = record.get("forwardingStatus"), record.get("droppedPacketDeltaCount")
    word = FORWARDING.get(status >> 6, str(status)) if isinstance(status, int) else ""
    count = f"{dropped} dropped" if isinstance(dropped, int) and dropped and word != FORWARDING[2] else ""
    return ", ".join(part for part in (word, count) if part) or "-"


def _tunnel(record: Record) -> str:
    kind = record.get("tunnelType")
    if not isinstance(kind, int):
        return "-"
    key = record.get("tunnelKey")
    number = f" {int.from_bytes(key, 'big')}" if isinstance(key, bytes) else ""
    return f"{TUNNEL_TYPES.get(kind, kind)}{number}"


def _outer(record: Record) -> str:
    source = _first(record, "tunnelSourceIPv4Address", "UNTUNNELED_IPV6_SRC_ADDR")
    destination = _first(record, "tunnelDestinationIPv4Address", "UNTUNNELED_IPV6_DST_ADDR")
    if source is None or destination is None:
        return "-"
    return f"{_endpoint(source, None)} → {_endpoint(destination, None)}"


def _clock(moment: datetime) -> str:
    """Time of day here; of UTC in the last hours of the year 9999, beyond which a datetime knows no local time."""
    with suppress(OverflowError):
        moment = moment.astimezone()
    return f"{moment:%H:%M:%S.%f}"[:12]


def flow_cells(record: Record) -> tuple[str, ...]:
    """Return one text per column of COLUMNS; "-" where the record does not say."""
    start, end = record.start, record.end
    direction = record.get("flowDirection")
    reason = record.get("flowEndReason")
    packets = _first(record, "packetDeltaCount", "packetTotalCount")
    octets = _first(record, "octetDeltaCount", "octetTotalCount", "layer2OctetDeltaCount")
    return (
        _clock(start) if start else "-",
        f"{(end - start).total_seconds():.3f}s" if start and end else "-",
        _interface(record, "ingressInterface"),
        _interface(record, "egressInterface"),
        {0: "in", 1: "out"}.get(direction, "-") if isinstance(direction, int) else "-",
        _protocol(record),
        _flow(record),
        _tags(record),
        "-" if packets is None else str(packets),
        "-" if octets is None else str(octets),
        END_REASONS.get(reason, str(reason)) if isinstance(reason, int) else "-",
        _status(record),
        _tunnel(record),
        _outer(record),
    )


def _line(cells: tuple[str, ...]) -> str:
    columns = zip(COLUMNS, cells, _WIDTHS, strict=True)
    return " ".join(t.rjust(w) if name in _RIGHT else t.ljust(w) for name, t, w in columns).rstrip()


def header_line() -> str:
    """Return the column titles, aligned as flow_line."""
    return _line(COLUMNS)


def flow_line(record: Record) -> str:
    """Return one aligned line for an output that is no terminal."""
    return _line(flow_cells(record))


class _Terminal(io.TextIOBase):
    """A terminal that may go (EIO): remembered instead of raised, for rich writes from a thread of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.gone = False

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def write(self, text: str) -> int:
        if not self.gone:
            try:
                self._stream.write(text)
            except OSError:
                self.gone = True
        return len(text)

    def flush(self) -> None:
        if not self.gone:
            try:
                self._stream.flush()
            except OSError:
                self.gone = True


def _fitting(rows: tuple[tuple[str, ...], ...], width: int) -> dict[str, int]:
    """Choose the columns that a terminal of this width takes, and how wide each is with these rows in it."""
    widths = {
        name: max(len(name), *(len(cells[i]) for cells in rows)) if rows else len(name)
        for i, name in enumerate(COLUMNS)
    }
    for name in _SPARED:
        if sum(widths.values()) + len(widths) <= width:  # one blank behind each
            break
        del widths[name]
    return widths


class FlowTable:
    """Shows flow records on standard output: the last ones on a terminal, else a line each. A context manager.

    Raises BrokenPipeError from add(), or at the exit, when the reader of that is gone.

    Args:
        at_end: rows that a terminal keeps when the table is closed.
        rates: whether the flows are those of now.

    """

    def __init__(self, at_end: int = LIVE_ROWS, rates: bool = True) -> None:
        self._stream = sys.stdout
        self._rows: deque[tuple[str, ...]] = deque(maxlen=at_end)
        self._shown = LIVE_ROWS
        self._rates = rates
        self._live: Live | None = None
        self._terminal: _Terminal | None = None
        self._since = datetime.now()
        self.flows = self.packets = self.octets = 0

    def __enter__(self) -> "FlowTable":
        if self._stream.isatty():
            self._terminal = _Terminal(self._stream)
            self._console = Console(file=cast(TextIO, self._terminal))
            self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4)
            self._live.start()
        else:
            print(header_line(), file=self._stream, flush=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._live is not None:
            self._shown = len(self._rows)
            self._live.stop()
        if kind is None:
            self._check_terminal()

    def _check_terminal(self) -> None:
        if self._terminal is not None and self._terminal.gone:
            raise BrokenPipeError(errno.EPIPE, "the terminal is gone")

    def add(self, record: Record) -> None:
        """Show one record; options records are not flows and are passed over."""
        self._check_terminal()
        if record.scope_count:
            return
        self.flows += 1
        packets, octets = record.get("packetDeltaCount"), record.get("octetDeltaCount")
        self.packets += packets if isinstance(packets, int) else 0
        self.octets += octets if isinstance(octets, int) else 0
        if self._live is None:
            print(flow_line(record), file=self._stream, flush=True)
        else:
            self._rows.append(flow_cells(record))

    def _render(self) -> Group:
        rows = tuple(self._rows)[-self._shown :]
        widths = _fitting(rows, self._console.width)
        table = Table(expand=True, box=None, header_style="bold", padding=(0, 1, 0, 0))
        for name, width in widths.items():
            # The addresses are what may be cut, if anything still must.
            least = None if name == "flow" else width
            table.add_column(name, justify="right" if name in _RIGHT else "left", no_wrap=True, min_width=least)
        for cells in rows:
            shown = (cell for name, cell in zip(COLUMNS, cells, strict=True) if name in widths)
            table.add_row(*(Text(cell) for cell in shown))  # Text: a sender's string is no markup
        totals = f"{self.flows} flows, {self.packets} packets, {self.octets} octets"
        if self._rates:
            seconds = max((datetime.now() - self._since).total_seconds(), 1.0)
            totals += f"; {self.packets / seconds:.0f} packets/s, {self.octets * 8 / seconds:.0f} bit/s"
        if len(rows) < self.flows:
            totals += f"; the last {len(rows)} flows are shown"
        return Group(table, Text(totals, style="dim"))
