"""Any sequence of events leaves the kernel's tunnel maps as a fresh table of the last state would."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lib.tunnelmaps import EXTERNAL, GRE, GROUP, MAC, OTHER, REMOTE, REMOTE6, VXLAN, Kernel, ipsec
from sampler.daemon.linktable import Link
from sampler.tunnels.neighbourtable import UNKNOWN_MAC, Added, Deleted, Dumped, Entry, Remote
from sampler.tunnels.ports import TunnelPorts
from sampler.tunnels.securitytable import PolicyGone, PolicySeen
from sampler.tunnels.tunnel import TunnelType
from sampler.tunnels.tunneltable import TunnelTable

# Few netdevs, addresses and places, so that they meet.
ADDRESSES = st.sampled_from([REMOTE, OTHER, REMOTE6])
TUNNELS = st.one_of(
    st.builds(
        replace,
        st.sampled_from([VXLAN, EXTERNAL]),
        remote=st.sampled_from([None, REMOTE, GROUP]),
        port=st.sampled_from([4789, 5000, 5001]),
    ),
    st.builds(replace, st.just(VXLAN), key_in=st.just(6), key_out=st.just(6)),
    st.builds(replace, st.just(GRE), remote=st.sampled_from([REMOTE, GROUP])),
    st.none(),
)
LINKS = st.dictionaries(st.integers(4, 5), TUNNELS, max_size=2).map(
    lambda found: tuple(
        Link(
            ifindex,
            f"t{ifindex}",
            {TunnelType.GRE: "gretap"}.get(tunnel.type, "vxlan") if tunnel else "",
            tunnel=tunnel,
        )
        for ifindex, tunnel in found.items()
    )
)
PLACES = st.tuples(st.sampled_from([0, 100]), st.sampled_from([UNKNOWN_MAC, MAC, bytes.fromhex("01005e000001")]))
REMOTES = st.one_of(
    st.builds(Remote, ADDRESSES.map(lambda address: address.packed), port=st.sampled_from([0, 9999])),
    st.just(Remote(b"", group=5)),
)
ENTRIES = st.builds(Entry, st.integers(4, 5), PLACES, REMOTES)
DUMPS = st.tuples(st.integers(4, 5), st.dictionaries(PLACES, REMOTES, max_size=3)).map(
    lambda dump: Dumped(dump[0], tuple(Entry(dump[0], place, remote) for place, remote in dump[1].items()))
)
NEIGHBOURS = st.one_of(st.builds(Added, ENTRIES), st.builds(Deleted, ENTRIES), DUMPS)
SECURITY = st.one_of(st.just(ipsec()), st.just(PolicyGone(1)))
CONFIGURED = st.builds(TunnelPorts, vxlan=st.sampled_from([(), (4789,), (5001, 5002)]))
EVENTS = st.lists(st.one_of(LINKS, NEIGHBOURS, SECURITY, CONFIGURED, st.just("write")), max_size=30)


class Model:
    """What there is at the end: each thing as the last event about it left it."""

    def __init__(self) -> None:
        self.links: tuple[Link, ...] = ()
        self.entries: dict[int, dict[tuple[int, bytes], set[Remote]]] = {}
        self.security: PolicySeen | None = None
        self.ports = TunnelPorts()

    def apply(self, event: Any) -> None:
        if isinstance(event, tuple):
            self.links = event
            there = {link.ifindex for link in event if link.tunnel}
            self.entries = {ifindex: found for ifindex, found in self.entries.items() if ifindex in there}
        elif isinstance(event, PolicySeen | PolicyGone):
            self.security = event if isinstance(event, PolicySeen) else None
        elif isinstance(event, TunnelPorts):
            self.ports = event
        elif isinstance(event, Dumped):
            self._change(event.ifindex, {entry.place: {entry.remote} for entry in event.entries}, anew=True)
        else:
            place, remote = event.entry.place, event.entry.remote
            remotes = self.entries.get(event.entry.ifindex, {}).get(place, set())
            if isinstance(event, Deleted):
                remotes = remotes - {remote}
            elif place[1] == MAC:
                remotes = {remote}
            else:
                remotes = remotes | {remote}
            self._change(event.entry.ifindex, {place: remotes})

    def _change(self, ifindex: int, places: dict[tuple[int, bytes], set[Remote]], anew: bool = False) -> None:
        if any(link.ifindex == ifindex and link.tunnel for link in self.links):
            self.entries[ifindex] = places if anew else self.entries.get(ifindex, {}) | places

    def fresh(self) -> TunnelTable:
        made = TunnelTable(self.ports)
        if self.security:
            made.apply_security(self.security)
        made.set_links(self.links)
        for ifindex, places in self.entries.items():
            entries = [Entry(ifindex, place, remote) for place, found in places.items() for remote in found]
            made.apply_neighbours(Dumped(ifindex, tuple(entries)))
        return made


def give(made: TunnelTable, kernel: Kernel, event: Any) -> None:
    if event == "write":
        kernel.write(made.changes())
    elif isinstance(event, tuple):
        made.set_links(event)
    elif isinstance(event, TunnelPorts):
        made.set_ports(event)
    elif isinstance(event, PolicySeen | PolicyGone):
        made.apply_security(event)
    else:
        made.apply_neighbours(event)


@given(EVENTS)
@settings(max_examples=400, deadline=None)
def test_any_way_leads_to_the_maps_of_a_fresh_table(events: list[Any]) -> None:
    made, kernel, model = TunnelTable(TunnelPorts()), Kernel(), Model()
    for event in events:
        give(made, kernel, event)
        if event != "write":
            model.apply(event)
    kernel.write(made.changes())
    fresh, expected = model.fresh(), Kernel()
    expected.write(fresh.changes())
    assert kernel.maps["tunnel_ports"] == expected.maps["tunnel_ports"]
    assert kernel.maps["tunnel_neighbours"] == expected.maps["tunnel_neighbours"]
    assert kernel.types() == expected.types()
    assert made.rows() == fresh.rows()
    assert made.counts == fresh.counts
    assert made.changes() == []
