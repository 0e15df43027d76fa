"""The collector that `xdpfix run` embeds, in a process of its own: lines into a pipe, a live table on a terminal."""

import fcntl
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from lib.messages import ipfix_set, message, options_template, template
from lib.wait import wait_until

# Prints its port, then lives as `xdpfix run` does until it is told to stop: by its standard input, or by on_closed.
PROGRAM = """
import os, select, sys
from sampler.collector.collect import EmbeddedCollector
read, write = os.pipe()
collector = EmbeddedCollector(on_closed=lambda: os.write(write, b"closed"))
print(collector.address[1], file=sys.stderr, flush=True)
collector.start()
ready, _, _ = select.select([0, read], [], [])
collector.stop()
print("stopped", "by on_closed" if read in ready else "by the test", vars(collector.stats)["records"], file=sys.stderr)
"""
RECORD = b"\xc0\0\2\1\xc6\x33\x64\2\x11\x9c\x43\0\x35" + (3).to_bytes(8, "big") + (300).to_bytes(8, "big") + b"\4"
FLOW = message(
    template(256, (8, 4), (12, 4), (4, 1), (7, 2), (11, 2), (2, 8), (1, 8), (136, 1)),
    options_template(400, 1, (149, 4), (34, 4)),
    ipfix_set(400, b"\0\0\0\1\0\0\0\1"),
    ipfix_set(256, RECORD),
)


class Embedded:
    """The process: send() to its port, read() what it shows, stop() it."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def start(self, stdout: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=os.environ | {"TERM": "xterm", "COLUMNS": ""},
        )
        self._udp.connect(("127.0.0.1", int(self.process.stderr.readline())))
        self.shown = ""

    def send(self) -> None:
        with suppress(ConnectionRefusedError):  # it ended
            self._udp.send(FLOW)

    def wait_for(self, text: str) -> None:
        """Read until it has shown this."""

        def come() -> bool:
            while select.select([self._output], [], [], 0)[0]:
                if not (octets := self._read()):
                    break
                self.shown += octets.decode()
            ended = self.process.poll() is not None and not select.select([self._output], [], [], 0)[0]
            assert text in self.shown or not ended, self.process.stderr.read().decode()
            return text in self.shown

        wait_until(come, 10, f"{text!r} shown, but {self.shown!r}")

    def _read(self) -> bytes:
        try:
            return os.read(self._output, 65536)
        except OSError:  # EIO: the other side of the terminal was closed
            return b""

    def stop(self) -> str:
        """Tell it to stop, by the end of its input; what it wrote to standard error."""
        _, err = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return err.decode()

    def hang_up(self) -> None:
        """Close the reading side of its output."""
        os.close(self._output)
        self._output = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._udp.close()
        if self._output >= 0:
            os.close(self._output)


@contextmanager
def piped() -> Iterator[Embedded]:
    read, write = os.pipe()
    embedded = Embedded(read)
    embedded.start(write)
    os.close(write)
    try:
        yield embedded
    finally:
        embedded.close()


@contextmanager
def on_terminal(columns: int = 160) -> Iterator[Embedded]:
    """Run it with a pseudo-terminal of this width as its output."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    embedded = Embedded(master)
    embedded.start(slave)
    os.close(slave)
    try:
        yield embedded
    finally:
        embedded.close()


def test_flows_are_lines_in_a_pipe():
    with piped() as embedded:
        embedded.send()
        embedded.wait_for("192.0.2.1:40003 → 198.51.100.2:53")
        assert embedded.stop() == "stopped by the test 1\n"
        title, line = embedded.shown.splitlines()
        assert title.split()[:2] == ["start", "duration"]
        assert line.split()[-6:] == ["3", "300", "forced", "-", "-", "-"]


def test_stop_shows_what_has_arrived():
    with piped() as embedded:
        for _ in range(50):
            embedded.send()
        assert embedded.stop() == "stopped by the test 50\n"
        embedded.wait_for("198.51.100.2:53")
        assert embedded.shown.count("forced") == 50


def test_a_pipe_that_closes_is_reported_once_and_quietly():
    with piped() as embedded:
        embedded.wait_for("start")
        embedded.hang_up()
        embedded.send()
        # Its input stays open: it ends because it was told of the closed pipe.
        assert embedded.process.wait(30) == 0
        assert embedded.process.stderr.read() == b"stopped by on_closed 1\n"


@pytest.mark.parametrize(
    ("columns", "spared"), [(160, ()), (80, ("vlan", "tunnel", "outer", "end")), (60, ("start", "end"))]
)
def test_a_terminal_shows_a_live_table(columns: int, spared: tuple[str, ...]):
    """A narrow one does without some columns rather than with none that can be read."""
    with on_terminal(columns) as embedded:
        embedded.send()
        embedded.wait_for("192.0.2.1:40003 → 198.51.100.2:53")
        embedded.wait_for("1 flows, 3 packets, 300 octets")
        words = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", embedded.shown).split()
        assert {"proto", "flow", "packets", "octets", "udp"} <= set(words)
        assert not set(spared) & set(words)
        assert ("vlan" in words) == (columns == 160)
        embedded.send()
        embedded.wait_for("2 flows, 6 packets, 600 octets")
        assert embedded.stop() == "stopped by the test 2\n"
        embedded.wait_for("\x1b[?25h")  # the cursor is back


def test_a_terminal_that_went_before_the_end_is_no_error():
    with on_terminal() as embedded:
        embedded.wait_for("start")
        embedded.hang_up()
        assert embedded.stop() == "stopped by the test 0\n"


def test_a_terminal_that_goes_is_reported_once_and_quietly():
    with on_terminal() as embedded:
        embedded.wait_for("start")
        embedded.hang_up()

        def ended() -> bool:
            embedded.send()  # the table finds out when it writes, and says so when the next flow comes
            return embedded.process.poll() is not None

        wait_until(ended, 10, "the end")
        assert embedded.process.returncode == 0
        assert embedded.process.stderr.read().startswith(b"stopped by on_closed ")
