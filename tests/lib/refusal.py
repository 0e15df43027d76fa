"""Ways to take from a program what it needs: each is a command in front of it, that changes it alone.

    run(namespace, *hidden("/usr/src"), *run_command("-i", "lo"))

Mounts are in a mount namespace of their own, filters and capabilities those of the process.
"""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from lib.netns import Namespace

PROGRAM = Path(sys.executable).with_name("xdpfix")
BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]

# Answers bpf(2), or the command of it that the first argument names, with EPERM, as lockdown, containers and seccomp
# filters do (seccomp(2), filter of struct sock_filter).
FORBID_BPF = f"""
import ctypes, os, struct, sys
command = sys.argv[1]
code = b"".join(struct.pack("HBBI", *instruction) for instruction in (
    (0x20, 0, 0, 0),  # load the system call's number
    (0x15, 0, 3, {BPF_SYSCALL}),
    (0x20, 0, 0, 16),  # load the lower half of its first argument
    (0x15, 0, 1, int(command)) if command else (0x05, 0, 0, 0),
    (0x06, 0, 0, 0x00050001),  # SECCOMP_RET_ERRNO | EPERM
    (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
))
program = ctypes.create_string_buffer(code, len(code))
filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 6, ctypes.addressof(program)))
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
assert ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter_) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""
BPF_PROG_LOAD = 5


def without_bpf() -> list[str]:
    """The system call bpf is forbidden, though the caller is root."""
    return [sys.executable, "-c", FORBID_BPF, ""]


def forbidding_programs() -> list[str]:
    """No BPF program can be loaded, though all else of bpf is allowed."""
    return [sys.executable, "-c", FORBID_BPF, f"{BPF_PROG_LOAD}"]


def without_capabilities() -> list[str]:
    """Root's user id and nothing of root's power."""
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def mounting(*commands: str) -> list[str]:
    """These shell commands, mounts for example, run before the program and are seen by it alone."""
    return ["unshare", "--mount", "sh", "-ec", "\n".join([*commands, 'exec "$@"']), "sh"]


def hidden(*folders: str) -> list[str]:
    """These folders are empty."""
    return mounting(*(f"mount -t tmpfs none {folder}" for folder in folders if Path(folder).exists()))


def replaced(path: Path, other: Path) -> list[str]:
    """A file has the other's octets, and its own times: an editable install does not build it anew."""
    shutil.copystat(path, other)
    return mounting(f"mount --bind '{other}' '{path}'")


def run(namespace: Namespace, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run to its end, which an error makes come soon."""
    return namespace.run(*command, check=False, **options)
