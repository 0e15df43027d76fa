"""What is said of foreign XDP programs on sampled links: which is observed, which cannot be, and what passed unseen."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from sampler.daemon.linktable import Link
from sampler.daemon.places import RESTLESS_CHANGES, RESTLESS_SECONDS, Places
from sampler.kernel.attach import Hook
from sampler.kernel.xdpprograms import XdpProgram, program_name, shown

log = logging.getLogger(__name__)


class Beside:
    """Says each thing once for each link: a refusal by its reason, restlessness until it ends."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._said: set[tuple[int, str]] = set()
        self._restless: set[int] = set()

    def refused(self, link: Link, program: XdpProgram, reason: str) -> str:
        """A program cannot be observed, so the link is sampled at tc: how the program is called."""
        name = program_name(program.id)
        if self._first(link, reason):
            log.warning(
                "%s: sampled at tc, where packets that XDP program%s (id %d) drops, sends back or redirects are not "
                "seen; it cannot be observed: %s",
                link.name,
                f' "{name}"' if name else "",
                program.id,
                reason,
            )
        return shown(program.id, name)

    def _first(self, link: Link, what: str) -> bool:
        """Whether this is said of the link for the first time."""
        known = (link.ifindex, what) in self._said
        self._said.add((link.ifindex, what))
        return not known

    def warn(self, link: Link, sentences: Iterable[str]) -> None:
        """Tell what attaching to the link costs or hides, also where it moves there and back."""
        for sentence in sentences:
            if self._first(link, sentence):
                log.warning("%s", sentence)

    def tell_restless(self, link: Link) -> None:
        """Tell where a program changes too often to be followed, and when it no longer does."""
        restless = self._places.restless(link.ifindex)
        if restless and link.ifindex not in self._restless:
            self._restless.add(link.ifindex)
            log.warning(
                "%s: its XDP program changed %d times in %g s: sampled at tc until it has been the same for as long, "
                "and packets that it drops, sends back or redirects meanwhile are not seen",
                link.name,
                RESTLESS_CHANGES,
                RESTLESS_SECONDS,
            )
        elif not restless:
            self._restless.discard(link.ifindex)

    def tell_moved(self, link: Link, before: Hook | None, after: Hook) -> None:
        """Tell what was not seen while packets of a direction began to be counted elsewhere. None: they were not."""
        if before is None or (before.kind == after.kind and before.beside == after.beside):
            return
        if not before.observed:
            if after.observed:
                log.info(
                    "%s: what the XDP program (%s) dropped, sent back or redirected until now was not seen, nor any "
                    "packet in the moment of the change",
                    link.name,
                    after.beside,
                )
            elif before.kind != after.kind:
                log.info("%s: packets in between, from %s to %s, were not observed", link.name, before, after)
        elif not self._places.observing:
            log.info("%s: packets in between, from %s to %s, were not observed", link.name, before, after)
        else:
            fate = f"was replaced by another ({after.beside})" if after.observed else "is gone or replaced"
            log.warning(
                "%s: the XDP program (%s) %s: what came in between, in %.1f s at most, was not observed",
                link.name,
                before.beside,
                fate,
                self._places.age,
            )

    def shown(self, link: Link, hooks: Iterable[Hook]) -> list[str]:
        """How a link's hooks are shown: one at tc is behind the program of now, also where that is not followed."""
        program = self._places.foreign(link) if self._places.observing else None
        if program is None:
            return [str(hook) for hook in hooks]
        behind = shown(program.id, program_name(program.id))
        return [str(replace(hook, beside=behind) if hook.at_tc_ingress else hook) for hook in hooks]

    def forget(self, ifindex: int) -> None:
        """A link is gone: another one may have its number soon."""
        self._said = {said for said in self._said if said[0] != ifindex}
        self._restless.discard(ifindex)
