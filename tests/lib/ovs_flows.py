"""Flows of Open vSwitch's kernel datapath by generic netlink: actions that the ovs-dpctl at hand does not know yet.

Numbers are those of include/uapi/linux/openvswitch.h (Linux 6.11).
"""

import socket
import struct

from lib.psample import attr

NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
REQUEST, ACK, CREATE = 1, 4, 0x400
OVS_FLOW_CMD_NEW = 1
FLOW_KEY, FLOW_ACTIONS, FLOW_MASK = 1, 2, 7
KEY_IN_PORT, KEY_ETHERNET, KEY_ETHERTYPE, KEY_IPV4 = 3, 4, 6, 7
ACTION_SAMPLE, ACTION_PSAMPLE = 6, 25
NESTED = 0x8000  # NLA_F_NESTED, without which the kernel refuses this one


def psample(group: int, cookie: bytes) -> bytes:
    """The action psample(group=…,cookie=…)."""
    return attr(ACTION_PSAMPLE | NESTED, attr(1, struct.pack("=I", group)) + attr(2, cookie))


def sample(probability: int, actions: bytes) -> bytes:
    """The action sample(sample=…,actions(…)): with this probability of 2**32 - 1."""
    return attr(ACTION_SAMPLE, attr(1, struct.pack("=I", probability)) + attr(2, actions))


def _ask(kind: int, command: int, payload: bytes, flags: int = ACK) -> bytes:
    """Send a request in this thread's namespace, give the first answer's payload. OSError by the kernel's code."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as sock:
        sock.bind((0, 0))
        octets = struct.pack("=BBH", command, 1, 0) + payload
        sock.send(struct.pack("=IHHII", 16 + len(octets), kind, REQUEST | flags, 1, 0) + octets)
        answer = sock.recv(65536)
    _, answered = struct.unpack_from("=IH", answer)
    if answered == 2:  # NLMSG_ERROR, also the one that says 0
        (code,) = struct.unpack_from("=i", answer, 16)
        if code:
            raise OSError(-code, f"the kernel refuses the flow: {-code}")
    return answer[20:]


def _family(name: str) -> int:
    answer = _ask(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, attr(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0"), 0)
    while answer:
        length, number = struct.unpack_from("=HH", answer)
        if number == CTRL_ATTR_FAMILY_ID:
            return struct.unpack_from("=H", answer, 4)[0]
        answer = answer[-(-length // 4) * 4 :]
    raise AssertionError(f"no family {name}")


def add_flow(datapath: int, port: int, actions: bytes) -> None:
    """Let all IPv4 packets of a port have these actions. `datapath`: its ifindex. In this thread's namespace."""

    def match(number: bytes, addresses: bytes, ethertype: bytes) -> bytes:
        parts = (KEY_IN_PORT, number), (KEY_ETHERNET, addresses), (KEY_ETHERTYPE, ethertype), (KEY_IPV4, bytes(12))
        return b"".join(attr(key, value) for key, value in parts)

    payload = struct.pack("=i", datapath)
    payload += attr(FLOW_KEY, match(struct.pack("=I", port), bytes(12), b"\x08\0"))
    payload += attr(FLOW_MASK, match(b"\xff" * 4, bytes(12), b"\xff\xff"))
    payload += attr(FLOW_ACTIONS, actions)
    _ask(_family("ovs_flow"), OVS_FLOW_CMD_NEW, payload, ACK | CREATE)
