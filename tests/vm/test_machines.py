"""Tests that run in virtual machines with Debian's kernels, by the scripts that prepare and test a Vagrant machine.

Which tests is a choice, because emulation makes a start of xdpfix take some four seconds, and one that compiles with
bcc twenty. Chosen is what the kernel's release or its modules decide:

- the verifier and the parser in the kernel, under both loaders: 6.1 refuses what later ones accept;
- attaching by clsact, where there is no tcx (before 6.6): the host has both;
- the path from the wire to the record, the law of sampling, the ledger, links that come and go, VLAN tags beside the
  frame, a life cycle with kills and a reload: with what the kernel does there, not with every parameter;
- the privileges of the systemd unit: Debian's kernels ask for more (kernel.perf_event_paranoid = 3), both the same;
- all of tests/datapaths on 6.12, for tracing programs are refused where the kernel is locked down; on 6.1 one test with
  every way to attach;
- all of tests/modules, which has no other place to run, and the tunnels of vagrant/, of which the host has one kind.

Super-packets, messages of errors, limits of memory and all of user space are the same everywhere and stay outside.
"""

import importlib
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lib import afxdp, foreign
from lib.bpfobject import compiled
from lib.machine import SHARE, TREE, Machine, Result

# Seconds for all runs of a machine: several times what they take.
DEADLINE = 1500


@dataclass(frozen=True)
class Run:
    """One call of vagrant/run-tests.sh in a machine.

    Attributes:
        kernel: series of the kernel, a folder of .state/kernels.
        name: what it shows.
        machine: which of the machines with this kernel it runs in.
        tests: arguments for pytest.
        loader: for every xdpfix that names none.

    """

    kernel: str
    name: str
    tests: tuple[str, ...]
    loader: str = "libbpf"
    machine: int = 1

    @property
    def command(self) -> str:
        """For the shell inside. What it prints and its exit code go into files of the shared folder."""
        file = f"{SHARE}/{self.name}"
        call = shlex.join(["vagrant/run-tests.sh", "-p", "no:cacheprovider", f"--junitxml={file}.xml", *self.tests])
        return f"XDPFIX_TEST_LOADER={self.loader} {call} > {file}.output 2>&1 && : > {file}.passed || :"


NETNS = "tests/netns/test_"
EVERYWHERE = (f"{NETNS}vagrant_tunnels.py", f"{NETNS}run.py::test_every_packet_is_counted[tcx]")
WITHOUT_TCX = (
    f"{NETNS}attach.py",
    f"{NETNS}unit_privileges.py",
    f"{NETNS}run.py::test_every_packet_is_counted[xdp]",
    f"{NETNS}sampling.py::test_estimates[10-tc]",
    f"{NETNS}run.py::test_every_packet_is_counted[xdp-generic]",
    f"{NETNS}links.py",
    f"{NETNS}interfaces.py::test_appear_rename_go_move",
    f"{NETNS}sampling.py::test_estimates[10-xdp]",
    f"{NETNS}ledger.py",
    f"{NETNS}vlan.py::test_same_flow_as_in_the_frame[tc-on-two]",
    f"{NETNS}vlan.py::test_at_egress",
    f"{NETNS}lifecycle.py::test_stop_and_kill",
    f"{NETNS}lifecycle.py::test_changed_hook_goes_on_counting",
    f"{NETNS}capabilities.py",
)
# Programs of both kinds: XDP at ingress, tc at egress. Compiling takes the most of it.
WITH_BCC = (f"{NETNS}run.py::test_every_packet_is_counted[xdp-bcc]",)
# A machine that has just started may drop the first packet of an IPsec state: tests/modules/test_ipsec.py comes last.
MODULES = tuple(sorted((f"tests/modules/{path.name}" for path in TREE.glob("tests/modules/test_*.py")), reverse=True))
# In the first machine with 6.1, which has a core to itself; the second begins when that with 6.12 has ended.
OBSERVING = tuple(name for name in MODULES if "observe" in name)
RUNS = (
    # Without what the host shows as well, and compiles or counts at for minutes here.
    Run(
        "6.1",
        "programs",
        (
            "tests/bpf",
            "--deselect=tests/bpf/test_verifier.py::test_programs_have_no_loop",
            "--deselect=tests/bpf/test_verifier.py::test_the_arm64_object_here",
            "--deselect=tests/bpf/test_gate.py::test_p16_law_of_gaps",
            "--deselect=tests/bpf/test_thinning.py",
        ),
    ),
    Run("6.1", "links", EVERYWHERE + WITHOUT_TCX),
    Run("6.1", "links-bcc", WITH_BCC, "bcc"),
    Run("6.1", "datapaths", ("tests/datapaths/test_dispatcher.py", "tests/datapaths/test_afxdp.py", *OBSERVING)),
    Run("6.12", "programs", ("tests/bpf/test_verifier.py", "tests/bpf/test_parser.py", "-k", "libbpf")),
    Run("6.12", "links", EVERYWHERE),
    Run("6.12", "datapaths", ("tests/datapaths",)),
    # bcc compiles for a quarter of a minute; the stricter verifier is that of 6.1.
    Run("6.12", "modules", ("tests/modules", "--deselect=tests/modules/test_observe_programs.py::test_verdicts[bcc]")),
    Run("6.1", "modules", tuple(name for name in MODULES if name not in OBSERVING), machine=2),
)


