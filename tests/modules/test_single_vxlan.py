"""EVPN's single vxlan device: a bridge maps VLANs to VNIs, and the database says where each address of a VNI is."""

from pathlib import Path

from lib.daemon import Daemon
from lib.netns import Namespace, veth
from lib.sink import Sink
from lib.traffic import LEFT_MAC, send, udp_frame
from lib.tunnelmaps import Kernel
from lib.wait import wait_until

MODULES = ("vxlan", "bridge", "8021q")
CONFIG = """
[sampler]
interfaces = ["vx0"]
[exporter]
targets = ["{target}"]
sampling = 1
"""
HERE, THERE = "192.0.2.1", "192.0.2.2"


def test_one_device_for_many_vnis(tmp_path: Path) -> None:
    """The remote of what leaves is in the database alone; what comes tells its own."""
    with Namespace() as here, Namespace() as there, Namespace() as guest:
        veth(here, "xf0", f"{HERE}/24", there, "xf1", f"{THERE}/24")
        for namespace, words in ((here, ("external", "nolearning")), (there, ("id", "100", "remote", HERE))):
            local = HERE if namespace is here else THERE
            namespace.run("ip", "link", "add", "vx0", "type", "vxlan", "dstport", "4789", "local", local, *words)
            namespace.run("ip", "link", "set", "dev", "vx0", "addrgenmode", "none", "up")
        here.run("ip", "link", "add", "br0", "type", "bridge", "vlan_filtering", "1", "mcast_snooping", "0")
        here.run("ip", "link", "set", "dev", "br0", "addrgenmode", "none", "up")
        veth(here, "guest", None, guest, "eth0", None)
        for name in ("guest", "vx0"):
            here.run("ip", "link", "set", "dev", name, "master", "br0")
        here.run("ip", "link", "set", "dev", "vx0", "type", "bridge_slave", "vlan_tunnel", "on")
        here.run("bridge", "vlan", "add", "dev", "vx0", "vid", "10")
        here.run("bridge", "vlan", "add", "dev", "vx0", "vid", "10", "tunnel_info", "id", "100")
        here.run("bridge", "vlan", "add", "dev", "guest", "vid", "10", "pvid", "untagged")
        here.run("bridge", "fdb", "add", LEFT_MAC, "dev", "vx0", "dst", THERE, "src_vni", "100")
        place = (here.ifindex("vx0"), 100, bytes.fromhex(LEFT_MAC.replace(":", "")))
        with Sink(here) as sink, Daemon(here, tmp_path, CONFIG.format(target=sink.target)).wait_ready() as daemon:
            assert place in Kernel(daemon.process.pid).neighbours()
            send(guest, "eth0", [udp_frame(dport=1001)] * 3)
            send(there, "vx0", [udp_frame(dport=1002)] * 2)
            wait_until(lambda: sum(daemon.show("stats")["packets_observed"].values()) >= 5)
            daemon.stop()
            wait_until(lambda: len(sink.records) >= 2)
        found = {
            record.get("destinationTransportPort"): (
                *(record.get(name) for name in ("flowDirection", "packetDeltaCount", "tunnelType", "tunnelKey")),
                *(str(record.get(f"tunnel{end}IPv4Address")) for end in ("Source", "Destination")),
            )
            for record in sink.records
        }
        assert found[1001] == (1, 3, 1, (100).to_bytes(3, "big"), HERE, THERE)
        assert found[1002] == (0, 2, 1, (100).to_bytes(3, "big"), THERE, HERE)
