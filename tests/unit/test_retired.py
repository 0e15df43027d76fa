"""Counters of an exporter go on where those of the one before it ended."""

from sampler.control.ledger import ExporterLedger
from sampler.daemon.retired import Retired

A = {"target": "192.0.2.1:4739", "state": "connected", "messages_sent": 10, "refusals": 1, "records_waiting": 3}
B = {"target": "192.0.2.2:4739", "state": "connected", "messages_sent": 4, "messages_lost": 2, "records_waiting": 0}


def test_nothing_retired() -> None:
    figures = Retired().figures("main", {"records": 5}, [A, B])
    assert figures.stats == {"records": 5, "messages_sent": 14, "send_failures": 3}
    assert figures.targets == [A | {"send_failures": 1}, B | {"send_failures": 2}]


def test_what_was_retired_is_added_by_name_and_target() -> None:
    retired = Retired()
    retired.add("main", {"records": 5, "flows": 0}, [A, B])
    retired.add("main", {"records": 2}, [A])
    retired.add("dns", {"records": 100}, [A])
    figures = retired.figures("main", {"records": 1, "flows": 9}, [A | {"records_waiting": 7}])
    # The target that is gone still counts in the exporter's sums.
    assert figures.stats == {"records": 8, "flows": 9, "messages_sent": 34, "send_failures": 5}
    (row,) = figures.targets
    assert (row["messages_sent"], row["send_failures"], row["state"]) == (30, 3, "connected")
    # What waited in a queue that was closed is lost.
    assert (row["records_waiting"], row["records_lost_queue"]) == (7, 6)


def test_ledgers_of_an_exporter_and_the_one_before_it_add_up() -> None:
    stats = {"samples_ingested": 5, "samples_cached": 0, "samples_pending": 0, "samples_exported": 3}
    stats |= {"samples_unselected": 1, "samples_selected": 4, "samples_pairs": 5}
    before = stats | {"samples_lost_memory": 2, "packets_represented": 30}
    after = stats | {"samples_excluded_bfd": 2, "packets_represented": 40}
    retired = Retired()
    retired.add("main", before, [])
    ledger = ExporterLedger.of(retired.figures("main", after, []).stats)
    assert ledger == ExporterLedger(10, {"excluded_bfd": 2, "lost_memory": 2}, 0, 0, 6, 70, 2, 8, 10)
    assert ledger.errors("main") == []
