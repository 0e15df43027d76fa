"""`xdpfix top`: watches a running xdpfix on a terminal, by its control socket alone, on sampler.console.topscreen."""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from sampler.arguments import control_socket
from sampler.control import flowfilter
from sampler.control.client import ForbiddenError, tell
from sampler.errors import ConfigError, XdpfixError

# Seconds that an answer may take; meanwhile the screen says that it waits.
TIMEOUT = 10.0
INTERVALS = (0.2, 3600.0)


def main(arguments: argparse.Namespace) -> int:
    """Run it. Raises XdpfixError where there is no terminal, or this user may not ask."""
    interval = _interval(arguments.interval)
    flowfilter.parse(arguments.filter)
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        raise XdpfixError("top needs a terminal; without one use `xdpfix show flows --sort rate --limit 20`")
    path = control_socket(arguments)

    def ask(request: Mapping[str, object]) -> Any:
        return tell(path, request, TIMEOUT)

    try:
        ask({"show": "interfaces"})
    except ForbiddenError:
        raise  # waiting would not help
    except XdpfixError:
        pass  # it is awaited on the screen
    from sampler.console.topscreen import Top

    Top(ask, interval, arguments.filter).run()
    return 0


def _interval(text: str) -> float:
    low, high = INTERVALS
    try:
        interval = float(text)
    except ValueError:
        interval = 0.0
    if not low <= interval <= high:  # false for nan
        raise ConfigError(f"--interval = {text!r}: must be a number of seconds from {low:g} to {high:g}")
    return interval
