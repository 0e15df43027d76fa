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


def missing() -> list[str]:
    """Give the names of needed capabilities that this thread lacks. CAP_IPC_LOCK can be done without."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            have = int(line.split()[1], 16)
            # CAP_SYS_ADMIN covers CAP_BPF and CAP_PERFMON (capabilities(7)).
            if have >> 21 & 1:
                have |= 1 << 38 | 1 << 39
            return [name for name, (bit, _) in NEEDED.items() if name != "CAP_IPC_LOCK" and not have >> bit & 1]
    return []


def require(command: str) -> None:
    """StartError unless this thread may sample."""
    lacking = missing()
    if lacking:
        raise StartError(
            f"{command} needs root, or {', '.join(lacking)}: it runs as user {os.geteuid()}; use sudo {command}"
        )


def keep_needed() -> None:
    """Drop all capabilities of this thread but the needed ones, for good, and set no_new_privs. StartError."""
    code = lib.caps_keep(sum(1 << bit for bit, _ in NEEDED.values()))
    if code < 0:
        raise StartError(f"cannot drop capabilities: {os.strerror(-code)}; run as root or under the service manager")
