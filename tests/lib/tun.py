"""Tun and tap devices of a test: what is written to the descriptor arrives on the link, in pieces if wished."""

import fcntl
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from lib.netns import Namespace

DEVICE = Path("/dev/net/tun")
# <linux/if_tun.h>
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP = 0x0001, 0x0002
IFF_NAPI, IFF_NAPI_FRAGS, IFF_NO_PI, IFF_VNET_HDR = 0x0010, 0x0020, 0x1000, 0x4000
# <linux/virtio_net.h>
VNET_NEEDS_CSUM, VNET_GSO_TCPV4, VNET_GSO_TCPV6 = 1, 1, 4


class Tun:
    """A tun or tap device inside a namespace, up. A context manager; leaving it removes the device.

    Args:
        namespace: where it is.
        name: of the link.
        flags: IFF_TUN or IFF_TAP, and what else is wished.

    """

    def __init__(self, namespace: Namespace, name: str, flags: int) -> None:
        if not DEVICE.exists():
            pytest.skip(f"{DEVICE} is missing: the kernel has no tun driver here")

        def make() -> int:
            fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags | IFF_NO_PI))
            return fd

        self.fd = namespace.call(make)
        namespace.run("ip", "link", "set", "dev", name, "addrgenmode", "none")
        self.ifindex = namespace.up(name)

    def write(self, *pieces: bytes) -> None:
        """Let a packet arrive; with IFF_NAPI_FRAGS each piece but the first is a fragment of the skb."""
        os.writev(self.fd, pieces)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def vnet_header(
    gso_size: int = 0, header_octets: int = 0, ip_octets: int = 20, gso_type: int = VNET_GSO_TCPV4, layer2: int = 14
) -> bytes:
    """What a guest puts in front of a frame (struct virtio_net_hdr): TCP super-packets have a segment size.

    Without a segment size only `header_octets` counts: how much of the frame is to lie in the linear part.
    """
    if not gso_size:
        return struct.pack("=BBHHHH", 0, 0, header_octets, 0, 0, 0)
    return struct.pack("=BBHHHH", VNET_NEEDS_CSUM, gso_type, header_octets, gso_size, layer2 + ip_octets, 16)


def pieces(frame: bytes, first: int, rest: int) -> Sequence[bytes]:
    """The frame in pieces of `rest` octets behind the `first` ones."""
    return [frame[:first], *(frame[start : start + rest] for start in range(first, len(frame), rest))]
