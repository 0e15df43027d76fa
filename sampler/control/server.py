"""The control socket: a running xdpfix answers `xdpfix show WHAT` and obeys `xdpfix reload`. The server.

A request is one line of JSON with one command, its argument and options: {"show": "flows", "limit": 10}; the answer
is one line, {"result": …} or {"error": "sentence", "code": exit code}. Which commands there are is in
sampler.control.commands, who asks in sampler.control.client. The socket is root's alone (mode 0600). Holding it also
means being the only xdpfix that uses this path.
"""

import asyncio
import contextlib
import errno
import inspect
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampler.errors import ConfigError, StartError, XdpfixError

log = logging.getLogger(__name__)

# Octets of a request; the longest of ours is a filter of some hundred.
REQUEST_MAX = 4096
# Items of a list that are written at a stretch: some 2 ms.
PART = 500


@dataclass(frozen=True)
class Command:
    """One command of the socket.

    Attributes:
        run: called with the argument, and the options by name. Checks both; gives what JSON can hold, or awaits it;
            raises XdpfixError with a sentence for the user.
        options: that a request may have beside the argument.

    """

    run: Callable[..., Any]
    options: tuple[str, ...] = ()


class ControlServer:
    """Answers requests on the asyncio loop. An async context manager; leaving it removes the socket.

    `commands` by name; it may be filled later, and until then the answer is that xdpfix is starting.
    """

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self.path = path
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "ControlServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen. StartError when another xdpfix answers there, or the path cannot be made."""
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._serve, sock=_listen(self.path), limit=REQUEST_MAX)

    async def close(self) -> None:
        """Stop listening and remove the socket. Closing twice does nothing."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        with contextlib.suppress(OSError):
            self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                for part in _parts(await self._answer(line)):
                    writer.write(part.encode())
                    await writer.drain()
                    await asyncio.sleep(0)
        except (OSError, ValueError):
            pass  # the client went away, or sent a line beyond REQUEST_MAX
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            name, command, argument, options = self._read(line)
            unknown = [option for option in options if option not in command.options]
            if unknown:
                raise ConfigError(f"{name}: {json.dumps(unknown[0])} is no option of it")
            result = command.run(argument, **options)
            return {"result": await result if inspect.isawaitable(result) else result}
        except XdpfixError as error:
            return {"error": str(error), "code": error.exit_code}
        except Exception as error:  # a fault of ours, or the kernel refuses: who asked must hear of it
            log.exception("the control socket: an unexpected error")
            return {"error": f"an error of xdpfix: {error!r}; please report it with the lines of its log", "code": 1}

    def _read(self, line: bytes) -> tuple[str, Command, Any, dict[str, Any]]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            raise ConfigError("the request is no JSON") from None
        if not self._commands:
            raise XdpfixError("xdpfix is starting: ask again in a moment")
        names = [name for name in request if name in self._commands] if isinstance(request, dict) else []
        if len(names) != 1:
            raise ConfigError(f"a request has one command of {', '.join(self._commands)}")
        (name,) = names
        options = {option: value for option, value in request.items() if option != name}
        return name, self._commands[name], request[name], options


def _parts(answer: dict[str, Any]) -> Iterator[str]:
    """Write the answer as one line; a long list in parts, for a single one would keep the data thread from the GIL."""
    result = answer.get("result")
    if isinstance(result, list) and len(result) > PART:
        yield '{"result": ['
        for start in range(0, len(result), PART):
            items = json.dumps(result[start : start + PART], allow_nan=False)[1:-1]
            yield (", " if start else "") + items
        yield "]}\n"
    else:
        yield json.dumps(answer, allow_nan=False) + "\n"


def _listen(path: Path) -> socket.socket:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_stale(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # By umask and not by chmod after: between the two anyone could connect.
            before = os.umask(0o177)
            try:
                sock.bind(str(path))
            finally:
                os.umask(before)
            sock.listen()
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise StartError(
            f"{path}: cannot make the control socket: {error.strerror or error}; set sampler.control_socket to a path "
            "that can be written"
        ) from None
    return sock


def _remove_stale(path: Path) -> None:
    """Remove the socket that a killed xdpfix left. StartError when somebody answers on it."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno != errno.ECONNREFUSED:
                raise
            path.unlink(missing_ok=True)
            return
    raise StartError(f"{path}: another xdpfix is running; stop it, or set sampler.control_socket to another path")
