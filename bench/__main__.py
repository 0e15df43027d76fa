"""Run parts of the benchmarks, one process each: `python -m bench [PART…]`, all of them by default."""

import subprocess
import sys
import time

from bench import end_at_sigterm

PARTS = (
    "packet",
    "stages",
    "live",
    "cache",
    "export",
    "read",
    "paced",
    "openvswitch",
    "process",
    "interfaces",
    "psample",
)
# In emulated machines with Debian's kernels: `make bench-vm`.
MACHINE_PARTS = ("observed", "datapaths")


def run(part: str) -> int:
    """Run one; its exit code. However this ends, the part has first taken down what it made.

    Ctrl-C comes to it from the terminal, SIGTERM is passed on.
    """
    process = subprocess.Popen([sys.executable, "-m", f"bench.{part}"])
    try:
        return process.wait()
    except SystemExit:
        process.terminate()
        raise
    finally:
        process.wait()


def main() -> int:
    """Run them; the exit code says whether all ended well."""
    end_at_sigterm()
    parts, failed = sys.argv[1:] or PARTS, []
    for number, part in enumerate(parts, start=1):
        print(f"== {part} ({number} of {len(parts)})", flush=True)
        begin = time.monotonic()
        if run(part):
            failed.append(part)
        print(f"== {part}: {time.monotonic() - begin:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
