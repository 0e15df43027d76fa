"""Open vSwitch with the kernel's datapath: tunnel ports are netdevs in collect-metadata mode that all tunnels share."""

from collections.abc import Mapping
from pathlib import Path

from lib.netns import Namespace
from lib.ovs import BRIDGE, OpenVSwitch
from lib.wait import wait_until

# The netdev of each kind of port.
NETDEVS = {"vxlan": "vxlan_sys_4789", "gre": "gre_sys", "geneve": "genev_sys_6081"}


class KernelSwitch(OpenVSwitch):
    """A bridge between one link and a tunnel port of each kind.

    A packet from the link to UDP port N leaves by the tunnel `tunnels` names for N; what comes by a tunnel goes out of
    the link.

    Args:
        namespace: where it runs.
        folder: for database, sockets, logs.
        port: the link.
        tunnels: kind and options of the tunnel, by UDP port.

    """

    def __init__(
        self, namespace: Namespace, folder: Path, port: str, tunnels: Mapping[int, tuple[str, Mapping[str, object]]]
    ) -> None:
        super().__init__(namespace, folder, port)
        self._link = port
        self._tunnels = tunnels

    def _build(self) -> None:
        self._vsctl(
            "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "fail_mode=secure", "--", "add-port", BRIDGE, self._link
        )
        for number, (kind, options) in self._tunnels.items():
            settings = [f"options:{name}={value}" for name, value in options.items()]
            self._vsctl("add-port", BRIDGE, kind, "--", "set", "interface", kind, f"type={kind}", *settings)
            self._ofctl("add-flow", BRIDGE, f"in_port={self._link},udp,udp_dst={number},actions={kind}")
            self._ofctl("add-flow", BRIDGE, f"in_port={kind},actions={self._link}")
            netdev = NETDEVS[kind]
            wait_until(lambda netdev=netdev: self._has(netdev), what=netdev)

    def _has(self, name: str) -> bool:
        return self._namespace.run("ip", "link", "show", "dev", name, check=False).returncode == 0
