"""Forwarding databases of vxlan netdevs: messages of Linux to events, and what the events leave."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lib.recorded import decoded
from sampler.tunnels.neighbours import event_of
from sampler.tunnels.neighbourtable import UNKNOWN_MAC, Added, Deleted, Dumped, Entry, NeighbourTable, Remote

FIRST, SECOND, THIRD = (ip_address(f"192.0.2.{host}").packed for host in (7, 8, 9))
MAC = bytes.fromhex("020000000001")
GROUP_MAC = bytes.fromhex("01005e000001")
ADD = "bridge fdb add 02:00:00:00:00:01 dev vx0 dst 192.0.2.7"
CHANGED = "02:00:00:00:00:01 dev vx0 dst 192.0.2.8 port 9999 vni 77"


def test_messages() -> None:
    entry = Entry(4, (0, MAC), Remote(FIRST))
    assert event_of(decoded(ADD)) == Added(entry)
    changed = replace(entry, remote=Remote(SECOND, vni=77, port=9999))
    assert event_of(decoded(f"bridge fdb replace {CHANGED}")) == Added(changed)
    assert event_of(decoded(f"bridge fdb del {CHANGED}")) == Deleted(changed)
    event = event_of(decoded("bridge fdb add 02:00:00:00:00:02 dev vx2 dst 192.0.2.7 src_vni 100 vni 200"))
    assert event == Added(Entry(6, (100, bytes.fromhex("020000000002")), Remote(FIRST, vni=200)))
    event = event_of(decoded("bridge fdb add 02:00:00:00:00:09 dev vx4 dst 2001:db8::8"))
    assert event is not None and event.entry.remote == Remote(ip_address("2001:db8::8").packed)
    event = event_of(decoded("bridge fdb add 02:00:00:00:00:05 dev vx0 nhid 102"))
    assert event is not None and event.entry.remote == Remote(b"", group=102)


@pytest.mark.parametrize(
    "command",
    [
        "bridge fdb add 02:00:00:00:00:06 dev vx0 master static",  # of the bridge that the netdev is a member of
        "ip neigh add 192.0.2.77 lladdr 02:00:00:00:00:07 dev d0",
    ],
)
def test_other_neighbours_are_none_of_ours(command: str) -> None:
    assert event_of(decoded(command)) is None


def entry(mac: bytes, address: bytes) -> Entry:
    return Entry(4, (0, mac), Remote(address))


def test_a_host_that_moves_has_one_end() -> None:
    """The kernel tells of the new end alone."""
    table = NeighbourTable()
    assert table.apply(Added(entry(MAC, FIRST))) == (4, {(0, MAC)})
    assert table.apply(Added(entry(MAC, FIRST))) == (4, set())
    assert table.apply(Added(entry(MAC, SECOND))) == (4, {(0, MAC)})
    assert table.remote(4, (0, MAC)) == Remote(SECOND)
    assert table.apply(Deleted(entry(MAC, FIRST))) == (4, set())
    assert table.apply(Deleted(entry(MAC, SECOND))) == (4, {(0, MAC)})
    assert table.remote(4, (0, MAC)) is None


@pytest.mark.parametrize("mac", [UNKNOWN_MAC, GROUP_MAC])
def test_of_several_ends_none_is_known(mac: bytes) -> None:
    table = NeighbourTable()
    table.apply(Added(entry(mac, FIRST)))
    assert table.remote(4, (0, mac)) == Remote(FIRST)
    table.apply(Added(entry(mac, SECOND)))
    assert table.remote(4, (0, mac)) is None
    table.apply(Deleted(entry(mac, FIRST)))
    assert table.remote(4, (0, mac)) == Remote(SECOND)


def test_a_nexthop_group_is_no_known_end() -> None:
    table = NeighbourTable()
    table.apply(Added(Entry(4, (0, MAC), Remote(b"", group=102))))
    assert table.remote(4, (0, MAC)) is None
    assert not table.only(4, FIRST)


def test_whether_one_end_is_the_only_one() -> None:
    table = NeighbourTable()
    assert table.only(4, FIRST)
    table.apply(Added(entry(UNKNOWN_MAC, FIRST)))
    table.apply(Added(entry(MAC, FIRST)))
    assert table.only(4, FIRST) and not table.only(4, SECOND)
    table.apply(Added(entry(MAC, SECOND)))
    assert not table.only(4, FIRST)
    table.apply(Deleted(entry(MAC, SECOND)))
    assert table.only(4, FIRST)


def test_a_dump_is_compared_with_what_is_known() -> None:
    table = NeighbourTable()
    table.apply(Added(entry(MAC, FIRST)))
    table.apply(Added(entry(UNKNOWN_MAC, FIRST)))
    table.apply(Added(Entry(5, (0, MAC), Remote(FIRST))))
    dump = Dumped(4, (entry(MAC, FIRST), entry(GROUP_MAC, SECOND), entry(GROUP_MAC, THIRD)))
    assert table.apply(dump) == (4, {(0, UNKNOWN_MAC), (0, GROUP_MAC)})
    assert table.apply(dump) == (4, set())
    assert table.remote(4, (0, GROUP_MAC)) is None
    assert table.remote(5, (0, MAC)) == Remote(FIRST)
    table.forget(4)
    assert table.places(4) == []
