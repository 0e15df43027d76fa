"""The program's entry: imports the command line with ctrl-C ending the process quietly, as it does ever after."""

import signal
import sys


def main() -> int:
    """Run `xdpfix`; the exit code."""
    # Python's own handler would show a traceback out of whatever module is being imported.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sampler import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
