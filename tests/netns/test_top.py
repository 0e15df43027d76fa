"""`xdpfix top` over the control socket of a real xdpfix with traffic: its screen, driven without a terminal."""

import asyncio
import os
import pty
import select
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static, TabbedContent

from lib.daemon import PROGRAM, Daemon
from lib.netns import Namespace
from lib.sink import Sink
from lib.traffic import send, tcp_frame, udp_frame
from lib.wait import PATIENCE, wait_until
from sampler.console.topscreen import Top
from sampler.control.client import tell

CONFIG = """
[sampler]
interfaces = ["a"]
[exporter]
targets = ["{target}"]
sampling = 1
"""


def rows(app: Top, pane: str) -> list[list[str]]:
    """The cells of a pane's table."""
    table = app.query_one(f"#{pane}-table", DataTable)
    return [[str(cell) for cell in table.get_row_at(place)] for place in range(table.row_count)]


def titles(app: Top, pane: str) -> list[str]:
    return [str(column.label) for column in app.query_one(f"#{pane}-table", DataTable).ordered_columns]


def line(app: Top, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).render())


async def until(pilot: Pilot[None], condition: Callable[[], bool], what: str = "") -> None:
    """Let the screen go on until it shows what it should."""
    for _ in range(int(1500 * PATIENCE)):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError(f"the screen never showed {what or condition}")


