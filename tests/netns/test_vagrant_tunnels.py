"""vagrant/tunnels.sh: the tunnels between the machines left and right, made in two namespaces."""

import json
import socket
from pathlib import Path

import pytest

from lib.netns import Namespace, veth

SCRIPT = str(Path(__file__).parents[2] / "vagrant/tunnels.sh")
# Device → the kind that the kernel must know, and the addresses of right behind it.
TUNNELS = {
    "vxlan1": (("vxlan", "id", "1", "dstport", "4789"), ("203.0.113.2", "2001:db8:101::2")),
    "geneve1": (("geneve", "id", "1", "remote", "192.0.2.1"), ("203.0.113.18", "2001:db8:102::2")),
    "gre1": (("gre", "remote", "192.0.2.1"), ("203.0.113.34", "2001:db8:103::2")),
}


def known(kind: tuple[str, ...]) -> bool:
    """Whether this kernel makes links of the kind."""
    with Namespace() as namespace:
        return namespace.run("ip", "link", "add", "name", "x", "type", *kind, check=False).returncode == 0


def reaches(sender: Namespace, receiver: Namespace, address: str) -> bool:
    """Whether a datagram of one namespace arrives at an address of the other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    here, there = (end.call(lambda: socket.socket(family, socket.SOCK_DGRAM)) for end in (sender, receiver))
    with here, there:
        there.bind((address, 0))
        there.settimeout(10)
        here.sendto(b"through", there.getsockname())
        return there.recv(16) == b"through"


@pytest.fixture
def ends(left: Namespace, right: Namespace) -> tuple[Namespace, Namespace]:
    """The two machines in their private network."""
    veth(left, "eth1", "198.51.100.11/24", right, "eth1", "198.51.100.12/24")
    return left, right


def test_both_ends_reach_each_other_through_each_tunnel(ends: tuple[Namespace, Namespace]) -> None:
    makeable = {name for name, (kind, _) in TUNNELS.items() if known(kind)}
    assert "vxlan1" in makeable
    for namespace, side in zip(ends, ("left", "right"), strict=True):
        done = namespace.run(SCRIPT, side, check=False)
        # What the kernel does not know is named, hinders no other, and is not passed over in silence.
        assert {line.split()[0] for line in done.stdout.splitlines()} == makeable
        assert {name for name in TUNNELS if f"refuses {name}:" in done.stderr} == set(TUNNELS) - makeable
        assert done.returncode == (0 if makeable == set(TUNNELS) else 1)
    for name in makeable:
        for address in TUNNELS[name][1]:
            assert reaches(*ends, address)
        # By the device, and not by some other way.
        (link,) = json.loads(ends[1].run("ip", "-json", "-statistics", "link", "show", "dev", name).stdout)
        assert link["stats64"]["rx"]["packets"] >= 2


def test_ends_that_are_copies_of_one_machine_have_mac_addresses_of_their_own(ends: tuple[Namespace, Namespace]) -> None:
    for namespace, side in zip(ends, ("left", "right"), strict=True):
        namespace.run(SCRIPT, side, check=False)
    links = [json.loads(end.run("ip", "-json", "link", "show", "dev", "vxlan1").stdout)[0] for end in ends]
    assert [link["address"] for link in links] == ["02:00:00:00:00:01", "02:00:00:00:00:02"]


def test_a_second_call_changes_nothing(ends: tuple[Namespace, Namespace]) -> None:
    left = ends[0]
    first = left.run(SCRIPT, "left", check=False)
    links = left.run("ip", "-brief", "address").stdout
    second = left.run(SCRIPT, "left", check=False)
    assert "vxlan1" in links
    assert left.run("ip", "-brief", "address").stdout == links
    assert (second.returncode, second.stdout) == (first.returncode, first.stdout)


def test_a_machine_that_is_no_end_is_told_what_to_do(left: Namespace) -> None:
    done = left.run(SCRIPT, "debian12", check=False)
    assert done.returncode == 2
    assert '"debian12" is no end' in done.stderr and '"left" or "right"' in done.stderr


def test_a_missing_underlay_address_is_named(right: Namespace) -> None:
    done = right.run(SCRIPT, "right", check=False)
    assert done.returncode == 1
    assert "no interface has the address 198.51.100.12" in done.stderr
