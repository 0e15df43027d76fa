"""E-066: messages keep below the path MTU, also when it shrinks while a session lives (RFC 7011 10.3.3)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace takes root")
@pytest.mark.parametrize(("host", "headers"), [("127.0.0.1", 28), ("::1", 48)])
def test_e066_messages_follow_the_path_mtu(host: str, headers: int):
    script = Path(__file__).with_name("mtu_probe.py")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, str(script), host], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for step in json.loads(done.stdout):
        limit = min(1400, step["mtu"] - headers)
        assert limit - 200 < step["longest"] <= limit
        assert step["records"] == 500
