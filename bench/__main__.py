"""Run parts of the benchmarks, one process each: `python -m bench [PART…]`, all of them by default."""

import subprocess
import sys
import time

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


def main() -> int:
    """Run them; the exit code says whether all ended well."""
    parts, failed = sys.argv[1:] or PARTS, []
    for number, part in enumerate(parts, start=1):
        print(f"== {part} ({number} of {len(parts)})", flush=True)
        begin = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"bench.{part}"]).returncode:
            failed.append(part)
        print(f"== {part}: {time.monotonic() - begin:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
