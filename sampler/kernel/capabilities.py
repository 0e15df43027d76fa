"""The capabilities that xdpfix needs, and how it lets go of all others once it runs.

Capabilities belong to threads and are inherited by threads started later: call
keep_needed() on the main thread, after loading and opening the rings and before the
data thread starts.
"""

import os
from pathlib import Path

from sampler._native import lib
from sampler.errors import StartError

# Number (include/uapi/linux/capability.h) and reason of each that stays.
NEEDED = {
    "CAP_NET_ADMIN": (12, "attach to interfaces that appear later, and detach; follow IPsec policies and states"),
    "CAP_IPC_LOCK": (14, "rings of CPUs that appear later, above perf_event_mlock_kb"),
    "CAP_PERFMON": (38, "open and enable the perf events of the rings, and load programs that read packets by pointer"),
    "CAP_BPF": (39, "create links, read and write maps"),
}


# To open another's program by its id. Kept where foreign XDP programs are to be observed, and it was given for that.
CAP_SYS_ADMIN = 21
# Set by the unit's drop-in that gives CAP_SYS_ADMIN to stay (systemd/observe.conf). Another one, for perf events, gives
# it for the start only.
KEEP_ENVIRONMENT = "XDPFIX_KEEP_SYS_ADMIN"


def missing() -> list[str]:
    """Give the names of needed capabilities that this thread lacks. CAP_IPC_LOCK can be done without."""
    have = _set("CapEff")
    # CAP_SYS_ADMIN covers CAP_BPF and CAP_PERFMON (capabilities(7)).
    if have >> CAP_SYS_ADMIN & 1:
        have |= 1 << 38 | 1 << 39
    return [name for name, (bit, _) in NEEDED.items() if name != "CAP_IPC_LOCK" and not have >> bit & 1]


def may_open_programs() -> bool:
    """Whether this thread may open other programs by their ids: it has CAP_SYS_ADMIN, and not for the start only.

    What a unit gives is in the ambient set, and is given up unless its drop-in says that it is to stay. Root has it of
    itself.
    """
    for_start_only = _set("CapAmb") >> CAP_SYS_ADMIN & 1 and not os.environ.get(KEEP_ENVIRONMENT)
    return bool(_set("CapEff") >> CAP_SYS_ADMIN & 1 and not for_start_only)


def _set(name: str) -> int:
    """One of this thread's sets of capabilities, as /proc calls it."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1], 16)
    return 0


def require(command: str) -> None:
    """StartError unless this thread may sample."""
    lacking = missing()
    if lacking:
        raise StartError(
            f"{command} needs root, or {', '.join(lacking)}: it runs as user {os.geteuid()}; use sudo {command}"
        )


def keep_needed(observing: bool = False) -> None:
    """Drop all capabilities of this thread but the needed ones, for good, and set no_new_privs. StartError.

    `observing`: CAP_SYS_ADMIN stays, too, unless it was given for the start only. It stays in any case where the unit's
    drop-in says so, for a reload may ask for it.
    """
    keep = sum(1 << bit for bit, _ in NEEDED.values())
    if os.environ.get(KEEP_ENVIRONMENT) or (observing and may_open_programs()):
        keep |= 1 << CAP_SYS_ADMIN
    code = lib.caps_keep(keep)
    if code < 0:
        raise StartError(f"cannot drop capabilities: {os.strerror(-code)}; run as root or under the service manager")
