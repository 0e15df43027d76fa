"""The ledger: every sample that a gate took is accounted for."""

from sampler.control.ledger import ExporterLedger, Ledger
from sampler.kernel.gates import COUNTERS


def test_what_nobody_selects_is_accounted_for() -> None:
    samples = dict.fromkeys(COUNTERS, 0) | {"selected": 9, "unselected": 4, "lost_budget": 2, "appended": 3}
    ring = {"appended": 3, "received": 3, "lost": 0, "pending": 0}
    assert Ledger(samples, samples, ring, {}).errors() == []
    (error,) = Ledger(samples | {"unselected": 3}, samples, ring, {}).errors()
    assert error == "samples selected: 9 are not 8 accounted for"


def psample_ledger(**counts: int) -> Ledger:
    nothing = dict.fromkeys(COUNTERS, 0)
    ring = dict.fromkeys(("appended", "received", "lost", "pending"), 0)
    group = dict.fromkeys(("samples", "lost_socket", "lost_kernel", "lost_combinations", "lost_malformed"), 0)
    group |= {"messages": 9, "samples": 6, "lost_combinations": 2, "lost_malformed": 1}
    stats = dict.fromkeys(("samples_ingested", "samples_selected", "samples_pairs", "samples_exported"), 6)
    names = ("samples_cached", "samples_pending", "samples_unselected", "packets_represented")
    exporters = {"main": ExporterLedger.of(dict.fromkeys(names, 0) | stats)}
    return Ledger(nothing, nothing, ring, {}, exporters, {}, {10: group | counts}, {"main": 6})


def test_samples_of_psample_are_accounted_for() -> None:
    """Beside the ring's: they are for one exporter, and messages are samples or lost by name."""
    assert psample_ledger().errors() == []
    assert psample_ledger(lost_socket=5).errors() == []
    assert psample_ledger(messages=10).errors() == ["psample group 10: messages: 10 are not 9 accounted for"]
    assert psample_ledger(samples=5, messages=8).errors() == ["samples of psample: 5 are not 6 accounted for"]
