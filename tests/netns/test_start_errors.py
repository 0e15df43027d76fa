"""Each way in which `xdpfix run` cannot start: one sentence on stderr with the way out, exit code 1, no traceback."""

import importlib.resources
import os
import subprocess
from pathlib import Path

import pytest

from lib.daemon import Daemon
from lib.netns import Namespace
from lib.programs import XDP_PASS, program
from lib.refusal import PROGRAM, hidden, replaced, run, without_bpf, without_capabilities
from lib.sink import Sink
from lib.tc import here
from lib.wait import wait_until
from sampler._native import lib

OBJECT = Path(str(importlib.resources.files("sampler").joinpath("sampler.bpf.o")))


@pytest.fixture
def start(namespace: Namespace, tmp_path: Path):
    """Run xdpfix with a [sampler] table, behind a command, to the error; give its sentence."""

    def refused(sampler: str = "", before: list[str] | None = None, lines: int = 1, **environment: str) -> str:
        path = tmp_path / "xdpfix.toml"
        head = "" if "interfaces" in sampler else 'interfaces = ["lo"]\n'
        path.write_text(f'[sampler]\n{head}control_socket = "{tmp_path}/control.sock"\n{sampler}')
        command = [*(before or []), str(PROGRAM), "run", "--config", str(path), "--target", "127.0.0.1"]
        done = run(namespace, *command, env=os.environ | environment)
        assert done.returncode == 1, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("xdpfix: ")
        assert done.stderr.endswith("\n")
        assert "Traceback" not in done.stderr
        if lines:
            assert done.stderr.count("\n") == lines, done.stderr
        return done.stderr.removeprefix("xdpfix: ").rstrip()

    return refused


def test_no_capabilities(start):
    assert start(before=without_capabilities()) == (
        "xdpfix run needs root, or CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF: it runs as user 0; use sudo xdpfix run"
    )


def test_no_such_interface(start):
    assert start('interfaces = ["none0"]') == "no such interface: none0; there are lo"


def test_bpf_forbidden_though_root(start):
    message = start(before=without_bpf())
    assert message.startswith("BPF map cpus cannot be made: not permitted, though root: ")
    assert "lockdown" in message
    assert "container" in message
    assert "run xdpfix" in message


def test_root_of_a_container_only(start):
    """All capabilities, but in a user namespace: bpf(2) asks for those of the first one."""
    message = start(before=["unshare", "--user", "--map-root-user"])
    assert message.startswith("BPF map cpus cannot be made: not permitted, though root: ")
    assert "container" in message


