"""Serves the metrics by HTTP, for Prometheus and what reads its forms; in threads of its own, few and bounded.

What is served is read by a coroutine on the main thread, which asks the data thread as `xdpfix show stats` does:
between two batches. A scrape that is not answered in time is refused and does nobody harm. The forms and their
negotiation are prometheus_client's; the server around them is the standard library's, as prometheus_client's own is,
but with a limit of connections and of time. Imports both only when it is to listen.
"""

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from sampler.control.reports import Reports
from sampler.errors import StartError

log = logging.getLogger(__name__)

# Scrapes answered at the same time; a further connection is closed.
CONNECTIONS = 4
# Seconds that a client may take to say what it wants, or to take a part of the answer.
PATIENCE = 5.0
# Seconds between looks whether the server is to end, for which the main thread waits.
POLL = 0.05
# Seconds for main and data thread to give the figures; Prometheus waits 10 by default.
TIMEOUT = 5.0


class Scrapes:
    """The HTTP server of a service's metrics. Belongs to the main thread."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._address = ""
        self._server: Any = None

    def listen(self, address: str) -> None:
        """Serve at ADDRESS:PORT from now on, or nowhere (""). StartError: it cannot, and what was before stays."""
        if address == self._address:
            return
        server = _serve(address, asyncio.get_running_loop(), self._reports) if address else None
        self.close()
        self._server, self._address = server, address
        if address:
            log.info("metrics at http://%s/metrics", address)

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server, self._address = None, ""


def _serve(address: str, loop: asyncio.AbstractEventLoop, reports: Reports) -> Any:
    from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

    from sampler.control.metrics import families
    from sampler.control.scrapeserver import ScrapeServer

    class Figures:
        """What prometheus_client asks at each scrape, in the thread of its connection."""

        def describe(self) -> list[Any]:
            return []  # the names are known when they are asked for

        def collect(self) -> Iterator[Any]:
            future = asyncio.run_coroutine_threadsafe(reports.measure(), loop)
            try:
                measured = future.result(TIMEOUT)
            except concurrent.futures.TimeoutError:
                future.cancel()
                raise
            yield from families(measured)

    registry = CollectorRegistry()
    registry.register(Figures())
    ProcessCollector(registry=registry)
    host, _, port = address.rpartition(":")
    try:
        server = ScrapeServer((host.strip("[]"), int(port)), _patient(make_wsgi_app(registry)), CONNECTIONS, PATIENCE)
    except OSError as error:
        raise StartError(
            f'metrics.listen = "{address}": cannot listen there: {error.strerror or error}; '
            "take an address of this host and a free port above 1023"
        ) from None
    threading.Thread(target=server.serve_forever, args=(POLL,), name="metrics", daemon=True).start()
    return server


def _patient(application: Callable[..., Any]) -> Callable[..., Any]:
    """Answer 503 where the figures cannot be had: the data thread hangs, or the service ends."""

    def answer(environment: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        try:
            return application(environment, start_response)
        except Exception as error:  # whatever it is: a scrape must not end with a traceback in the log
            reason = str(error) or "the figures were not there in time"
            log.warning("a scrape of the metrics failed: %s", reason)
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{reason}\n".encode()]

    return answer
