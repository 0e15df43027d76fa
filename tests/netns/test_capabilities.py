"""After start: only the capabilities that are needed, in every set, in threads too, and still able to attach."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sampler.kernel.capabilities import KEEP_ENVIRONMENT, NEEDED

SCRIPT = """
import json, os, subprocess, sys, threading
sys.path.insert(0, "tests")
from lib.netns import Namespace, veth
from lib.programs import CountingPrograms
from sampler.kernel import capabilities
from sampler.kernel.attach import Attacher, Place

def sets():
    lines = open("/proc/thread-self/status").read().splitlines()
    return dict(line.split(":\\t") for line in lines if line.startswith(("Cap", "NoNewPrivs")))

with Namespace() as here:
    veth(here, "xf0", None, here, "xf1", None)
    programs = CountingPrograms()
    seen = {}
    index = here.ifindex("xf0")
    with here.enter():
        capabilities.keep_needed()
        seen["main"] = sets()
        thread = threading.Thread(target=lambda: seen.update(thread=sets()))
        thread.start()
        thread.join()
        for hook in ("tc", "xdp", "xdp-generic"):
            for tcx in (True, False):
                Attacher(programs, tcx=tcx).attach(index, "xf0", "ingress", Place(hook)).close()
        seen["missing"] = capabilities.missing()
        print(json.dumps(seen))
        sys.stdout.flush()
        os._exit(0)  # back into the host's namespace would need CAP_SYS_ADMIN
"""


def test_only_the_needed_ones_stay():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    needed = f"{sum(1 << bit for bit, _ in NEEDED.values()):016x}"
    expected = {
        "CapInh": needed,
        "CapPrm": needed,
        "CapEff": needed,
        "CapBnd": needed,
        "CapAmb": f"{0:016x}",
        "NoNewPrivs": "1",
    }
    assert seen == {"main": expected, "thread": expected, "missing": []}


KEEP = """
from sampler.kernel import capabilities
from sampler.kernel.tracerrefusal import refusal
before = capabilities.may_open_programs()
capabilities.keep_needed({observing})
after = capabilities.may_open_programs()
print(before, after, "CAP_SYS_ADMIN" in (refusal() or ""))
"""


@pytest.mark.parametrize(
    ("given", "environment", "observing", "expected"),
    [
        ("root", {}, True, "True True False"),
        ("root", {}, False, "True False True"),
        # As the unit's drop-in for perf events gives it.
        ("ambient", {}, True, "False False True"),
        ("ambient", {KEEP_ENVIRONMENT: "1"}, True, "True True False"),
        ("ambient", {KEEP_ENVIRONMENT: "1"}, False, "True True False"),
        # As the unit is by itself.
        ("none", {}, True, "False False True"),
        ("none", {KEEP_ENVIRONMENT: "1"}, True, "False False True"),
    ],
)
def test_who_keeps_the_capability_to_open_programs(given, environment, observing, expected):
    """Decided before a program is attached as after: what is observed at the start can be followed later."""
    capabilities = "-all,+net_admin,+perfmon,+bpf" + ",+sys_admin" * (given == "ambient")
    before = ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]
    before += [f"--ambient-caps={capabilities}"]
    done = subprocess.run(
        [*(before if given != "root" else []), sys.executable, "-c", KEEP.format(observing=observing)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == expected, done.stderr


def test_run_without_privileges_says_what_it_needs():
    # Root without capabilities, and not another user: to that one the tree need not be readable.
    bare = ["setpriv", "--securebits=+noroot,+noroot_locked", "--bounding-set=-all", "--inh-caps=-all"]
    program = Path(sys.executable).with_name("xdpfix")
    done = subprocess.run([*bare, program, "run", "-i", "lo"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "needs root, or CAP_NET_ADMIN" in done.stderr
    assert "sudo xdpfix run" in done.stderr
    assert "Traceback" not in done.stderr
