"""Flow rules take the packets that Open vSwitch's flows of the same match take: live, by the kernel, frame by frame."""

import re
from pathlib import Path

import pytest

from lib.daemon import Daemon
from lib.fixtures import _root  # noqa: F401 - found by its name
from lib.flowrules import configuration, flow_exporter, rule
from lib.netns import Namespace, veth
from lib.oracle_frames import MTU
from lib.oracle_traffic import capture, name_of
from lib.ovs import BRIDGE, OpenVSwitch
from lib.sink import Sink
from lib.traffic import send
from lib.wait import wait_until

# Each takes some of the made-up frames and leaves others.
MATCHES = (
    "",
    "ip",
    "ipv6",
    "arp",
    "mpls",
    "tcp",
    "tcp6",
    "udp",
    "udp6",
    "sctp",
    "icmp",
    "icmp6",
    "dl_type=0x05ff",
    "dl_type=0x88cc",
    "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
    "dl_dst=ff:ff:ff:ff:ff:ff",
    "dl_src=02:00:5e:00:00:10/ff:ff:ff:ff:ff:f0",
    "dl_vlan=0xffff",
    "dl_vlan=0",
    "dl_vlan=100",
    "dl_vlan=100,dl_vlan_pcp=3",
    "dl_vlan_pcp=0",
    "vlan_tci=0x1000/0x1000",
    "vlan_tci=0x1004/0x1004",
    "vlan_vid=0x1004/0x1004",
    "dl_vlan=100,ip",
    "dl_vlan=100,ipv6",
    "mpls,mpls_label=16",
    "mpls,mpls_bos=0",
    "ip,nw_src=192.0.2.1",
    "ip,nw_src=192.0.2.0/255.255.255.254",
    "ip,nw_dst=224.0.0.0/4",
    "ip,nw_dst=0.0.0.2/0.0.0.255",
    "ip,nw_proto=47",
    "ip,nw_proto=0",
    "ip,nw_tos=0xb8",
    "ip,nw_ecn=3",
    "ip,nw_ttl=1",
    "ip,nw_frag=no",
    "ip,nw_frag=yes",
    "ip,nw_frag=first",
    "ip,nw_frag=later",
    "ipv6,nw_frag=not_later",
    "ipv6,ipv6_src=2001:db8::/32",
    "ipv6,ipv6_dst=::2/::ff",
    "ipv6,ipv6_label=0xfffff",
    "ipv6,ipv6_label=0x1/0x1",
    "ipv6,nw_proto=59",
    "ipv6,nw_proto=50",
    "tcp,tp_dst=443",
    "tcp,tp_dst=0x1/0x1",
    "udp,udp_src=5000",
    "udp6,tp_dst=0",
    "tcp,tcp_flags=+syn-ack",
    "tcp,tcp_flags=rst|ack",
    "tcp,tcp_flags=0x3f/0x3f",
    "icmp,icmp_type=8",
    "icmp,icmp_type=11,icmp_code=1",
    "icmp6,icmp_type=129",
    "tun_id=0",
    "sctp,tp_src=0x0/0x8000",
)
# Frames that the two parsers describe differently, for the reasons of lib.ovs_differences: fragments and extension
# headers of IPv6 that Open vSwitch does not look behind, headers that contradict themselves.
DESCRIBED_OTHERWISE = {
    "ipv6 later fragment",
    "ipv6 middle fragment",
    "ipv6 later fragment of icmp",
    "ipv6 long chain",
    "ipv6 mobility",
    "ipv6 hip",
    "ipv6 version 4",
    "ipv6 extension beyond",
    "ipv4 version 5",
    "ipv4 tcp bad offset",
}
PACKETS = re.compile(r"table=(\d+), n_packets=(\d+),.* priority=7")


class Rules(OpenVSwitch):
    """A bridge that counts the packets of each match in a table of its own."""

    def add(self, matches: tuple[str, ...]) -> None:
        """Table i + 1 has the match i; every packet visits every table."""
        tables = range(1, len(matches) + 1)
        # By default Open vSwitch hides the ports of first fragments too.
        self._ofctl("set-frags", BRIDGE, "nx-match")
        flows = [f"table=0,actions={','.join(f'resubmit(,{table})' for table in tables)}"]
        for table, match in zip(tables, matches, strict=True):
            flows.append(f"table={table},priority=7,{match}{',' * bool(match)}actions=drop")
        self._ofctl("add-flows", BRIDGE, self._write("\n".join(flows) + "\n"))

    def _write(self, text: str) -> str:
        path = self._folder / "flows"
        path.write_text(text)
        return str(path)

    def counts(self) -> dict[int, int]:
        """Packets by table, those of the datapath's cache included."""
        self._appctl("revalidator/purge")
        lines = self._ofctl("dump-flows", BRIDGE).splitlines()
        return {int(found[1]): int(found[2]) for line in lines if (found := PACKETS.search(line))}


def _frames() -> list[bytes]:
    """The made-up frames. Both leave out samples of BFD, but Open vSwitch's flows count them."""
    named = [(name_of(frame[6:12].hex(":")), frame) for frame in capture()]
    return [frame for name, frame in named if not name.startswith("bfd") and name not in DESCRIBED_OTHERWISE]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, int]:
    """Packets of each match, by its place from 1, as Open vSwitch counts them."""
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=MTU)
        with Rules(left, tmp_path_factory.mktemp("ovs"), "a") as switch:
            switch.add(MATCHES)
            switch.replay(right, "b", _frames())
            return switch.counts()


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_each_match_takes_the_same_packets(counted: dict[int, int], tmp_path: Path, hook: str) -> None:
    """61 matches are rules at 100 % of one exporter, told apart by their observation points."""
    with Namespace() as left, Namespace() as right:
        veth(left, "a", None, right, "b", None, mtu=MTU)
        rules = [rule(match, obs_point_id=place, direction="ingress") for place, match in enumerate(MATCHES, 1)]
        with Sink(left) as sink, Sink(left) as main:
            # Open vSwitch describes a tunnel's packet by its outer headers where it does not end the tunnel.
            outer = {"targets": [main.target], "sampling": 1000, "enable_tunnel_sampling": False}
            config = configuration(flow_exporter(1, sink.target, rules), main=outer, hook=hook, ring_pages=1024)
            with Daemon(left, tmp_path, config).wait_ready() as daemon:
                sent = send(right, "b", _frames())
                wait_until(lambda: daemon.show("stats")["ring"]["received"] == sent)
                pairs = daemon.show("stats")["exporters"]["collector-set-1"]["pairs"]
            wait_until(lambda: sink.total() == pairs)
            ours = {place: sink.total(observationPointId=place) for place in range(1, len(MATCHES) + 1)}
    assert counted[1] == sent
    differing = {
        MATCHES[place - 1]: (counted[place], found) for place, found in ours.items() if found != counted[place]
    }
    assert differing == {}
    # Each shows something, but for those that take all.
    assert {MATCHES[place - 1] for place, found in ours.items() if not 0 < found < sent} == {"", "tun_id=0"}