class Guests:
    """The machines that tests ask for. Two run at a time, for each keeps a core busy; the next starts when one ends."""

    def __init__(self, runs: list[Run], folder: Path) -> None:
        self._pool = ThreadPoolExecutor(2)
        self._machines: list[Machine] = []
        self._results: dict[tuple[str, int], Future[Result]] = {}
        for kernel, number in dict.fromkeys((run.kernel, run.machine) for run in runs):
            shared = folder / f"{kernel}-{number}"
            shared.mkdir()
            mine = [run.command for run in runs if (run.kernel, run.machine) == (kernel, number)]
            machine = Machine(TREE / ".state/kernels" / kernel, shared)
            self._machines.append(machine)
            self._results[kernel, number] = self._pool.submit(self._run, machine, ["vagrant/provision.sh", *mine])

    @staticmethod
    def _run(machine: Machine, commands: list[str]) -> Result:
        return machine.start(commands).wait(DEADLINE)

    def result(self, run: Run) -> Result:
        """How the machine of this run ended; waits for it."""
        return self._results[run.kernel, run.machine].result()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for machine in self._machines:
            machine.close()


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guests]:
    # Whoever imports them compiles them if a source changed: here, and not twenty times slower inside.
    importlib.import_module("sampler._native")
    importlib.import_module("exporter._native")
    compiled(foreign.SOURCE)
    afxdp.build()
    runs = [
        item.callspec.params["run"] for item in request.session.items if "guests" in getattr(item, "fixturenames", ())
    ]
    started = Guests(runs, tmp_path_factory.mktemp("machines"))
    yield started
    started.close()


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.kernel}-{run.name}")
def test_in_a_machine(run: Run, guests: Guests, record_property: Callable[[str, object], None]) -> None:
    result = guests.result(run)
    report = result.folder / f"{run.name}.xml"
    output = result.folder / f"{run.name}.output"
    if not report.exists():
        said = output.read_text() if output.exists() else result.output
        pytest.fail(f"Linux {run.kernel} ended without a report of this run:\n{said}\n{result.console}", pytrace=False)
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    count = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    record_property("inside", f"Linux {run.kernel}, {run.name}: {count['tests']} tests in {suite.get('time')} s")
    passed = (result.folder / f"{run.name}.passed").exists()
    if not passed or not count["tests"] or count["failures"] + count["errors"] + count["skipped"]:
        pytest.fail(f"Linux {run.kernel}: {count}\n{output.read_text()}", pytrace=False)
