"""Waits for a condition instead of sleeping for a guessed time."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# How many times longer all deadlines are: an emulated machine is slow (lib.machine).
PATIENCE = float(os.environ.get("XDPFIX_TEST_PATIENCE", "1"))


def wait_until(condition: Callable[[], T], timeout: float = 15.0, what: str = "") -> T:
    """Give the condition's first true value; AssertionError when there is none within `timeout` seconds."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}")
        time.sleep(0.01)  # between two looks, not instead of one
