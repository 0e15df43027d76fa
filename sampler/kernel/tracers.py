"""The tracers of foreign XDP programs: one a program, however many interfaces have it."""

import contextlib
from collections.abc import Callable

from sampler.errors import StartError
from sampler.kernel.loader import prepare_tracing
from sampler.kernel.maps import Maps
from sampler.kernel.tracer import Tracer
from sampler.kernel.tracerrefusal import TracerRefusedError, refusal

# Refusals that are kept, so that a program on a thousand interfaces is tried once.
REFUSALS = 256


class Tracers:
    """Makes a program's tracer for its first interface, and closes it with the last.

    Args:
        maps: of the programs.
        loader: "libbpf" or "bcc".
        make: makes a tracer.

    """

    def __init__(self, maps: Maps, loader: str, make: Callable[[Maps, str, int], Tracer] = Tracer) -> None:
        self._maps = maps
        self._loader = loader
        self._make = make
        self._tracers: dict[int, Tracer] = {}
        self._users: dict[int, int] = {}
        self._refused: dict[int, str] = {}

    def prepare(self) -> None:
        """Do now what takes long: when a foreign program comes, the main thread has to go on."""
        if refusal() is None:
            # What stands in the way is said with the first program.
            with contextlib.suppress(OSError, StartError):
                prepare_tracing(self._loader, self._maps)

    def take(self, program: int) -> Tracer:
        """Give the tracer of a program; each call wants its give_back(). TracerRefusedError, ProgramGoneError."""
        if program not in self._tracers:
            if program in self._refused:
                raise TracerRefusedError(program, self._refused[program])
            if (reason := refusal()) is not None:
                raise TracerRefusedError(program, reason)
            try:
                self._tracers[program] = self._make(self._maps, self._loader, program)
            except TracerRefusedError as error:
                if len(self._refused) >= REFUSALS:
                    self._refused.clear()
                self._refused[program] = error.reason
                raise
            self._users[program] = 0
        self._users[program] += 1
        return self._tracers[program]

    def give_back(self, tracer: Tracer) -> None:
        """Let go of it for one interface."""
        program = tracer.program_id
        self._users[program] -= 1
        if not self._users[program]:
            del self._users[program]
            self._tracers.pop(program).close()
