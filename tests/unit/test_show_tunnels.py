"""What `xdpfix show tunnels` prints for people."""

import io

from lib.tunnelmaps import EXTERNAL, GRE
from sampler.console.show import print_result, tunnels
from sampler.daemon.linktable import Link
from sampler.tunnels.ports import TunnelPorts
from sampler.tunnels.tunneltable import TunnelTable


def shown(*links: Link, ports: TunnelPorts | None = None) -> list[str]:
    """The lines that are not empty, each with single spaces."""
    table = TunnelTable(ports or TunnelPorts())
    table.set_links(links)
    rows = [row | {"sampled": row["ifindex"] == 5} for row in table.rows()]
    out = io.StringIO()
    print_result(tunnels({"netdevs": rows, "ports": table.ports}), out, as_json=False)
    return [" ".join(line.split()) for line in out.getvalue().splitlines() if line.strip()]


def test_netdevs_and_ports() -> None:
    assert shown(Link(5, "g0", "gretap", tunnel=GRE), Link(6, "vx0", "vxlan", tunnel=EXTERNAL)) == [
        "tunnel netdevs",
        "ifindex name kind type key_length key local remote port neighbours sampled",
        "5 g0 gretap gre 4 7 in, 8 out 192.0.2.1 192.0.2.9 - 0 yes",
        "6 vx0 vxlan vxlan 3 external 192.0.2.1 - 4799 0 no",
        "ports taken for tunnels",
        "vxlan 4789, 4799, 8472",
        "geneve 6081",
        "lisp 4341",
        "stt 7471",
    ]


def test_none() -> None:
    lines = shown(ports=TunnelPorts(geneve=()))
    assert "tunnel netdevs none" in lines
    assert "geneve none" in lines
