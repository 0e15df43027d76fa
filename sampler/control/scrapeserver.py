"""The standard library's WSGI server with bounds for sampler.control.scrapes: so many connections, so long for each."""

import socket
import threading
from collections.abc import Callable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer


class ScrapeServer(ThreadingMixIn, WSGIServer):
    """Listens at once. OSError where it cannot.

    Args:
        address: host as an address, and port.
        application: WSGI.
        connections: answered at the same time; a further one is closed.
        patience: seconds that a read or write of a client may take.

    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(
        self, address: tuple[str, int], application: Callable[..., Any], connections: int, patience: float
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = threading.BoundedSemaphore(connections)
        handler = type("Handler", (_Handler,), {"timeout": patience})
        super().__init__(address, handler)
        self.set_app(application)

    def server_bind(self) -> None:
        """Bind without asking DNS for our own name, as the base would: that may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the thread: answer, and be free again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the client went away, or was too slow."""


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""
