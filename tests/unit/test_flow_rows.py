"""Rows of living flows out of real caches: which are chosen, in which order; nothing but a copy on the data thread."""

import asyncio
from typing import Any

import pytest

from exporter.snapshot import column
from lib.harness import ARP, OTHER_V4, START, TCP_V6, Harness
from lib.samples import sample
from sampler.control.flowrows import STEP, FlowRows, Wanted
from sampler.daemon.datapath import Datapath
from sampler.errors import ConfigError

from .test_service import QuietRing

START_NS = round(START * 10**9)


def select(*harnesses: Harness, **wanted: Any) -> list[dict[str, Any]]:
    sinks = {f"e{number}": harness.exporter for number, harness in enumerate(harnesses)}
    thread = Datapath(QuietRing(), sinks, lambda: None)  # type: ignore[arg-type]
    flow_rows = FlowRows(thread, {2: "eth0"}.__getitem__)

    async def run() -> list[dict[str, Any]]:
        selecting = asyncio.ensure_future(flow_rows.select(Wanted(**wanted)))
        await asyncio.sleep(0)
        thread._run_calls()  # in place of the thread, which would tick the exporters by the real clock
        return await selecting

    return asyncio.run(run())


def flow(port: int, packets: int = 1, second: float = START) -> list[dict[str, Any]]:
    return [sample(src_port=port, time=round(second * 10**9))] * packets


def ports(rows: list[dict[str, Any]]) -> list[int]:
    return [row["source_port"] for row in rows]


def test_filter_order_limit_and_time() -> None:
    with Harness() as harness, Harness() as other:
        harness.ingest(*flow(1), *flow(2, 30, START + 1), *flow(3, 20, START + 2), sample(ARP))
        other.ingest(*flow(4, 25))
        assert [row["exporter"] for row in select(harness, other)] == ["e0"] * 4 + ["e1"]
        assert ports(select(harness, other, sort="packets", limit=3)) == [2, 4, 3]
        # A flow of 30 packets in the second that one of 25 had a packet in lives as long as none: see LEAST_AGE.
        assert ports(select(harness, other, sort="rate", limit=3)) == [2, 4, 3]
        assert ports(select(harness, other, filter="tcp", sort="packets")) == [2, 4, 3, 1]
        assert ports(select(harness, other, filter="port=80 packets<25", sort="packets", limit=1)) == [3]
        assert ports(select(harness, other, since=START_NS + 10**9)) == [2, 3]
        assert ports(select(harness, other, limit=2)) == [1, 2]
        assert select(harness, filter="interface=eth0 protocol!=tcp")[0]["source"] == "00:00:5e:00:53:01"


def test_more_flows_than_one_step() -> None:
    with Harness() as harness:
        harness.ingest(*(item for port in range(3 * STEP) for item in flow(port)))
        assert sorted(ports(select(harness))) == list(range(3 * STEP))
        assert len(select(harness, limit=STEP + 1)) == STEP + 1


def test_a_flow_is_known_again_after_it_ended() -> None:
    """The active timeout cuts a flow in two, which `top` shows as one."""
    with Harness() as harness:
        harness.tick()
        harness.ingest(*flow(1))
        (before,) = select(harness)
        harness.flush()
        harness.ingest(*flow(1, second=START + 1), *flow(2))
        rows = {row["source_port"]: row for row in select(harness)}
        assert rows[1]["flow"] == before["flow"] != rows[2]["flow"]
        assert (before["started"], rows[1]["started"]) == (START_NS, START_NS + 10**9)


def test_columns_are_read_without_rows() -> None:
    with Harness() as harness:
        assert column(harness.exporter.copy_flows(10), "packets") == []
        harness.ingest(*flow(1, 3), *flow(2, 5))
        assert column(harness.exporter.copy_flows(10), "packets") == [3, 5]
        assert column(harness.exporter.copy_flows(1), "last") == [START_NS]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"limit": 0}, "limit = 0: must be a whole number from 1 to 10000"),
        ({"limit": True}, "limit = true: must be a whole number"),
        ({"filter": ["x"]}, "filter = ['x']: must be a text"),
        ({"since": "now"}, 'since = "now": must be a whole number'),
        ({"sort": "speed"}, "sort speed: flows have no column of that name"),
        ({"filter": "sped>1"}, "filter sped>1"),
    ],
)
def test_what_is_wanted_is_checked(wanted: dict[str, Any], sentence: str) -> None:
    with Harness() as harness, pytest.raises(ConfigError) as caught:
        select(harness, **wanted)
    assert sentence in str(caught.value)


def test_samples_are_counted_by_ip_version_and_protocol() -> None:
    """As Open vSwitch counts them: "ok" for TCP, UDP, SCTP and the version's own ICMP, "errs" for all else."""
    with Harness() as harness:
        v4 = [sample(ip_protocol=number) for number in (1, 6, 17, 132, 2, 58, 47, 0)]
        v6 = [sample(TCP_V6 | {"ip_protocol": number}) for number in (6, 17, 132, 58, 1, 0)]
        harness.ingest(*v4, *v6, sample(ARP), sample(OTHER_V4 | {"ethertype": 0x8847}))
        harness.tick()
        harness.flush()
        stats = harness.stats
        assert {name: count for name, count in stats.items() if name.startswith("samples_ipv")} == {
            "samples_ipv4_known": 4,
            "samples_ipv4_other": 4,
            "samples_ipv6_known": 4,
            "samples_ipv6_other": 2,
        }
        assert stats["samples_exported"] == 16
