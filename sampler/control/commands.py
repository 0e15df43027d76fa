"""The commands of the control socket and the checks of their arguments: show, reload, flush, set.

What they do is done elsewhere: sampler.control.reports shows, sampler.daemon.flushing flushes, the service reloads.
"""

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from sampler import configkeys
from sampler.control.server import Command
from sampler.errors import ConfigError

# Options that a subject of "show" takes.
SHOW_OPTIONS = {"flows": ("filter", "sort", "limit", "since"), "top": ("filter", "sort", "limit", "since")}


class Service(Protocol):
    """What the commands need of sampler.daemon.service. Both give one sentence for each thing that changed."""

    def reload(self) -> list[str] | Awaitable[list[str]]:
        """Read the configuration anew and apply it. ConfigError or StartError: nothing changed."""

    def set_sampling(self, sampling: int) -> list[str] | Awaitable[list[str]]:
        """Take one packet in this many from now on, until the next reload."""

    async def settled(self) -> None:
        """Wait until the data thread has what it was handed."""


Handler = Callable[..., Any]


def table(service: Service, shown: Mapping[str, Handler], flush: Handler) -> dict[str, Command]:
    """Make the commands by name.

    Args:
        service: reloads and sets.
        shown: gives what is shown, by subject, called with the options of SHOW_OPTIONS.
        flush: coroutine that flushes the exporter of this name, or all (None).

    """

    def show(subject: object, **options: object) -> Any:
        if not isinstance(subject, str) or subject not in shown:
            raise ConfigError(f"cannot show {json.dumps(subject)}; this xdpfix shows {', '.join(shown)}")
        for option in options:
            if option not in SHOW_OPTIONS.get(subject, ()):
                raise ConfigError(f"show {subject}: {json.dumps(option)} is no option of it")
        return shown[subject](**options)

    async def changed(result: Any) -> dict[str, Any]:
        sentences = await result if inspect.isawaitable(result) else result
        await service.settled()
        return {"changes": sentences}

    async def reload(argument: object) -> dict[str, Any]:
        _only_true("reload", argument)
        return await changed(service.reload())

    def flushed(argument: object) -> Any:
        if isinstance(argument, str):
            return flush(argument)
        _only_true("flush", argument, "or the name of an exporter")
        return flush(None)

    async def set_(argument: object) -> dict[str, Any]:
        if not isinstance(argument, dict) or set(argument) != {"sampling"}:
            raise ConfigError(f'set {json.dumps(argument)}: must be {{"sampling": N}}')
        sampling: int = configkeys.EXPORTER["sampling"]("sampling", argument["sampling"])
        return await changed(service.set_sampling(sampling))

    options = tuple(dict.fromkeys(option for names in SHOW_OPTIONS.values() for option in names))
    return {
        "show": Command(show, options),
        "reload": Command(reload),
        "flush": Command(flushed),
        "set": Command(set_),
    }


def _only_true(name: str, argument: object, more: str = "") -> None:
    if argument is not True:
        raise ConfigError(f"{name} {json.dumps(argument)}: must be true {more}".rstrip())