def test_ring_beyond_what_may_be_locked(start):
    message = start("ring_pages = 16384", ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"])
    assert message == (
        "cannot open a perf ring of 16384 pages on every CPU: Operation not permitted: more than may be locked, or a "
        "container forbids it; lower sampler.ring_pages, raise the sysctl kernel.perf_event_mlock_kb, or grant "
        "CAP_IPC_LOCK"
    )


def test_no_bcc_module(start, tmp_path):
    (tmp_path / "bcc.py").write_text("raise ModuleNotFoundError(\"No module named 'bcc'\")\n")
    message = start('loader = "bcc"', PYTHONPATH=str(tmp_path))
    assert message.startswith("The Python module bcc is missing: install Debian's python3-bpfcc")
    assert 'loader = "libbpf"' in message


def test_another_bcc_module(start, tmp_path):
    (tmp_path / "bcc.py").write_text("lattice = 'body-centred cubic'\n")
    message = start('loader = "bcc"', PYTHONPATH=str(tmp_path))
    assert message.startswith("The Python module bcc is not the BPF compiler: uninstall PyPI's bcc")


def test_no_kernel_headers(start):
    message = start('loader = "bcc"', hidden("/usr/src", "/lib/modules"), BCC_KERNEL_SOURCE="")
    assert message.startswith(f"No kernel headers for bcc ({os.uname().release} has none): install linux-headers-")
    assert message.endswith('or use loader = "libbpf"')


def test_wrong_kernel_headers(start, tmp_path):
    message = start('loader = "bcc"', BCC_KERNEL_SOURCE=str(tmp_path / "none"))
    assert message == (
        f'BCC_KERNEL_SOURCE = {tmp_path}/none: no kernel headers are there; unset it, or use loader = "libbpf"'
    )


def test_useless_kernel_headers(start, tmp_path):
    (tmp_path / "include").mkdir()
    message = start('loader = "bcc"', lines=0, BCC_KERNEL_SOURCE=str(tmp_path))
    first, *compiler = message.splitlines()
    assert first.startswith("bcc cannot compile ")
    assert 'install the headers of this kernel, or use loader = "libbpf"' in first
    assert any("not found" in line for line in compiler)


def broken_object(folder: Path) -> Path:
    """The shipped object, but sample_xdp reads far behind its context."""
    section, target = folder / "section", folder / "broken.o"
    subprocess.run(["llvm-objcopy", "--dump-section", f"xdp={section}", OBJECT, target], check=True)
    code = bytearray(section.read_bytes())
    code[:8] = bytes([0x79, 0x10, 0xF0, 0x7F, 0, 0, 0, 0])  # r0 = *(u64 *)(r1 + 32752)
    section.write_bytes(code)
    subprocess.run(["llvm-objcopy", "--update-section", f"xdp={section}", OBJECT, target], check=True)
    return target


def test_verifier_refuses(start, tmp_path):
    message = start(before=replaced(OBJECT, broken_object(tmp_path)), lines=0)
    first, *log = message.splitlines()
    assert first.startswith("The kernel's verifier refuses the BPF program sampler.bpf.o (Permission denied)")
    assert "lockdown" not in message
    assert any("invalid bpf_context access" in line for line in log)
    assert len(log) <= 12


@pytest.mark.parametrize("octets", [b"", b"\x7fELF", b"no object at all"])
def test_object_is_damaged(start, tmp_path, octets):
    damaged = tmp_path / "damaged.o"
    damaged.write_bytes(octets)
    message = start(before=replaced(OBJECT, damaged))
    assert message == "sampler.bpf.o cannot be read by libbpf: install xdpfix anew"


def test_object_without_btf(start, tmp_path):
    stripped = tmp_path / "stripped.o"
    remove = ["llvm-objcopy", "--remove-section=.BTF", "--remove-section=.BTF.ext", OBJECT, stripped]
    subprocess.run(remove, check=True)
    message = start(before=replaced(OBJECT, stripped))
    assert message == "sampler.bpf.o cannot be read by libbpf: install xdpfix anew"


def test_another_xdpfix_is_running(start, namespace, tmp_path):
    with Daemon(namespace, tmp_path, '[sampler]\ninterfaces = ["lo"]\n').wait_ready():
        message = start()
    assert message == (
        f"{tmp_path}/control.sock: another xdpfix is running; stop it, or set sampler.control_socket to another path"
    )


def test_control_socket_cannot_be_made(start, tmp_path):
    (tmp_path / "control.sock").mkdir()
    message = start()
    assert message.startswith(f"{tmp_path}/control.sock: cannot make the control socket: ")
    assert message.endswith("set sampler.control_socket to a path that can be written")


@pytest.mark.parametrize("kind", ["lo", "bridge"])
def test_native_xdp_that_the_driver_has_not(start, namespace, kind):
    name = kind
    if kind == "bridge":
        name = "br0"
        namespace.run("ip", "link", "add", name, "type", kind)
    message = start(f'interfaces = ["{name}"]\nhook = "xdp"')
    assert message.startswith(f"{name}: cannot attach to native XDP: its driver has none")
    assert message.endswith('use hook = "tc", or "xdp-generic"')


def test_another_xdp_program(start, namespace):
    other = program("xdp", XDP_PASS)
    with namespace.enter():
        link = lib.link_create(other, namespace.ifindex("lo"), lib.LINK_XDP_GENERIC)
    assert link >= 0
    message = start('hook = "xdp-generic"')
    assert message == (
        'lo: cannot attach to XDP: another XDP program is attached; use hook = "tc", or detach it '
        "(`ip link set dev lo xdp off`)"
    )
    os.close(link)
    os.close(other)


def test_kernel_without_its_btf_serves(namespace, tmp_path):
    """The programs follow no kernel structure, so nothing is relocated by the kernel's BTF."""
    config = '[sampler]\ninterfaces = ["lo"]\n[exporter]\ntargets = ["127.0.0.1"]\n'
    with Daemon(namespace, tmp_path, config, before=hidden("/sys/kernel/btf")).wait_ready() as daemon:
        assert [row["hooks"] for row in daemon.show("interfaces")] == [here(["ingress tcx", "egress tcx"])]


def test_collector_name_that_is_not_known_yet(namespace, tmp_path):
    """It is told, the service runs, tries again, and exports once the name is known."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    with Sink(namespace) as sink:
        config = f'[sampler]\ninterfaces = ["lo"]\n[exporter]\ntargets = ["collector.example:{sink.port}"]\n'
        before = replaced(Path("/etc/hosts"), hosts)
        with Daemon(namespace, tmp_path, config, before=before).wait_ready() as daemon:
            daemon.wait_log("collector.example")
            assert "Traceback" not in daemon.text()
            hosts.write_text("127.0.0.1 localhost collector.example\n")
            # Tried every ten seconds.
            wait_until(lambda: sink.messages, 25)
