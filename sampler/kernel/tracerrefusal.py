"""Why a foreign XDP program cannot be observed, and the way out: all clauses that are said of it, in one place.

A clause has no capital letter and no full stop: "a: …; it cannot be observed: CLAUSE".
"""

import errno
import os
from pathlib import Path

from sampler.errors import StartError
from sampler.kernel import capabilities
from sampler.kernel.foreign import ForeignProgram
from sampler.kernel.refusal import RefusedError
from sampler.kernel.xdpprograms import XdpProgram

LOCKDOWN = Path("/sys/kernel/security/lockdown")

NO_CAPABILITY = (
    "to open programs of others takes CAP_SYS_ADMIN: start xdpfix as root with this hook, or the service with the "
    "drop-in observe.conf"
)
NO_TRACING = "this kernel refuses tracing programs"
# By the value of XdpProgram.mode.
PLACES = {
    "hardware": "it runs on the card, where nothing can look at it",
    "members": "the interface's members run it, and their frames do not tell whose they are; a program on each of the "
    "members can be observed there",
}
# By errno of sampler.kernel.foreign.
FOREIGN = {
    errno.EPERM: NO_CAPABILITY,
    errno.ENODATA: "it has no type information (BTF): compile it with clang -g, and load it by libbpf or the like",
    errno.ENOEXEC: "it is not compiled to machine code here (sysctl net.core.bpf_jit_enable is 0, or a NIC runs it)",
    errno.EPROTOTYPE: "its main function does not take a struct xdp_md *, by which the kernel knows what it is given",
    errno.ENOTUNIQ: "another function in it has the name of its main function",
}
# By errno of sampler.kernel.features.
KERNEL = {
    errno.ENOENT: "this kernel has no type information (/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF)",
    errno.ESRCH: "this kernel's structures are not as xdpfix knows them: report it with the kernel's version",
}
# By errno of attaching. 524 is the kernel's own ENOTSUPP.
ATTACHING = {
    errno.E2BIG: "as many tracing programs as the kernel allows are attached to it: end one of those, restart xdpfix",
    errno.EBUSY: "a program that extends it is attached to its main function",
    524: "this kernel has no tracing programs on this kind of machine (arm64: since Linux 6.0)",
}


class TracerRefusedError(StartError):
    """The program cannot be observed here.

    Attributes:
        reason: why, and the way out where there is one: a clause.

    """

    def __init__(self, program_id: int, reason: str) -> None:
        super().__init__(f"The XDP program {program_id} cannot be observed: {reason}")
        self.reason = reason


class AttachError(Exception):
    """The kernel does not attach a program that it has loaded: an errno."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


def refusal() -> str | None:
    """Why this process can observe no XDP program at all. None: it may; the programs themselves may yet be refused."""
    # Lockdown first: with it there is nothing to gain by a capability that is much like root.
    return lockdown() or (None if capabilities.may_open_programs() else NO_CAPABILITY)


def lockdown() -> str | None:
    """Why this kernel takes no tracing programs from anybody. None: it may."""
    # They read the kernel's memory, which this mode forbids.
    return _locked("confidentiality") if _mode() == "confidentiality" else None


def of_place(program: XdpProgram) -> str | None:
    """Why no program can be observed where this one runs. None: it may."""
    return PLACES.get(program.mode)


def of_program(program: XdpProgram) -> str | None:
    """Why that program on an interface cannot be observed, as far as it can be told without trying. None: it may."""
    if (reason := of_place(program) or refusal()) is not None:
        return reason
    try:
        ForeignProgram(program.id).close()
    except OSError as error:
        return None if error.errno == errno.ENOENT else of_foreign(error)
    return None


def of_foreign(error: OSError) -> str:
    """Why a program is not to be observed that cannot be opened, or is not of the right kind."""
    return FOREIGN.get(error.errno or 0, f"the kernel does not tell of it ({error.strerror})")


def of_attaching(error: BaseException) -> str:
    """Why a program that the kernel has told of cannot be observed; empty where that is no reason but a fault."""
    if isinstance(error, RefusedError):
        return _of_loading(error)
    if isinstance(error, AttachError):
        return ATTACHING.get(error.code, f"the kernel attaches nothing to it ({os.strerror(error.code)})")
    if isinstance(error, OSError):
        return KERNEL.get(error.errno or 0, str(error))
    return ""


def _of_loading(error: RefusedError) -> str:
    forbidden, mode = error.code == errno.EPERM and not error.log, _mode()
    # Some kernels forbid them in the milder mode already.
    if mode == "confidentiality" or (forbidden and mode == "integrity"):
        return _locked(mode)
    if forbidden:
        return f"{NO_TRACING} (its lockdown, a security module or a container forbids them)"
    # The last line of the log is of figures.
    said = [line for line in error.log.splitlines() if not line.startswith("processed ")]
    return f"the kernel's verifier refuses the tracing programs ({said[-1] if said else os.strerror(error.code)})"


def _mode() -> str:
    """The kernel's lockdown; empty where it does not tell of any."""
    try:
        modes = LOCKDOWN.read_text()
    except OSError:  # a kernel without it
        return ""
    return modes.partition("[")[2].partition("]")[0]


def _locked(mode: str) -> str:
    way_out = "with lockdown=integrity" if mode == "confidentiality" else "without lockdown"
    return f"{NO_TRACING} (lockdown={mode}); boot it {way_out}"
