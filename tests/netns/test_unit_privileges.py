"""The service under the privileges of its systemd unit, without systemd: what the unit takes away is not missed.

setpriv gives it the unit's capabilities and no others, prctl the ban on writable and executable memory. The user
stays root, to whom the tree belongs, but root without capabilities. Runs in a network namespace of its own.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.wait import PATIENCE
from sampler.control import client

TREE = Path(__file__).parents[2]
UNIT = (TREE / "systemd/xdpfix.service").read_text()
# At this level, which only kernels of distributions have, the unit needs its drop-in.
PARANOID = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) >= 3
DROP_IN = (TREE / "systemd/perf-event-paranoid.conf").read_text() if PARANOID else ""
DEADLINE = 30.0 * PATIENCE  # seconds: far above what a start takes, also on a busy machine

# Refuses memory that gains execute permission, as MemoryDenyWriteExecute= does; kept across exec (prctl(2), Linux 6.3).
LAUNCHER = """
import ctypes, errno, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    assert ctypes.get_errno() == errno.EINVAL  # an older kernel
os.execv(sys.argv[1], sys.argv[1:])
"""

SCRAPE = 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:9477/metrics", timeout=20).read().decode())'


def unit_capabilities(drop_ins: str = DROP_IN) -> str:
    words = " ".join(re.findall(r"^CapabilityBoundingSet=(.*)$", UNIT + drop_ins, re.MULTILINE))
    return "-all," + ",".join(f"+{word.removeprefix('CAP_').lower()}" for word in words.split())


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(0.2)
        yield receiver


@pytest.fixture
def drop_ins() -> str:
    """What is put beside the unit: a test may say otherwise."""
    return DROP_IN


@pytest.fixture
def service(tmp_path: Path, notifications: socket.socket, drop_ins: str) -> Iterator[subprocess.Popen[str]]:
    configuration = tmp_path / "xdpfix.toml"
    configuration.write_text(
        f'[sampler]\ninterfaces = ["lo"]\ncontrol_socket = "{tmp_path}/control.sock"\n'
        '[exporter]\ntargets = ["127.0.0.1:4739"]\nsampling = 1\n[metrics]\nlisten = "127.0.0.1:9477"\n'
    )
    program = shutil.which("xdpfix", path=Path(sys.executable).parent)
    assert program is not None
    capabilities = unit_capabilities(drop_ins)
    # A vxlan netdev: its forwarding database is followed by a socket with a filter.
    links = "ip link set lo up && ip link add vx0 type vxlan id 7 dstport 4789 remote 192.0.2.2"
    command = ["unshare", "--net", "sh", "-c", f'{links} && exec "$@"', "sh"]
    command += ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    command += [f"--ambient-caps={capabilities}", "--no-new-privs"]
    command += [sys.executable, "-c", LAUNCHER, program, "run", "--config", str(configuration)]
    environment = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
    environment.pop("WATCHDOG_PID", None)
    environment |= dict(re.findall(r"^Environment=(\w+)=(.*)$", drop_ins, re.MULTILINE))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as it:
        yield it
        if it.poll() is None:
            it.kill()


def wait_for(line: str, notifications: socket.socket, service: subprocess.Popen[str]) -> None:
    """Read notifications until one has the line, the service has ended or the deadline is over."""
    end = time.monotonic() + DEADLINE
    while service.poll() is None and time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            if line in notifications.recv(4096).decode().splitlines():
                return
    service.kill()
    pytest.fail(f"no {line} within {DEADLINE} s; the service said:\n{service.communicate()[0]}")


def test_service_starts_feeds_the_watchdog_and_stops(
    notifications: socket.socket, service: subprocess.Popen[str], tmp_path: Path
) -> None:
    wait_for("READY=1", notifications, service)
    (effective,) = re.findall(r"^CapEff:\s*(\w+)$", Path(f"/proc/{service.pid}/status").read_text(), re.MULTILINE)
    assert int(effective, 16) & ~(1 << 12 | 1 << 38 | 1 << 39) == 0  # NET_ADMIN, PERFMON, BPF
    assert client.ask(tmp_path / "control.sock", "tunnels")["netdevs"][-1]["neighbours"] == 1
    scrape = ["nsenter", "--net", "--target", str(service.pid), sys.executable, "-c", SCRAPE]
    assert "xdpfix_samples_total" in subprocess.run(scrape, capture_output=True, text=True, check=True).stdout
    wait_for("WATCHDOG=1", notifications, service)
    service.send_signal(signal.SIGTERM)
    output = service.communicate(timeout=DEADLINE)[0]
    assert service.returncode == 0, output
    assert "Traceback" not in output


@pytest.mark.parametrize("drop_ins", [DROP_IN + (TREE / "systemd/observe.conf").read_text()], ids=["observe"])
def test_service_keeps_what_it_observes_with(
    notifications: socket.socket, service: subprocess.Popen[str], drop_ins: str
) -> None:
    wait_for("READY=1", notifications, service)
    (effective,) = re.findall(r"^CapEff:\s*(\w+)$", Path(f"/proc/{service.pid}/status").read_text(), re.MULTILINE)
    assert int(effective, 16) == 1 << 12 | 1 << 21 | 1 << 38 | 1 << 39  # NET_ADMIN, SYS_ADMIN, PERFMON, BPF
    service.send_signal(signal.SIGTERM)
    output = service.communicate(timeout=DEADLINE)[0]
    assert service.returncode == 0, output


def test_service_reloads(notifications: socket.socket, service: subprocess.Popen[str]) -> None:
    wait_for("READY=1", notifications, service)
    service.send_signal(signal.SIGHUP)
    wait_for("READY=1", notifications, service)  # ready again, sd_notify(3)


IPSEC = """
import asyncio
from sampler.tunnels.security import Security

async def follow():
    security = Security(lambda event: print(event), lambda: print("told"))
    security.follow(True)
    await security.settled()
    await security.close()

asyncio.run(follow())
"""


@pytest.mark.parametrize("granted", [True, False])
def test_ipsec_is_followed_with_what_the_unit_grants(granted: bool) -> None:
    """Without CAP_NET_ADMIN one sentence says what is missing."""
    capabilities = unit_capabilities() if granted else "-all"
    command = ["unshare", "--net", "setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    command += [*([f"--ambient-caps={capabilities}"] if granted else []), "--no-new-privs"]
    done = subprocess.run(
        [*command, sys.executable, "-c", IPSEC], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == (["Replaced(policies=(), states=())", "told"] if granted else [])
    refused = "IPsec policies and states cannot be followed: [Errno 1] Operation not permitted; "
    assert done.stderr.splitlines() == ([] if granted else [refused + "GRE under IPsec is exported as plain GRE"])


SECURE = """
import sys
from pathlib import Path
from exporter.options import TlsOptions
from exporter.transports import dtls, tls
from lib.certificates import Authority

options = Authority(Path(sys.argv[1])).options()
tls.client_context(options)
session = dtls.SSL.Connection(dtls.client_context(options), None)
session.set_connect_state()
session.set_ciphertext_mtu(1472)
try:
    session.do_handshake()
except dtls.SSL.WantReadError:
    print("hello of", len(session.bio_read(65535)), "octets")
"""


def test_tls_and_dtls_do_without_memory_that_is_written_and_executed(tmp_path: Path) -> None:
    """MemoryDenyWriteExecute=: no callbacks that are made at run time."""
    command = [sys.executable, "-c", LAUNCHER, sys.executable, "-c", SECURE, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(TREE / "tests")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hello of")
