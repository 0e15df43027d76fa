"""The BPF parser, compiled natively: what `xdpfix read` and the tests run instead of the kernel."""

from typing import Any

from sampler._native import ffi, lib


def parse(
    frame: bytes,
    length: int | None = None,
    *,
    l3: bool = False,
    segments: int = 1,
    segment_size: int = 0,
    vlan_tci: int | None = None,
    ports: Any = ffi.NULL,
) -> Any:
    """Parse one frame into a new `struct sample` (bpf/sample.def.h).

    Args:
        frame: the frame's first octets, from the Ethernet header, or from the IP header if l3. No FCS.
        length: octets of the whole frame; default: frame is whole.
        l3: the frame has no Ethernet header.
        segments: wire packets that the frame, a GSO or GRO super-packet, stands for.
        segment_size: octets of layer 4 payload in each of them.
        vlan_tci: tag control information of a VLAN tag held beside the frame.
        ports: destination ports that are tunnels', a struct port_tunnels[PORT_ENTRIES]; without, none is followed.

    Returns:
        A cffi `struct sample *`; time, generation, ifindex and direction are 0.

    Raises:
        ValueError: length is shorter than frame, or segments is 0.

    """
    sample = ffi.new("struct sample *")
    whole = len(frame) if length is None else length
    info = ffi.new("struct frame_info *", (whole, segments, segment_size, vlan_tci or 0, vlan_tci is not None, l3))
    error = lib.parse_super_packet(frame, len(frame), info, ports, sample)
    if error:
        raise ValueError(f"{len(frame)} captured octets of a frame of {whole}, {segments} segments: cannot be parsed")
    return sample
