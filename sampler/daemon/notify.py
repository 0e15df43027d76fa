"""Tells the service manager how the daemon stands: sd_notify(3), one datagram a message, no library.

Does nothing where NOTIFY_SOCKET is not set, which is everywhere but under systemd.
"""

import os
import socket
import time


class Notifier:
    """Sends states to the socket that NOTIFY_SOCKET names. Safe to use from any thread."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero octet of an abstract address (sd_notify(3)).
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """Say that everything is attached."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read anew; ready() ends it. Type=notify-reload needs the time."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the caches are being flushed."""
        self._send("STOPPING=1", "STATUS=flushing the flow caches")

    def watchdog(self) -> None:
        """Say that the data thread is alive."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # a service manager that is gone or busy must not stop the sampling


def watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what the service manager allows; None where it expects none."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text.isdecimal() or int(text) == 0:
        return None
    return int(text) / 2_000_000
