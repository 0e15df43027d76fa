"""Says in the log that samples are being lost, how many, why, and what to do; not more often than need be."""

import logging
from collections.abc import Mapping

log = logging.getLogger(__name__)

# A loss that goes on is told once a minute, with the sum since it was last told.
INTERVAL = 60.0

ADVICE = {
    "lost_budget": "over the sample budget of a CPU and second: raise exporter.sampling, or sampler.sample_budget",
    # Of whole batches, though some of a batch may have been read before: the most that it can be.
    "lost_ring": "the ring had no room: raise sampler.ring_pages or exporter.sampling",
    "lost_nested": "taken while another sample was being taken on the same CPU",
    "lost_unreadable": "the packet's headers could not be read",
    "lost_verdict": "the end of an observed XDP program was not seen",
}


class LossLog:
    """Compares counters with those before. Time comes in as an argument (seconds).

    Args:
        advice: what to do about the losses that each counter counts.
        what: is lost.

    """

    def __init__(self, advice: Mapping[str, str] = ADVICE, what: str = "samples") -> None:
        self._advice = advice
        self._what = what
        self._told: dict[str, int] = dict.fromkeys(advice, 0)
        self._due: dict[str, float] = dict.fromkeys(advice, 0.0)

    def check(self, samples: dict[str, int], now: float) -> None:
        """Log what was lost since it was last told, if that is due. `samples` are the counters by name."""
        for name, advice in self._advice.items():
            lost = samples[name] - self._told[name]
            if lost > 0 and now >= self._due[name]:
                log.warning("%d %s lost (%s): %s", lost, self._what, name, advice)
                self._told[name] = samples[name]
                self._due[name] = now + INTERVAL
