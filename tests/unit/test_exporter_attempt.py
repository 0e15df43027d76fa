"""Attempts at a connection that end in another way than they should."""

import pytest

from exporter.transports.attempt import Connector
from exporter.transports.connection import Connection
from lib.wait import wait_until

SECOND = 10**9


def test_an_unexpected_error_is_an_attempt_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    """Without a result the collector would be "connecting" until the end."""

    def connect() -> Connection:
        raise ValueError("out of range")

    connector = Connector(connect, instant=False, delay_ns=SECOND, name="192.0.2.1")
    for now_ns in (0, 2 * SECOND):
        with pytest.raises(OSError, match=r"ValueError\('out of range'\)"):
            wait_until(lambda: connector.poll(now_ns))  # noqa: B023 - called at once
        assert not connector.busy
    assert "connect 192.0.2.1" in caplog.text
