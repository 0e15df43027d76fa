"""The command line as its user meets it: real processes, their output and exit codes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

XDPFIX = [sys.executable, "-c", "import sys; from sampler.entry import main; sys.exit(main())"]


def xdpfix(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*XDPFIX, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize("command", ["run", "check", "show", "reload", "flush", "set", "top", "collect", "read"])
def test_help(command):
    done = xdpfix(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: xdpfix {command} ")
    assert command in xdpfix("--help").stdout


def test_version():
    assert xdpfix("--version").stdout == "xdpfix 0.1.0\n"


def test_check_right(tmp_path: Path):
    path = tmp_path / "right.toml"
    path.write_text('[sampler]\ninterfaces = ["lo"]\n[exporter]\ntargets = ["192.0.2.1"]\nsampling = 100\n')
    done = xdpfix("check", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{path}: right",
        "  interfaces (lo): lo",
        "  sampling: one packet in 100, in and out, hook auto, loader libbpf",
        "  collectors: 192.0.2.1:4739",
    ]


def test_check_of_metrics(tmp_path: Path):
    path = tmp_path / "metrics.toml"
    path.write_text('[metrics]\nlisten = "[::]"\n')
    output = xdpfix("check", str(path)).stdout
    assert "metrics: http://[::]:9477/metrics" in output
    assert 'warning: metrics.listen = "[::]:9477": whoever reaches that address reads the figures' in output
    path.write_text('[metrics]\nlisten = "127.0.0.1:1"\n')
    assert "whoever" not in xdpfix("check", str(path)).stdout


def test_check_warns(tmp_path: Path):
    path = tmp_path / "costly.toml"
    path.write_text(
        '[sampler]\ninterfaces = ["none9"]\n[exporter]\nsampling = 1\ncache_max_flows = 0\nstats_interval = 60\n'
    )
    output = xdpfix("check", str(path)).stdout
    assert 'warning: no interface matches "none9" now' in output
    assert "warning: exporter.sampling = 1: every packet" in output
    assert "warning: exporter.cache_max_flows = 0: no flow cache" in output
    assert "stats_interval" not in output


def test_check_wrong(tmp_path: Path):
    path = tmp_path / "wrong.toml"
    path.write_text("[exporter]\nsampling = 0\n")
    done = xdpfix("check", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"xdpfix: {path}: exporter.sampling = 0: must be a whole number from 1 to 4294967295\n"


def test_run_refuses_a_wrong_argument_before_anything_else():
    done = xdpfix("run", "--sampling", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("xdpfix: --sampling = 0: must be")


def test_show_without_a_running_xdpfix(tmp_path: Path):
    done = xdpfix("show", "stats", "--socket", str(tmp_path / "none.sock"))
    assert done.returncode == 1
    assert "no xdpfix answers there" in done.stderr
    assert "xdpfix run" in done.stderr
    assert "Traceback" not in done.stderr


def test_show_something_unknown():
    assert xdpfix("show", "weather").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "stats", "--filter", "tcp"), "--filter goes with `show flows` only"),
        (("show", "flows", "--ovs"), "--ovs goes with `show exporters` only"),
        (("show", "flows", "--limit", "0"), "--limit = 0: must be a whole number from 1 to 10000"),
        (("show", "flows", "--limit", "x"), '--limit = "x": must be a whole number from 1 to 10000'),
        (("set", "sampling", "0"), "sampling = 0: must be a whole number from 1 to 4294967295"),
        (("set", "sampling", "half"), 'sampling = "half": must be a whole number from 1 to 4294967295'),
    ],
)
def test_arguments_are_checked_before_anybody_is_asked(arguments: tuple[str, ...], sentence: str, tmp_path: Path):
    done = xdpfix(*arguments, "--socket", str(tmp_path / "none.sock"))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"xdpfix: {sentence}\n")


def test_top_without_a_terminal_says_what_to_use(tmp_path: Path):
    done = xdpfix("top", "--socket", str(tmp_path / "none.sock"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "xdpfix: top needs a terminal; without one use `xdpfix show flows --sort rate --limit 20`\n"


@pytest.mark.parametrize("interval", ["0", "0.1", "x", "nan", "inf", "-1"])
def test_intervals_of_top(interval: str):
    done = xdpfix("top", f"--interval={interval}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"xdpfix: --interval = {interval!r}: must be a number of seconds from 0.2 to 3600\n"


def test_a_reader_that_has_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run(
            [*XDPFIX, "check", "/dev/null"], stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.stderr == ""


def test_a_library_that_is_not_installed():
    code = "import sys; sys.modules['sampler._native'] = None; from sampler.cli import main; sys.exit(main(['run']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "install libbpf1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_without_metrics_imports_nothing_for_them():
    modules = "sampler.daemon.service, sampler.control.clients, sys"
    code = f"import {modules}; print({{'prometheus_client', 'textual'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


INTERRUPTED_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "sampler.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from sampler.entry import main
sys.exit(main())
"""


def test_ctrl_c_while_it_is_still_importing_is_quiet():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("sampler.cli", {"asyncio", "ssl", "rich", "pyroute2", "importlib.metadata", "exporter._native"}),
        ("sampler.daemon.service", {"rich", "exporter.transports.tls", "exporter.transports.file"}),
    ],
)
def test_what_takes_long_to_import_is_imported_where_it_is_needed(module: str, without: set[str]):
    """Each of these takes as long as the whole command line, or memory of the daemon that never uses it."""
    # What this environment imports of itself is left out, such as the hook of an editable install.
    code = f"import sys; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before) & {without})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


PARTS = """
import sys
from sampler import netlinkpackage
netlinkpackage.import_parts()
import sampler.daemon.service
print("pyroute2.ndb" in sys.modules, "pyroute2.conntrack" in sys.modules)
import pyroute2
from pyroute2 import netns
print(netns.__name__, hasattr(pyroute2, "NDB"))
netlinkpackage.import_parts()
print(sys.modules["pyroute2"] is pyroute2)
"""


def test_the_daemon_imports_the_part_of_pyroute2_that_it_uses():
    """What else the package has in its own name is not there, rather than half of it."""
    done = subprocess.run([sys.executable, "-c", PARTS], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\npyroute2.netns False\nTrue\n"