def drive(
    socket: Path,
    steps: Callable[[Top, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (80, 24),
    interval: float = 0.1,
) -> None:
    def ask(request: Mapping[str, object]) -> Any:
        return tell(socket, request, 10)

    async def run() -> None:
        app = Top(ask, interval)
        async with app.run_test(size=size) as pilot:
            await steps(app, pilot)

    asyncio.run(run())


def test_screen(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    """Flows by rate, a filter that is typed, every pane, at 80x24."""
    left, right = wire
    with Sink(left) as sink, Daemon(left, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:

        def traffic() -> None:
            send(right, "b", [udp_frame(sport=2000, payload=1000)] * 20 + [udp_frame(sport=3000)] * 2)
            send(left, "a", [tcp_frame()] * 5)

        traffic()
        wait_until(lambda: daemon.show("stats")["ring"]["received"] == 27)

        async def steps(app: Top, pilot: Pilot[None]) -> None:
            await until(pilot, lambda: len(rows(app, "flows")) == 3)
            assert titles(app, "flows") == ["bit/s▾", "pkt/s", "proto", "flow", "if", "dir"]
            fastest = rows(app, "flows")[0]
            assert fastest[2:] == ["udp", "198.51.100.2:2000 → 192.0.2.1:53", "a", "in"]
            # Rates of an interval with traffic: more packets than the flow's life has a second.
            average = fastest[1]
            await asyncio.to_thread(traffic)
            await until(pilot, lambda: (rows(app, "flows") or [fastest])[0][1] not in (average, "0"))
            await until(pilot, lambda: [row[1] for row in rows(app, "flows")] == ["0"] * 3, "a pause")
            assert "3 flows" in line(app, "totals")
            assert "lost" not in line(app, "totals")
            assert app.query_one("#status").region.bottom <= 24

            await pilot.press("slash", *"2000")
            await until(pilot, lambda: len(rows(app, "flows")) == 1, "the filtered flow")
            assert "filter: 2000" in line(app, "status")
            assert app.query_one("#filter").region.bottom <= 24
            await pilot.press("enter")
            assert not app.query_one("#filter", Input).has_class("shown")
            await pilot.press("escape")
            await until(pilot, lambda: len(rows(app, "flows")) == 3, "all flows")

            await pilot.press("s", "s")
            assert titles(app, "flows")[2] == "proto▾"
            assert [row[2] for row in rows(app, "flows")] == ["tcp", "udp", "udp"]

            await pilot.press("2")
            await until(pilot, lambda: bool(rows(app, "interfaces")))
            assert [row[0] for row in rows(app, "interfaces")] == ["a"]
            assert rows(app, "interfaces")[0][3:5] == ["44", "10"]
            await pilot.press("3")
            await until(pilot, lambda: app.query_one(TabbedContent).active == "tunnels")
            assert rows(app, "tunnels") == []
            await pilot.press("4")
            await until(pilot, lambda: len(rows(app, "exporters")) == 2)
            assert [row[0] for row in rows(app, "exporters")] == ["main", f"  {sink.target}"]
            assert rows(app, "exporters")[1][5] == "connected"
            await pilot.press("5")
            await until(pilot, lambda: bool(rows(app, "rules")))
            assert rows(app, "rules") == [["main", "every packet", "1/1", "0", "54", "54", "0", "0"]]
            await pilot.press("6")
            await until(pilot, lambda: bool(rows(app, "ledger")))
            assert ["received", "", "-", "54", "0"] in rows(app, "ledger")
            await pilot.press("slash", "ctrl+c")
            await until(pilot, lambda: not app.is_running)

        drive(daemon.socket, steps, interval=0.4)


def test_losses_stand_out(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    config = CONFIG.format(target="192.0.2.1:4739").replace("[sampler]", "[sampler]\nsample_budget = 5")
    with Daemon(left, tmp_path, config).wait_ready() as daemon:
        send(right, "b", [udp_frame()] * 500)
        wait_until(lambda: daemon.show("stats")["samples"]["lost_budget"] > 0)

        async def steps(app: Top, pilot: Pilot[None]) -> None:
            await until(pilot, lambda: "lost" in line(app, "totals"))
            await pilot.press("6")
            await until(pilot, lambda: bool(rows(app, "ledger")))
            table = app.query_one("#ledger-table", DataTable)
            lines = [table.get_row_at(place) for place in range(table.row_count)]
            (lost,) = [cells for cells in lines if str(cells[0]).strip() == "lost: budget"]
            assert str(lost[0].style) == "yellow"
            assert {str(cells[0].style) for cells in lines if str(cells[3]) == "0"} == {""}
            send(right, "b", [udp_frame()] * 500)
            await until(
                pilot,
                lambda: any(str(table.get_row_at(place)[0].style) == "bold red" for place in range(table.row_count)),
                "losses that go on",
            )

        drive(daemon.socket, steps)


def test_it_waits_for_the_daemon_and_goes_on_after_a_restart(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire

    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "waiting:" in line(app, "status") and "no xdpfix answers" in line(app, "status"))
        for port in (1000, 2000):
            with Daemon(left, tmp_path, CONFIG.format(target="192.0.2.1:4739")) as daemon:
                await asyncio.to_thread(daemon.wait_ready)
                send(right, "b", [udp_frame(sport=port)] * 3)
                flow = f"198.51.100.2:{port} → 192.0.2.1:53"
                await until(pilot, lambda: [row[3] for row in rows(app, "flows")] == [flow], flow)  # noqa: B023 - now
                assert "waiting" not in line(app, "status")
                await asyncio.to_thread(daemon.stop)
            await until(pilot, lambda: "waiting" in line(app, "status"))
            assert rows(app, "flows") == []

    drive(tmp_path / "control.sock", steps)


def test_narrow_and_wide(wire: tuple[Namespace, Namespace], tmp_path: Path) -> None:
    left, right = wire
    with Daemon(left, tmp_path, CONFIG.format(target="192.0.2.1:4739")).wait_ready() as daemon:
        send(right, "b", [udp_frame("2001:db8::2", "2001:db8::1")] * 3)

        async def steps(app: Top, pilot: Pilot[None]) -> None:
            await until(pilot, lambda: len(rows(app, "flows")) == 1)
            assert titles(app, "flows") == ["bit/s▾", "pkt/s", "flow"]
            assert rows(app, "flows")[0][2] == "[2001:db8::2]:1024 → [2001:db8::1]:53"
            await pilot.resize_terminal(150, 50)
            await until(pilot, lambda: len(titles(app, "flows")) == 10)
            await pilot.resize_terminal(20, 6)
            await until(pilot, lambda: len(titles(app, "flows")) == 3)

        drive(daemon.socket, steps, size=(40, 10))


class Terminal:
    """A pseudo-terminal with `xdpfix top` on it."""

    def __init__(self, namespace: Namespace, daemon: Daemon) -> None:
        self._primary, secondary = pty.openpty()
        self.process = namespace.popen(
            *(str(PROGRAM), "top", "--interval", "0.2", "--socket", str(daemon.socket)),
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
        )
        os.close(secondary)
        self.shown = b""

    def shows(self, text: bytes) -> bool:
        """Read what was written meanwhile; whether the text was among all."""
        while select.select([self._primary], [], [], 0)[0]:
            try:
                self.shown += os.read(self._primary, 65536)
            except OSError:
                break  # the other end is closed
        return text in self.shown

    def type(self, keys: bytes) -> None:
        os.write(self._primary, keys)

    def close(self) -> None:
        os.close(self._primary)


@pytest.mark.parametrize("end", ["q", "SIGTERM"])
def test_on_a_terminal_it_draws_and_gives_it_back(wire: tuple[Namespace, Namespace], tmp_path: Path, end: str) -> None:
    """The program itself: ended by its key or by a signal, it leaves the alternate screen."""
    left, right = wire
    with Daemon(left, tmp_path, CONFIG.format(target="192.0.2.1:4739")).wait_ready() as daemon:
        send(right, "b", [udp_frame(sport=4242)] * 3)
        terminal = Terminal(left, daemon)
        wait_until(lambda: terminal.shows(b"4242"), 30, "the flow on the terminal")
        assert b"\x1b[?1049h" in terminal.shown
        if end == "q":
            terminal.type(b"q")
        else:
            terminal.process.send_signal(signal.SIGTERM)
        # Read on: it writes until its end, and would wait for a reader.
        wait_until(lambda: terminal.shows(b"\x1b[?1049l") and terminal.process.poll() is not None, 30, "the end")
        terminal.close()
        assert terminal.process.returncode == 0
        assert b"Traceback" not in terminal.shown
