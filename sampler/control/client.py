"""The asking end of the control socket (sampler.control.server): one request, one answer. It needs no event loop."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampler.errors import XdpfixError

# Seconds that a client waits: a cache of a million flows takes some of them to write out.
TIMEOUT = 30.0


class ForbiddenError(XdpfixError):
    """This user may not ask the running xdpfix."""


class AnswerError(XdpfixError):
    """The running xdpfix refused: its sentence, and the exit code that it gave with it."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.exit_code = code


def ask(path: Path, what: str, timeout: float = TIMEOUT) -> Any:
    """Ask the running xdpfix to show something. See tell() for the errors."""
    return tell(path, {"show": what}, timeout)


def tell(path: Path, request: Mapping[str, object], timeout: float = TIMEOUT) -> Any:
    """Send one request to the running xdpfix; give its result.

    Raises:
        AnswerError: it refused.
        ForbiddenError: it is not for this user.
        XdpfixError: none is running, or it ended before it answered.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
        except PermissionError:
            raise ForbiddenError(f"{path}: only root may ask the running xdpfix; use sudo") from None
        except OSError as error:
            raise XdpfixError(
                f"{path}: no xdpfix answers there ({error.strerror or error}); start it with `xdpfix run`, "
                "or name its socket with --socket"
            ) from None
        try:
            with sock.makefile("rwb") as stream:
                stream.write(json.dumps(request).encode() + b"\n")
                stream.flush()
                line = stream.readline()
        except OSError as error:
            raise XdpfixError(f"{path}: xdpfix did not answer: {error.strerror or error}") from None
    try:
        answer = json.loads(line)
    except ValueError:
        raise XdpfixError(f"{path}: xdpfix ended before it answered") from None
    if "error" in answer:
        raise AnswerError(str(answer["error"]), int(answer.get("code", 1)))
    return answer.get("result")
