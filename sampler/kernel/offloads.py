"""What an interface's driver does with packets that makes XDP's counts inexact: warnings, as sentences.

Read by the ethtool ioctl, which every driver answers without a round of netlink.
"""

import ctypes
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946
# include/uapi/linux/ethtool.h
ETHTOOL_GFLAGS = 0x25
ETHTOOL_GGRO = 0x2B
ETH_FLAG_RXVLAN = 1 << 8

IFNAMSIZ = 16


def warnings(name: str, kind: str | None, generic: bool, ours: bool = True) -> list[str]:
    """Say what sampling this interface by XDP costs or hides. `kind` is netlink's IFLA_INFO_KIND.

    `ours`: our program is attached; else somebody else's is observed, and only what that hides is said.
    """
    sentences = []
    if ours and not generic and kind == "veth":
        sentences.append(
            f"{name}: native XDP on a veth turns off its peer's TSO and limits its MTU while attached; "
            'hook = "tc" does neither'
        )
    if kind == "veth":
        sentences.append(
            f"{name}: a veth's peer hands VLAN tags over beside the frame, where XDP does not see them; turn it off "
            'there (`ethtool -K PEER txvlan off`) or use hook = "tc"'
        )
    elif (_ethtool(name, ETHTOOL_GFLAGS) or 0) & ETH_FLAG_RXVLAN:
        sentences.append(
            f"{name}: the driver strips VLAN tags before XDP, so flows show none; "
            f'turn it off (`ethtool -K {name} rxvlan off`) or use hook = "tc"'
        )
    if generic and _ethtool(name, ETHTOOL_GGRO):
        # GRO itself stands aside where generic XDP is attached (netif_elide_gro); the card and links below do not.
        sentences.append(
            f"{name}: with GRO on, generic XDP sees packets that the card or a link below has merged without their "
            f'number, so packet counts are too low; turn it off (`ethtool -K {name} gro off`) or use hook = "tc"'
        )
    if generic and (kind is not None or name == "lo"):
        sentences.append(
            f"{name}: generic XDP counts a {kind or 'loopback'}'s super-packets (TSO, GSO) as one packet each; "
            'turn TSO and GSO off where they are sent, or use hook = "tc"'
        )
    return sentences


def _ethtool(name: str, command: int) -> int | None:
    """Give the value of one ethtool_value command; None where the interface does not answer it."""
    value = ctypes.create_string_buffer(struct.pack("II", command, 0), 8)
    request = struct.pack(f"{IFNAMSIZ}sP16x", name.encode()[: IFNAMSIZ - 1], ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            fcntl.ioctl(sock, SIOCETHTOOL, request)
        except OSError:
            return None
    return int(struct.unpack("II", value.raw)[1])
