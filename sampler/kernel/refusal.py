"""What the kernel means by refusing BPF: sentences for sampler.kernel.maps and both loaders."""

import errno
import os

from sampler.errors import StartError

LOG_LINES = 12  # of the verifier: its last lines name the instruction and the reason


def refusal(error: int) -> str:
    """Why the kernel refuses BPF, and the way out, for an errno."""
    if error in (errno.EPERM, errno.EACCES):
        if os.geteuid():
            return "not permitted: run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
        return (
            "not permitted, though root: the kernel's lockdown (/sys/kernel/security/lockdown), a container or a "
            "seccomp filter forbids it; run xdpfix on the host itself, and on a kernel that allows BPF"
        )
    return os.strerror(error)


class RefusedError(StartError):
    """The kernel does not take a program.

    Attributes:
        code: the errno.
        log: the verifier's, whole; empty where it was not asked.

    """

    def __init__(self, message: str, code: int, log: str) -> None:
        super().__init__(message)
        self.code, self.log = code, log


def refused(program: str, error: int, log: str) -> RefusedError:
    """The error of a program that the kernel does not take, with the tail of the verifier's log."""
    log = log.rstrip("\0\n ")
    if not log:
        return RefusedError(f"The kernel refuses the BPF program {program}: {refusal(error)}", error, log)
    tail = "\n".join(log.splitlines()[-LOG_LINES:])
    return RefusedError(
        f"The kernel's verifier refuses the BPF program {program} ({os.strerror(error)}): use another kernel or "
        f"loader, and report it with the end of the verifier's log:\n{tail}",
        error,
        log,
    )
