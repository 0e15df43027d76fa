"""The README's table: a dozen figures, in words for a reader who has a minute."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.results import Results
from bench.tables import goal
from bench.text import number, table


@dataclass(frozen=True)
class Headline:
    """What a figure of a part says."""

    words: str
    part: str
    figure: str


HEADLINES = (
    Headline("a packet that is not sampled (XDP, 1:1000)", "packet", "libbpf, xdp, 1:1000"),
    Headline("a packet that is sampled, parsed and handed on", "packet", "libbpf, xdp, 1:1"),
    Headline("the same, with a TCP packet inside VXLAN", "packet", "libbpf, xdp, 1:1, VXLAN inside"),
    Headline(
        "a veth's rate with every packet sampled", "live", "tc: rate with 1:1 by that of a program that only drops"
    ),
    Headline("a sample from the ring into a cache of 64 k flows", "cache", "ring → cache, 65536 flows"),
    Headline("into a cache of 1 M flows", "cache", "ring → cache, 1000000 flows"),
    Headline("the same where another core wrote the ring", "cache", "written by another core, 1000000 flows"),
    Headline("flows expired and encoded", "export", "expiry and encoding, 1000000 flows"),
    Headline("records received by a local collector", "export", "received by a local collector"),
    Headline("a capture file read, by the fastest peer's time", "read", "wall, fastest peer / xdpfix"),
    Headline("user-space CPU for a million sampled packets", "paced", "xdpfix: user-space CPU a million packets"),
    Headline("softflowd's CPU for the same", "paced", "softflowd: user-space CPU a million packets"),
    Headline("pmacctd's CPU for the same", "paced", "pmacctd: user-space CPU a million packets"),
    Headline("CPU by what IPFIX adds to Open vSwitch", "openvswitch", "xdpfix by what IPFIX adds to Open vSwitch"),
    Headline("start to first sample", "process", "start to first sample"),
    Headline("memory at 1 M IPv4 flows", "process", "memory at 1 M flows, UDP over IPv4"),
    Headline("idle CPU", "process", "idle CPU"),
)


def headline_table(parts: Sequence[Results]) -> str:
    """Those whose parts have run. ValueError where a part has no figure of the name."""
    lines = []
    for headline in HEADLINES:
        for results in parts:
            if results.part == headline.part:
                figures = {figure.name: figure for figure in results.figures}
                if headline.figure not in figures:
                    raise ValueError(f'{headline.part} has no figure "{headline.figure}" for "{headline.words}"')
                figure = figures[headline.figure]
                here = f"{number(figure.value)} {figure.unit}".rstrip()
                lines.append([headline.words, here, goal(figure) if figure.met is not None else ""])
    return table(["", "here", "goal"], lines)
