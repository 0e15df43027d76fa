"""Open vSwitch as a tunnel endpoint: an underlay bridge takes tunnels' packets apart, their inner ones are br-int's.

Both bridges sample: `UNDERLAY` describes each packet as it came in at the port, `BRIDGE` the inner packet and the
tunnel that brought it.
"""

from pathlib import Path

from lib.netns import Namespace
from lib.ovs import OpenVSwitch
from lib.tunnel_frames import GENEVE_PORT, OTV_PORT, VXLAN_PORT
from lib.wait import wait_until

UNDERLAY, BRIDGE = "br-phy", "br-int"
MAC = "02:00:00:00:00:01"  # whom a packet's outer headers must be for
ADDRESSES = ("192.0.2.2/32", "2001:db8:ff::2/128")
# A port that takes packets with and without Ethernet (ptap) tells them apart by the tunnel's payload type.
PORTS = {
    "vxlan": ("type=vxlan", f"options:dst_port={VXLAN_PORT}"),
    "gpe": ("type=vxlan", f"options:dst_port={OTV_PORT}", "options:exts=gpe", "options:packet_type=ptap"),
    "geneve": ("type=geneve", f"options:dst_port={GENEVE_PORT}"),
    "gre": ("type=gre", "options:packet_type=legacy_l2"),
    "gre-l3": ("type=gre", "options:packet_type=legacy_l3"),
}


class TunnelSwitch(OpenVSwitch):
    """An endpoint of VXLAN, VXLAN-GPE, Geneve and GRE, with any key and any remote end, over IPv4 and IPv6.

    A context manager, as OpenVSwitch is.
    """

    def __init__(self, namespace: Namespace, folder: Path, port: str) -> None:
        super().__init__(namespace, folder, port)
        self._link = port

    def _build(self) -> None:
        self._add_bridge(UNDERLAY, f'other_config:hwaddr="{MAC}"', "--", "add-port", UNDERLAY, self._link)
        self._add_bridge(BRIDGE)
        for name, settings in PORTS.items():
            options = ("options:key=flow", "options:remote_ip=flow", *settings)
            self._vsctl("add-port", BRIDGE, name, "--", "set", "interface", name, *options)
        for address in ADDRESSES:
            # Alone in its subnet, and no default route: the kernel answers nobody.
            self._namespace.run(
                "ip", "address", "add", address, "dev", UNDERLAY, *(["nodad"] if ":" in address else [])
            )
        self._namespace.run("ip", "link", "set", "dev", UNDERLAY, "addrgenmode", "none", "multicast", "off", "up")
        # What goes to the bridge's own port and is a tunnel's is taken apart. Not by itself where it is tagged.
        port = f"in_port={self._link}"
        self._ofctl("add-flow", UNDERLAY, f"{port},actions=LOCAL")
        self._ofctl("add-flow", UNDERLAY, f"priority=65000,{port},vlan_tci=0x1000/0x1000,actions=strip_vlan,LOCAL")
        self._await_addresses()

    def _await_addresses(self) -> None:
        """Wait until tunnels end at both addresses: it follows the kernel's by netlink."""

        def listening() -> bool:
            shown = self._appctl("tnl/ports/show", "-v")
            return all(address.partition("/")[0] in shown for address in ADDRESSES)

        wait_until(listening, 20, "tunnels end at the bridge's addresses")
