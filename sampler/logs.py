"""Log lines on stderr: with the journal's priorities under systemd (sd-daemon(3)), with time and level elsewhere."""

import logging
import os
import sys
from typing import TextIO

# syslog(3) priorities that the journal reads in front of a line.
PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class JournalFormatter(logging.Formatter):
    """Every line of a message gets its priority: the journal takes each line for a message."""

    def format(self, record: logging.LogRecord) -> str:
        """The message with <PRIORITY> in front of each line."""
        priority = PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is at the time: a live table puts itself in its place, to keep lines above it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line to the stderr of now."""
        self.stream = sys.stderr
        super().emit(record)


def set_up() -> None:
    """Send the log of all parts to stderr."""
    handler = StderrHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # pyroute2 logs what it handles itself.
    logging.getLogger("pyroute2").setLevel(logging.CRITICAL)
