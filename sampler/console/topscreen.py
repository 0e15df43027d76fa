"""The terminal screen of `xdpfix top`: panes of tables over successive snapshots of a running xdpfix.

What a snapshot is shown as is in sampler.console.toptables, rates are made in
sampler.console.toprates. The snapshots are fetched by a thread a request, so that a slow
daemon leaves the screen alive.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from sampler.console import toptables
from sampler.console.toprates import CounterRates, FlowRates, RatedFlow
from sampler.console.toptables import Snapshot, Table
from sampler.control import flowfilter
from sampler.errors import XdpfixError

# Flows of a snapshot: many more than the screen shows, of which the fastest are found.
FLOWS_ASKED = 1000
# A sample is read up to a tick after its packet: that much before the last snapshot still belongs to this one.
LATE_NS = 10**9

PANES = ("flows", "interfaces", "tunnels", "exporters", "rules", "ledger")
STYLES = {"lost": "bold red", "warning": "yellow"}

Ask = Callable[[Mapping[str, object]], Any]


class Answered(Message):
    """The running xdpfix answered, or nobody did and `error` says why."""

    def __init__(self, snapshot: Snapshot | None, filter: str, error: str) -> None:
        super().__init__()
        self.snapshot = snapshot
        self.filter = filter
        self.error = error


class Top(App[None]):
    """The screen.

    Args:
        ask: sends a request to the running xdpfix and gives its answer, or raises XdpfixError. Called in a thread.
        interval: seconds between two snapshots.
        filter: of the flows, at the start.

    """

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #totals { height: 1; text-style: bold; }
    #status { height: 1; color: $text-muted; }
    #filter { display: none; height: 1; border: none; padding: 0; }
    #filter.shown { display: block; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),  # also while a filter is typed
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort", "Sort"),
        Binding("p", "pause", "Pause"),
        *(Binding(str(number), f"pane('{pane}')", pane.title()) for number, pane in enumerate(PANES, 1)),
        Binding("escape", "done", "Back", show=False),
    ]

    def __init__(self, ask: Ask, interval: float, filter: str = "") -> None:
        super().__init__()
        self._ask = ask
        self._interval = interval
        self._filter = filter
        self._sort = toptables.SORTS[0]
        self._paused = False
        self._asking = False
        self._since = 0
        self._pid = 0
        self._flow_rates = FlowRates()
        self._counter_rates = CounterRates()
        self._snapshot: Snapshot | None = None
        self._rated: list[RatedFlow] = []
        self._rates: toptables.Rates = {}
        self._columns: dict[str, tuple[str, ...]] = {}

    def compose(self) -> ComposeResult:
        """The widgets, from above."""
        yield Static("", id="totals", markup=False)
        with TabbedContent(initial=PANES[0]):
            for pane in PANES:
                with TabPane(pane.title(), id=pane):
                    yield DataTable(id=f"{pane}-table", cursor_type="row", zebra_stripes=True)
        yield Static("waiting for xdpfix", id="status", markup=False)
        yield Input(self._filter, id="filter", placeholder="address, port, protocol, interface, packets>100 …")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask; a signal that would end the process gives the terminal back first."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(RuntimeError):  # not in the main thread
                loop.add_signal_handler(number, self.exit)
        self._focus_table()
        self.set_interval(self._interval, self._tick)
        self._tick()

    def on_resize(self) -> None:
        """Other columns fit."""
        self.call_after_refresh(self._draw)

    def _tick(self) -> None:
        if self._paused:
            return
        if self._asking:
            return
        self._asking = True
        request = {
            "show": "top",
            "filter": self._filter,
            "sort": flowfilter.RATE,
            "limit": FLOWS_ASKED,
            "since": max(self._since - LATE_NS, 0),
        }
        threading.Thread(target=self._fetch, args=(request,), name="ask", daemon=True).start()

    def _fetch(self, request: Mapping[str, object]) -> None:
        """In a thread of its own, which is left behind when the screen is closed meanwhile."""
        try:
            answer, error = self._ask(request), ""
        except XdpfixError as refused:
            answer, error = None, str(refused)
        with contextlib.suppress(RuntimeError):  # closed meanwhile
            self.post_message(Answered(answer, str(request["filter"]), error))

    def on_answered(self, answered: Answered) -> None:
        """Show it, unless another filter was typed meanwhile."""
        self._asking = False
        if answered.snapshot is None:
            self._forget()
            self._say(f"waiting: {answered.error}")
            self._draw()
        elif answered.filter == self._filter:
            self._take(answered.snapshot)
        if answered.filter != self._filter:
            self._tick()

    def _forget(self) -> None:
        """What comes next has nothing to do with what is known."""
        self._flow_rates.reset()
        self._counter_rates.reset()
        self._since, self._snapshot, self._rated, self._rates = 0, None, [], {}

    def _take(self, snapshot: Snapshot) -> None:
        if snapshot["pid"] != self._pid:
            self._forget()
            self._pid = snapshot["pid"]
        counts = (
            toptables.interface_counts(snapshot)
            | toptables.target_counts(snapshot)
            | toptables.rule_counts(snapshot)
            | toptables.ledger_counts(snapshot)
        )
        self._rates = self._counter_rates.update(snapshot["time"], counts) or self._rates
        self._rated = self._flow_rates.update(snapshot["time"], snapshot["flows"])
        self._since = snapshot["time"]
        self._snapshot = snapshot
        self._say("")
        self._draw()

    def _say(self, text: str) -> None:
        notes = [text] if text else []
        if self._filter:
            notes.append(f"filter: {self._filter}")
        notes.append(f"sorted by {self._sort}")
        if self._paused:
            notes.append("paused")
        self.query_one("#status", Static).update("  ".join(notes))

    def _draw(self) -> None:
        """Show the snapshot in the pane that is seen."""
        snapshot = self._snapshot
        line = toptables.totals(snapshot, self._rated, self._rates) if snapshot else ""
        self.query_one("#totals", Static).update(line)
        pane = self.query_one(TabbedContent).active
        if snapshot is None:
            self.query_one(f"#{pane}-table", DataTable).clear()
            return
        tables: dict[str, Callable[[Snapshot], Table]] = {
            "flows": lambda _: toptables.flows(self._rated, self._sort, self.size.width),
            "interfaces": lambda it: toptables.interfaces(it, self._rates),
            "tunnels": toptables.tunnels,
            "exporters": lambda it: toptables.exporters(it, self._rates),
            "rules": lambda it: toptables.rules(it, self._rates),
            "ledger": lambda it: toptables.ledger(it, self._rates),
        }
        self._fill(pane, tables[pane](snapshot))

    def _fill(self, pane: str, content: Table) -> None:
        table = self.query_one(f"#{pane}-table", DataTable)
        row, left, top = table.cursor_row, table.scroll_x, table.scroll_y
        if self._columns.get(pane) != content.columns:
            table.clear(columns=True)
            for title in content.columns:
                table.add_column(Text(title), key=title.rstrip("▾"))
            self._columns[pane] = content.columns
        else:
            table.clear()
        for place, texts in enumerate(content.rows):
            style = STYLES.get(content.marks.get(place, ""), "")
            # Text: names of interfaces and collectors come from outside and are no markup.
            table.add_row(
                *(
                    Text(text, style, justify="right" if title in content.right else "left")
                    for title, text in zip(content.columns, texts, strict=True)
                )
            )
        table.move_cursor(row=min(row, max(len(content.rows) - 1, 0)), scroll=False)
        table.scroll_to(left, top, animate=False, immediate=True)

    def _focus_table(self) -> None:
        self.query_one(f"#{self.query_one(TabbedContent).active}-table", DataTable).focus()

    def action_pane(self, pane: str) -> None:
        """Show a pane."""
        self.query_one(TabbedContent).active = pane

    def on_tabbed_content_tab_activated(self) -> None:
        """Fill the pane that is seen now."""
        self._draw()
        self._focus_table()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort_by(toptables.SORTS[(toptables.SORTS.index(self._sort) + 1) % len(toptables.SORTS)])

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column that was clicked."""
        if event.column_key.value in toptables.SORTS:
            self._sort_by(str(event.column_key.value))

    def _sort_by(self, title: str) -> None:
        self._sort = title
        self._say("")
        self._draw()

    def action_pause(self) -> None:
        """Stand still, or go on."""
        self._paused = not self._paused
        self._say("")
        self._tick()

    def action_filter(self) -> None:
        """Type a filter."""
        entry = self.query_one("#filter", Input)
        entry.add_class("shown")
        entry.focus()

    def action_done(self) -> None:
        """Leave the filter as it is; where none is being typed, take it away."""
        entry = self.query_one("#filter", Input)
        if not entry.has_class("shown"):
            entry.value = ""
        entry.remove_class("shown")
        self._focus_table()

    def on_input_submitted(self) -> None:
        """Back to the flows."""
        self.action_done()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as it is typed; a word that is not whole yet changes nothing."""
        if event.value == self._filter:
            return
        try:
            flowfilter.parse(event.value)
        except XdpfixError as error:
            self._say(str(error))
            return
        self._filter = event.value
        self._flow_rates.reset()
        self._since = 0
        self._say("")
        self._tick()
