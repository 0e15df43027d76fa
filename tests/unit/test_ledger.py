"""The ledger: every sample that a gate took is accounted for."""

from sampler.control.ledger import Ledger
from sampler.kernel.gates import COUNTERS


def test_what_nobody_selects_is_accounted_for() -> None:
    samples = dict.fromkeys(COUNTERS, 0) | {"selected": 9, "unselected": 4, "lost_budget": 2, "appended": 3}
    ring = {"appended": 3, "received": 3, "lost": 0, "pending": 0}
    assert Ledger(samples, samples, ring, {}).errors() == []
    (error,) = Ledger(samples | {"unselected": 3}, samples, ring, {}).errors()
    assert error == "samples selected: 9 are not 8 accounted for"
