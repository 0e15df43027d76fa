"""Open vSwitch's kernel datapath: its tunnel netdevs, which many tunnels share, tell each packet's own."""

from pathlib import Path

from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.observed import EGRESS, INGRESS, tunnel
from lib.ovs_kernel import NETDEVS, KernelSwitch
from lib.sink import Sink
from lib.traffic import send, udp_frame
from lib.wait import wait_until

MODULES = ("openvswitch", "geneve", "ip_gre", "vxlan")
CONFIG = """
[sampler]
interfaces = [{interfaces}]
[exporter]
targets = ["{target}"]
sampling = 1
"""
HERE, THERE = "192.0.2.1", "192.0.2.2"
OUT, IN = 5, 3  # frames
BACK = 1000  # added to the UDP port of what comes back
# Kind, key, tunnelType, octets of the key, protocol, port; the peer's netdev. By the inner UDP port.
TUNNELS = {
    1001: ("vxlan", 0x0ABCDE, 1, 3, 17, 4789, ("vxlan", "id", str(0x0ABCDE), "dstport", "4789")),
    1002: ("gre", 0xFFFFFFFF, 2, 4, 47, 0, ("gretap", "key", str(0xFFFFFFFF))),
    1003: ("geneve", 7, 7, 3, 17, 6081, ("geneve", "id", "7", "dstport", "6081")),
}


def test_tunnel_ports(tmp_path: Path) -> None:
    tunnels = {
        number: (kind, {"remote_ip": THERE, "local_ip": HERE, "key": key})
        for number, (kind, key, *_) in TUNNELS.items()
    }
    with (
        Namespace() as here,
        Namespace() as there,
        Namespace() as guest,
        Sink(here) as sink,
    ):
        # What the kernel itself would send on Open vSwitch's netdevs has no tunnel, and is none of the test's packets.
        here.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        veth(here, "a", f"{HERE}/24", there, "b", f"{THERE}/24")
        veth(here, "g0", None, guest, "eth0", None)
        for number, (kind, *_, words) in TUNNELS.items():
            local = () if kind == "geneve" else ("local", THERE)
            there.run("ip", "link", "add", "name", f"t{number}", "type", *words, "remote", HERE, *local)
            there.run("ip", "link", "set", "dev", f"t{number}", "addrgenmode", "none", "up")
        names = ", ".join(f'"{name}"' for name in NETDEVS.values())
        with (
            KernelSwitch(here, tmp_path, "g0", tunnels),
            Daemon(here, tmp_path, CONFIG.format(interfaces=names, target=sink.target)).wait_ready() as daemon,
        ):
            ifindex = {kind: here.ifindex(name) for kind, name in NETDEVS.items()}
            shown = {row["name"]: row for row in daemon.show("tunnels")["netdevs"] if row["name"] in NETDEVS.values()}
            assert shown.keys() == set(NETDEVS.values())
            assert all(row["external"] and row["sampled"] for row in shown.values())
            for number in TUNNELS:
                send(guest, "eth0", [udp_frame(dport=number)] * OUT)
                send(there, f"t{number}", [udp_frame(dport=number + BACK)] * IN)
            due = len(TUNNELS) * (OUT + IN)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) >= due)
            assert daemon.show("stats")["samples"]["tunnel_remote"] == 0
            assert daemon.stop() == 0
        wait_until(lambda: len(sink.records) >= 2 * len(TUNNELS))
        for number, (kind, key, of_type, length, protocol, port, _) in TUNNELS.items():
            for direction, count in ((EGRESS, OUT), (INGRESS, IN)):
                found = [
                    record
                    for record in sink.records
                    if record.get("destinationTransportPort") == number + BACK * (direction == INGRESS)
                ]
                assert len(found) == 1, found
                (record,) = found
                assert record.get("flowDirection") == direction
                assert record.get(("ingress", "egress")[direction] + "Interface") == ifindex[kind]
                assert record.get("packetDeltaCount") == count
                assert tunnel(record) == {
                    "type": of_type,
                    "key": (key, length),
                    "source": HERE if direction == EGRESS else THERE,
                    "destination": THERE if direction == EGRESS else HERE,
                    "protocol": protocol,
                    "ports": (0, port),
                }
