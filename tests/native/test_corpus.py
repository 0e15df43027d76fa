"""Every capture of the corpus (tests/lib/corpus.py) through the native parser: none crashes, all is counted."""

from pathlib import Path

import pytest

from lib.corpus import captures
from lib.tunnel_frames import ports
from sampler.captures.capture import Capture, CaptureError, batches


@pytest.mark.parametrize("package", ["tcpdump", "ndpi"])
def test_every_packet_is_a_sample(package: str) -> None:
    paths = captures(package)
    if not paths:
        pytest.skip("the corpus is not there: python3 tests/lib/corpus.py fetches it")
    read = sum(one_capture(path) for path in paths)
    assert read > len(paths) // 2, "most captures have a link type that is read"


def one_capture(path: Path) -> bool:
    """Whether the capture was read; each sample holds what its packet can hold."""
    try:
        capture = Capture(str(path))
    except CaptureError as error:
        assert "is not read" in str(error), error
        return False
    samples = octets = beyond = 0
    with capture:
        capture.set_tunnels(ports())
        try:
            for batch, count in batches(capture):
                for i in range(count):
                    meta, key = batch[i].meta, batch[i].key
                    assert meta.packets == 1
                    assert meta.ip_octets <= meta.frame_octets, path
                    octets += meta.frame_octets
                    # What is behind an IP packet without Ethernet, or around an inner packet, is not in its octets.
                    beyond += key.ethernet_header_length == 0 or key.tunnel.type != 0
                samples += count
        except CaptureError as error:
            assert "is cut off behind packet" in str(error), error
        stats = capture.stats()
    assert samples == stats.packets == stats.sampled
    assert octets <= stats.octets if beyond else octets == stats.octets
    assert sum(stats.tunnel_missed.values()) <= stats.sampled
    return True
