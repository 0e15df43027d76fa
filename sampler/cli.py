"""The command line: arguments in, exit code out. What the commands do is in the modules that they call.

The commands that ask a running xdpfix are in sampler.control.clients.

Those are imported when their command runs, so that `xdpfix check` needs no BPF and
`xdpfix collect` no root.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sampler import config
from sampler.arguments import Commands, command
from sampler.control import clients
from sampler.errors import XdpfixError

EXAMPLES = """\
examples:
  xdpfix run -i eth0                                  watch the flows of eth0 here, every packet counted
  xdpfix run -i eth0 --sampling 1 --target 192.0.2.1  export all packets' flows to a collector, port 4739
  xdpfix run --config /etc/xdpfix/xdpfix.toml         what the service runs
  xdpfix check /etc/xdpfix/xdpfix.toml                is the configuration right?
  xdpfix show stats                                   what was sampled, exported and lost by the running xdpfix
  xdpfix top                                          its flows by rate, on a terminal
  xdpfix reload                                       have it apply its changed configuration
  xdpfix collect --listen 127.0.0.1:4739 --json       decode IPFIX from any exporter
  xdpfix read capture.pcap --sampling 1               flows of a capture; `-` reads tcpdump's output
"""

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of `argv` (without the program's name); give its exit code."""
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.handler(arguments)
        sys.stdout.flush()
        return code
    except XdpfixError as error:
        print(f"xdpfix: {error}", file=sys.stderr)
        return error.exit_code
    except ImportError as error:
        print(f"xdpfix: {error}; install libbpf1, libxxhash0 and libpcap0.8, or build xdpfix anew", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # What no command expected: a full disk behind standard output, say.
        print(f"xdpfix: {error.filename or 'reading or writing'}: {error.strerror or error}", file=sys.stderr)
        return 1


class _Version(argparse.Action):
    """Looks for the version where it is asked for: that takes as long as all else here."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"xdpfix {version('xdpfix')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="xdpfix",
        description="Samples the packets of a Linux host with eBPF and exports IPFIX flows.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_check(commands)
    clients.add_commands(commands)
    _add_collect(commands)
    _add_read(commands)
    return top


def _add_run(commands: Commands) -> None:
    parser = command(
        commands,
        "run",
        "sample and export, in the foreground",
        "Samples live interfaces and exports flows until SIGTERM or ctrl-C. Options win over the file.\n"
        "Without a configuration and a collector the flows are shown here, every packet is taken and flows end soon.",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration (default: {config.DEFAULT_PATH}, if it exists)"
    )
    parser.add_argument(
        "-i",
        "--interface",
        action="append",
        metavar="IFACE",
        help="interface or glob; may be repeated (default: physical)",
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="TARGET",
        help="collector; may be repeated: HOST[:PORT] by UDP, or {tcp,tls,dtls,sctp}://HOST[:PORT], file:///PATH",
    )
    parser.add_argument(
        "--sampling", metavar="N", help="take one packet in N (default: 400; 1 when the flows are shown here)"
    )
    parser.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help=f"control socket, one for each xdpfix that runs (default: {config.DEFAULT_CONTROL_SOCKET})",
    )
    parser.set_defaults(handler=_run)


def _run(arguments: argparse.Namespace) -> int:
    path = arguments.config
    if path is None and config.DEFAULT_PATH.exists():
        path = config.DEFAULT_PATH
    overrides = config.Overrides(arguments.interface, arguments.target, arguments.sampling, arguments.socket)

    def load() -> config.Config:
        if path is None and arguments.target is None:
            return config.watching(overrides)
        return config.load(path, overrides)

    first = load()
    from sampler import logs, netlinkpackage
    from sampler.kernel import capabilities

    logs.set_up()
    capabilities.require("xdpfix run")
    netlinkpackage.import_parts()
    from sampler.daemon import service

    code: int = service.run(first, load)
    return code


def _add_check(commands: Commands) -> None:
    parser = command(
        commands,
        "check",
        "is a configuration right?",
        "Says which key of the file is wrong, what it was and what it may be; or that it is right, what would be\n"
        "sampled here and what to mind. Exit code 0: right, 2: wrong.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the configuration")
    parser.set_defaults(handler=_check)


def _check(arguments: argparse.Namespace) -> int:
    checked = config.load(arguments.file)
    from sampler import summary

    print(f"{arguments.file}: right")
    for line in summary.lines(checked):
        print(f"  {line}")
    for warning in summary.warnings(checked):
        print(f"  warning: {warning}")
    return 0


def _add_output(command: argparse.ArgumentParser) -> None:
    form = command.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line")
    form.add_argument("--table", action="store_true", help="a table on a terminal, else aligned lines (default)")


def _add_collect(commands: Commands) -> None:
    parser = command(
        commands,
        "collect",
        "receive and decode IPFIX",
        "The embedded collector: decodes the records of any IPFIX exporter over UDP, by their templates.",
    )
    parser.add_argument(
        "--listen",
        default="127.0.0.1:4739",
        metavar="HOST:PORT",
        help="where to listen, by UDP, or by TCP with tcp:// in front (default: %(default)s)",
    )
    _add_output(parser)
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the messages to an IPFIX file (RFC 5655)")
    parser.add_argument("--count", type=int, metavar="N", help="end after N flow records")
    parser.set_defaults(handler=_collect)


def _collect(arguments: argparse.Namespace) -> int:
    from sampler.collector import collect

    code: int = collect.main(arguments)
    return code


def _add_read(commands: Commands) -> None:
    parser = command(
        commands,
        "read",
        "flows of captures",
        "Runs captures through the parser, cache and exporter of `run`; `-` reads standard input:\n"
        "  tcpdump -i eth0 -U -w - | xdpfix read -",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="pcap or pcapng file, or - for standard input")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="take [exporter] and [sampler.tunnel_ports] from it"
    )
    parser.add_argument("--sampling", metavar="N", help="take one packet in N (default: 1)")
    parser.add_argument(
        "--target",
        action="append",
        metavar="TARGET",
        help="export to this collector, as with run; the flows are shown too with --json or --table",
    )
    _add_output(parser)
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="write the messages to an IPFIX file (RFC 5655); the flows are shown too with --json or --table",
    )
    parser.set_defaults(handler=_read)


def _read(arguments: argparse.Namespace) -> int:
    overrides = config.Overrides(None, arguments.target, arguments.sampling or (None if arguments.config else "1"))
    loaded = config.load(arguments.config, overrides, defaults={"cache_max_flows": config.READ_MAX_FLOWS})
    arguments.options, arguments.tunnel_ports = loaded.exporter, loaded.sampler.tunnel_ports
    from sampler.captures import read

    code: int = read.main(arguments)
    return code
