"""Rates of `xdpfix top` out of successive snapshots."""

from typing import Any

import pytest

from sampler.console import toprates
from sampler.console.toprates import HOLD_NS, CounterRates, FlowRates

S = 10**9
T = 1000 * S  # the first snapshot


def row(
    name: str, packets: int, started: int = T - 20 * S, age: float = 20.0, exporter: str = "main"
) -> dict[str, Any]:
    return {
        "exporter": exporter,
        "flow": name,
        "started": started,
        "packets": packets,
        "octets": packets * 100,
        "age": age,
    }


def shown(model: FlowRates, time: int, *rows: dict[str, Any]) -> dict[str, float]:
    flows = model.update(time, rows)
    for flow in flows:
        assert flow.bits == pytest.approx(flow.packets * 800)
    return {flow.row["flow"]: flow.packets for flow in flows}


def test_the_first_snapshot_has_averages() -> None:
    assert shown(FlowRates(), T, row("a", 200), row("b", 3, age=0.1)) == {"a": 10.0, "b": 3.0}


def test_rates_are_what_came_since_the_snapshot_before() -> None:
    model = FlowRates()
    shown(model, T, row("a", 200))
    assert shown(model, T + 2 * S, row("a", 260), row("new", 8, started=T + S)) == {"a": 30.0, "new": 4.0}


def test_a_flow_that_paused_has_all_its_new_packets_in_this_interval() -> None:
    """It was in no snapshot while it had none."""
    model = FlowRates()
    shown(model, T, row("a", 200))
    assert shown(model, T + S) == {"a": 0.0}
    assert shown(model, T + 2 * S) == {"a": 0.0}
    assert shown(model, T + 3 * S, row("a", 205)) == {"a": 5.0}


def test_a_flow_that_ended_and_goes_on_is_one() -> None:
    """The active timeout cut it: what the second half has came since."""
    model = FlowRates()
    shown(model, T, row("a", 200))
    assert shown(model, T + S, row("a", 7, started=T + S // 2)) == {"a": 7.0}


def test_an_old_flow_that_was_never_shown_has_its_average() -> None:
    model = FlowRates()
    shown(model, T, row("a", 200))
    assert shown(model, T + S, row("b", 400))["b"] == 20.0


def test_flows_of_one_key_in_two_exporters_are_two() -> None:
    model = FlowRates()
    model.update(T, [row("a", 100), row("a", 500, exporter="dns")])
    flows = model.update(T + S, [row("a", 110), row("a", 501, exporter="dns")])
    assert [(flow.row["exporter"], flow.packets) for flow in flows] == [("main", 10.0), ("dns", 1.0)]


def test_a_pause_is_shown_for_a_while() -> None:
    model = FlowRates()
    shown(model, T, row("a", 200))
    assert shown(model, T + HOLD_NS - 1) == {"a": 0.0}
    assert shown(model, T + HOLD_NS) == {}


def test_another_process_starts_anew() -> None:
    model = FlowRates()
    shown(model, T, row("a", 200))
    model.reset()
    assert shown(model, T + S, row("a", 100, age=50.0)) == {"a": 2.0}


def test_counts_that_go_back_are_no_negative_rate() -> None:
    model = FlowRates()
    shown(model, T, row("a", 200))
    assert shown(model, T + S, row("a", 100)) == {"a": 0.0}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toprates, "REMEMBERED", 3)
    model = FlowRates()
    shown(model, T, *(row(str(number), 20) for number in range(5)))
    assert len(model._seen) == 3
    assert set(shown(model, T + S)) == {"2", "3", "4"}


def test_counters() -> None:
    model = CounterRates()
    assert model.update(T, {"a": 100, "b": 5}) == {}
    assert model.update(T + 2 * S, {"a": 110, "b": 4, "c": 9}) == {"a": 5.0}
    assert model.update(T + 2 * S, {"a": 120}) == {}  # the same moment
    model.reset()
    assert model.update(T + 3 * S, {"a": 130}) == {}
