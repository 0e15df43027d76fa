"""A virtual machine with one of Debian's kernels, under software emulation, with this host's files as its root.

    result = Machine(TREE / ".state/kernels/6.1", folder).run(["uname -r"], deadline=60)

The machine sees every file of the host at its path, the project's tree and its environment too; what it writes is
lost when it ends, but for the folder that both share. It has no network but the namespaces that tests make. It ends
with the last command, with a kernel panic, or at the deadline.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lib.initramfs import write_initramfs

TREE = Path(__file__).parents[2]
QEMU = "qemu-system-x86_64"
SHARE = "/run/machine"  # the shared folder, inside
MEMORY = "1536M"
# Both by one thread of the host's: with a thread for each, half of the time goes into their waiting for each other.
CPUS = "2"
ACCELERATOR = "tcg,thread=single"
# Few features: AVX and fast string instructions are slow to emulate.
CPU = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt"
# panic=-1: at once, and with -no-reboot it ends the machine. Mitigations cost a flush of emulated TLBs a system call.
# no_timer_check: a kernel that waits for ten ticks panics where the emulator is late with them, on a busy host.
KERNEL_OPTIONS = "console=ttyS0 loglevel=4 panic=-1 oops=panic mitigations=off no_timer_check"
# How many times longer than on real hardware a test may wait (lib.wait).
PATIENCE = "10"


@dataclass(frozen=True)
class Result:
    """How a machine ended.

    Attributes:
        code: exit code of the commands; None when the machine ended, or was ended, before them.
        output: what they wrote.
        console: what the kernel wrote.
        folder: what they left in SHARE.

    """

    code: int | None
    output: str
    console: str
    folder: Path


class Machine:
    """A machine that is started once, runs its commands and ends. A context manager; leaving it ends the process.

    Args:
        kernel: a folder made by scripts/unpack-kernel.
        folder: an empty one, which the machine sees as SHARE.
        counting: its clocks count instructions, one a ns, and not time: what is measured is the same each time. It has
            one CPU: with two, qemu 7.2 loses its way.

    """

    def __init__(self, kernel: Path, folder: Path, counting: bool = False) -> None:
        self._kernel = kernel
        self._counting = ("-icount", "shift=0,sleep=off") if counting else ()
        self._modules = next((kernel / "lib/modules").iterdir())
        self.release = self._modules.name
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, commands: Sequence[str], environment: Mapping[str, str] | None = None) -> Self:
        """Boot, and run the shell commands one after the other in the tree until one fails."""
        self._write_commands(commands, environment or {})
        initramfs = write_initramfs(self._modules, self._folder)
        shared = [("host", Path("/"), ",readonly=on,multidevs=remap"), ("share", self._folder, "")]
        command = [
            *(QEMU, "-accel", ACCELERATOR, "-cpu", CPU, "-smp", "1" if self._counting else CPUS, "-m", MEMORY),
            *self._counting,
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-serial", f"file:{self._folder}/console"),
            *("-kernel", str(self._kernel / "vmlinuz"), "-initrd", str(initramfs)),
            *("-append", f"{KERNEL_OPTIONS} modules={self._modules} share={SHARE}"),
        ]
        for tag, path, options in shared:
            command += ["-fsdev", f"local,id={tag},path={path},security_model=none{options}"]
            command += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        with (self._folder / "qemu").open("wb") as log:
            # Not even when this process is killed does the machine go on.
            command = ["setpriv", "--pdeathsig", "KILL", *command]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def wait(self, deadline: float) -> Result:
        """Wait for the end, `deadline` seconds at most."""
        assert self._process, "not started"
        try:
            self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.close()
        code = self._read("code")
        return Result(
            int(code) if code else None,
            self._read("output"),
            self._read("qemu") + self._read("console"),
            self._folder,
        )

    def run(self, commands: Sequence[str], deadline: float, environment: Mapping[str, str] | None = None) -> Result:
        """Boot, run the commands, wait for the end."""
        with self.start(commands, environment):
            return self.wait(deadline)

    def close(self) -> None:
        """End the machine, if it has not ended."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, name: str) -> str:
        path = self._folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def _write_commands(self, commands: Sequence[str], environment: Mapping[str, str]) -> None:
        variables = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "TMPDIR": "/run/tmp",
            "CI": "true",  # what is skipped inside has no other place to run
            "XDPFIX_TEST_PATIENCE": PATIENCE,
            **environment,
        }
        lines = [f"export {name}='{value}'" for name, value in variables.items()]
        lines += ["mkdir -p $TMPDIR", f"cd {TREE}"]
        lines += ["(", "set -e", *commands, f") > {SHARE}/output 2>&1 < /dev/null"]
        lines += [f"echo $? > {SHARE}/code", "echo b > /proc/sysrq-trigger"]
        (self._folder / "commands").write_text("\n".join(lines) + "\n")
