"""Frames like those that Open vSwitch 2.5.0 was fed, through the kernel's programs: its records, byte for byte."""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from exporter._native import ffi as exporter_ffi
from lib.golden import NOW, RECORD_MESSAGES, assert_same, message_of, values_of
from sampler._native import ffi
from sampler.captures.parser import parse

# The tunnel vectors carry ports that no encapsulation has; tests/unit feeds them as samples.
FRAMES = {label: octets for label, octets in RECORD_MESSAGES if not label.startswith("tun_")}


def frame_of(values: dict[str, Any]) -> bytes:
    """Build the frame that a golden record describes."""
    frame = Ether(src=values["sourceMacAddress"], dst=values["destinationMacAddress"])
    if "vlanId" in values:
        frame /= Dot1Q(vlan=values["vlanId"], prio=values["dot1qPriority"])
    if "ipVersion" not in values:
        return bytes(frame / ARP())
    if values["ipVersion"] == 4:
        source, destination = values["sourceIPv4Address"], values["destinationIPv4Address"]
        frame /= IP(src=source, dst=destination, ttl=values["ipTTL"], tos=values["ipClassOfService"])
    else:
        source, destination = values["sourceIPv6Address"], values["destinationIPv6Address"]
        label, tos = values["flowLabelIPv6"], values["ipClassOfService"]
        frame /= IPv6(src=source, dst=destination, hlim=values["ipTTL"], tc=tos, fl=label)
    if values["protocolIdentifier"] == 1:
        frame /= ICMP(type=values["icmpTypeIPv4"], code=values["icmpCodeIPv4"])
    else:
        transport = {6: TCP, 17: UDP}[values["protocolIdentifier"]]
        frame /= transport(sport=values["sourceTransportPort"], dport=values["destinationTransportPort"])
    return bytes(frame / bytes(values["layer2OctetDeltaCount"] - len(frame)))


def as_seen(sample: Any) -> Any:
    """The sample with the interface and the clock of the golden ones, for the exporter's side."""
    copy = exporter_ffi.new("struct sample *")
    exporter_ffi.memmove(copy, bytes(ffi.buffer(ffi.addressof(sample))), exporter_ffi.sizeof(copy[0]))
    copy.meta.time = NOW
    copy.key.ifindex = 1
    return copy


@pytest.mark.parametrize("program", ["sample_tc_ingress", "sample_xdp"])
@pytest.mark.parametrize("label", FRAMES)
def test_kernel(kernel: Any, program: str, label: str) -> None:
    frame = frame_of(values_of(FRAMES[label]))
    assert_same(message_of(as_seen(kernel.sample(program, frame))), FRAMES[label])


@pytest.mark.parametrize("label", FRAMES)
def test_native(label: str) -> None:
    sample = parse(frame_of(values_of(FRAMES[label])))[0]
    sample.meta.main = 1  # the parser selects nothing
    assert_same(message_of(as_seen(sample)), FRAMES[label])
