"""Where packets come in and where they leave, in a router: both loaders, tc and XDP, beside what it does with them."""

import socket
from fractions import Fraction

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from lib.netns import Namespace, veth
from lib.traffic import send
from lib.tunnel_frames import vxlan
from sampler._native import ffi, lib
from sampler.kernel.attach import Attacher, Place
from sampler.kernel.gates import Gates
from sampler.kernel.ring import Ring
from sampler.kernel.selection import KernelRule, Selection

ROUTER, STATION = "02:00:00:00:01:01", "02:00:00:00:01:02"
ETHER = Ether(src=STATION, dst=ROUTER)
PORT = socket.htons(2)


def udp4(destination, ttl=64):
    return IP(src="192.0.2.2", dst=destination, ttl=ttl) / UDP(sport=1, dport=socket.ntohs(PORT)) / b"x"


def udp6(destination, ttl=64):
    return IPv6(src="2001:db8:1::2", dst=destination, hlim=ttl) / UDP(sport=1, dport=socket.ntohs(PORT)) / b"x"


FORWARDED = {
    "ipv4": ETHER / udp4("198.51.100.2"),
    "ipv4 without neighbour": ETHER / udp4("198.51.100.3"),
    "ipv6": ETHER / udp6("2001:db8:2::2"),
    "ipv6 without neighbour": ETHER / udp6("2001:db8:2::3"),
    # The tunnel's way is its outer packet's: the inner one is addressed to the router.
    "vxlan": ETHER
    / IP(src="192.0.2.2", dst="198.51.100.2")
    / UDP(sport=1, dport=4789)
    / bytes(vxlan(Ether() / udp4("192.0.2.1"))),
}
NOT_FORWARDED = {
    "to the router": ETHER / udp4("192.0.2.1"),
    "to the router, ipv6": ETHER / udp6("2001:db8:1::1"),
    "no route": ETHER / udp4("203.0.113.9"),
    "no route, ipv6": ETHER / udp6("2001:db8:9::9"),
    "unreachable": ETHER / udp4("198.51.100.129"),
    "last hop": ETHER / udp4("198.51.100.2", ttl=1),
    "last hop, ipv6": ETHER / udp6("2001:db8:2::2", ttl=1),
    "arp": ETHER / ARP(psrc="192.0.2.2", pdst="192.0.2.1"),
}


class Router:
    """A namespace that forwards from in0 to out0, and the samples of what passes it."""

    def __init__(self, maps, programs, hook):
        self.station, self.router, self.far = Namespace(), Namespace(), Namespace()
        self.gates, self.ring = Gates(maps), Ring(maps, 8)
        self.batch = self.ring.new_batch()
        veth(self.station, "s0", None, self.router, "in0", "192.0.2.1/24")
        veth(self.router, "out0", "198.51.100.1/24", self.far, "f0", None)
        self.run("ip link set in0 address", ROUTER)
        for name, address in (("in0", "2001:db8:1::1/64"), ("out0", "2001:db8:2::1/64")):
            self.run("ip address add", address, "dev", name, "nodad")
        self.run("ip neigh add 198.51.100.2 lladdr 02:00:00:00:02:02 nud permanent dev out0")
        self.run("ip neigh add 2001:db8:2::2 lladdr 02:00:00:00:02:02 nud permanent dev out0")
        self.run("ip route add unreachable 198.51.100.128/25")
        self.forward(True)
        self.indexes = self.router.ifindex("in0"), self.router.ifindex("out0")
        self.gates.open(self.indexes[0], lib.DIRECTION_INGRESS)
        self.gates.open(self.indexes[1], lib.DIRECTION_EGRESS)
        attacher = Attacher(programs)
        self.attachments = []
        for name, way in (("in0", "ingress"), ("out0", "egress")):
            index = self.router.ifindex(name)
            self.attachments.append(
                self.router.call(lambda i=index, n=name, w=way: attacher.attach(i, n, w, Place(hook), "veth"))
            )

    def run(self, command, *words):
        return self.router.run(*command.split(), *words)

    def sample(self, routes):
        self.gates.set_selection(1, Selection(KernelRule(None, Fraction(1)), routes=routes))

    def forward(self, enabled):
        for name in ("net.ipv4.conf.in0.forwarding", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.in0.forwarding"):
            self.run("sysctl -qw", f"{name}={int(enabled)}")

    def samples(self):
        found = []
        while count := self.ring.read(self.batch) or self.ring.peek(self.batch):
            array = ffi.from_buffer("struct sample[]", self.batch)
            found += [ffi.new("struct sample *", array[i]) for i in range(count)]
        return found

    def passed(self, frame):
        """What the packet's samples at in0 and out0 say of its way: (ingress, egress), None where it did not pass."""
        self.samples()
        send(self.station, "s0", [bytes(frame)])
        # The router asks for neighbours of its own, too.
        found = [s for s in self.samples() if s.key.direction == 0 or s.key.dst_port == PORT]
        ways = {s.key.ifindex: (s.meta.ingress_ifindex, s.meta.egress_ifindex) for s in found}
        return tuple(ways.get(index) for index in self.indexes)

    def close(self):
        for attachment in self.attachments:
            self.router.call(attachment.close)
        for index, direction in zip(self.indexes, (0, 1), strict=True):
            self.gates.close(index, direction)
        self.ring.close()
        for namespace in (self.station, self.router, self.far):
            namespace.close()


@pytest.fixture(params=["tc", "xdp"])
def router(loaded, request):
    made = Router(*loaded, request.param)
    made.hook = request.param
    made.sample(routes=True)
    yield made
    made.close()


def test_forwarded(router):
    came, left = router.indexes
    for name, frame in FORWARDED.items():
        ingress, egress = router.passed(frame)
        assert ingress == (came, left), name
        # Without neighbour it waits for one, which does not answer.
        assert egress == (None if "without" in name else (came, left)), name


def test_not_forwarded(router):
    for name, frame in NOT_FORWARDED.items():
        assert router.passed(frame) == ((router.indexes[0], 0), None), name


def test_forwarding_switched_off(router):
    router.forward(False)
    for frame in FORWARDED.values():
        assert router.passed(frame) == ((router.indexes[0], 0), None)


def test_not_asked_for(router):
    router.sample(routes=False)
    came, left = router.indexes
    assert router.passed(FORWARDED["ipv4"]) == ((came, 0), (came, left))


def test_to_another_station(router):
    """An skb tells that it is not for this host; XDP does not, and answers what routing would do."""
    frame = bytes.fromhex("020000000199") + bytes(FORWARDED["ipv4"])[6:]
    came, left = router.indexes
    assert router.passed(frame) == ((came, 0 if router.hook == "tc" else left), None)


def test_tagged(router):
    """The VLAN's netdev may be routed like the interface below it: it is asked for that."""
    frame = Ether(src=STATION, dst=ROUTER) / Dot1Q(vlan=5) / udp4("198.51.100.2")
    assert router.passed(frame)[0] == router.indexes


def test_sent_by_the_host(router):
    router.samples()
    with router.router.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", ("198.51.100.2", socket.ntohs(PORT)))
    (sample,) = [found for found in router.samples() if found.key.dst_port == PORT]
    assert (sample.meta.ingress_ifindex, sample.meta.egress_ifindex) == (0, router.indexes[1])
