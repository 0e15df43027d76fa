"""The commands that ask a running xdpfix through its control socket: show, reload, flush, set, top."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from sampler import configkeys, readers
from sampler.arguments import Commands, add_socket, command, control_socket
from sampler.control.client import tell
from sampler.control.flowfilter import SHOWN_FLOWS
from sampler.errors import ConfigError

# What `xdpfix show` may ask for.
SUBJECTS = ("flows", "interfaces", "tunnels", "exporters", "rules", "stats")
# What a reload may take: flows of exporters that go are exported first, within a second each.
RELOAD_TIMEOUT = 120.0
# A cache of millions of flows goes out at the pace that collectors can follow.
FLUSH_TIMEOUT = 600.0


def add_commands(commands: Commands) -> None:
    """Add the parsers of all commands of this file."""
    _add_show(commands)
    _add_reload(commands)
    _add_flush(commands)
    _add_set(commands)
    _add_top(commands)


def _add_show(commands: Commands) -> None:
    parser = command(
        commands,
        "show",
        "what a running xdpfix sees",
        "Asks the running xdpfix for its flows, interfaces, tunnels, exporters, rules, or stats (the ledger of\n"
        "samples and packets).",
    )
    parser.add_argument("what", choices=SUBJECTS, metavar="WHAT", help=", ".join(SUBJECTS))
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="JSON instead of a table")
    form.add_argument("--ovs", action="store_true", help="exporters: as ovs-ofctl dump-ipfix-bridge and -flow")
    parser.add_argument(
        "--filter",
        metavar="TEXT",
        help="flows: those for which every word holds, such as 'source=192.0.2.0/24 port=53 packets>100'",
    )
    parser.add_argument("--sort", metavar="COLUMN", help="flows: the largest of this column first (default: age)")
    parser.add_argument("--limit", metavar="N", help=f"flows: so many at most (default: {SHOWN_FLOWS})")
    add_socket(parser)
    parser.set_defaults(handler=_show)


def _show(arguments: argparse.Namespace) -> int:
    what = arguments.what
    options = _show_options(arguments)
    result = tell(control_socket(arguments), {"show": what, **options})
    if arguments.ovs:
        from sampler.console import ovsformat

        print("\n".join(ovsformat.lines(result)))
        return 0
    from sampler.console.show import flows, ledger, print_result, rules, tunnels

    for_people: dict[str, Callable[[Any], Any]] = {
        "flows": flows,
        "rules": rules,
        "stats": ledger,
        "tunnels": tunnels,
    }
    if not arguments.json and what in for_people:
        result = for_people[what](result)
    print_result(result, sys.stdout, arguments.json)
    return 0


def _show_options(arguments: argparse.Namespace) -> dict[str, object]:
    """Check which options go with the subject; give those of the request."""
    given = {name: getattr(arguments, name) for name in ("filter", "sort", "limit")}
    options = {name: value for name, value in given.items() if value is not None}
    if options and arguments.what != "flows":
        raise ConfigError(f"--{next(iter(options))} goes with `show flows` only")
    if arguments.ovs and arguments.what != "exporters":
        raise ConfigError("--ovs goes with `show exporters` only")
    if "limit" in options:
        number = readers.decimal(options["limit"])
        options["limit"] = readers.integer(1, SHOWN_FLOWS)("--limit", options["limit"] if number is None else number)
    return options


def _add_reload(commands: Commands) -> None:
    parser = command(
        commands,
        "reload",
        "apply the changed configuration",
        "Has the running xdpfix read its configuration anew, waits until it is in force and says what changed.\n"
        "A wrong file changes nothing. Exit code 0: in force, 2: the file is wrong.",
    )
    add_socket(parser)
    parser.set_defaults(handler=_reload)


def _reload(arguments: argparse.Namespace) -> int:
    result = tell(control_socket(arguments), {"reload": True}, RELOAD_TIMEOUT)
    print("\n".join(result["changes"]) or "nothing changed")
    return 0


def _add_flush(commands: Commands) -> None:
    parser = command(
        commands,
        "flush",
        "export all cached flows now",
        'Ends the flows of an exporter, or of all, with "forced end" and says how many records went out. Sampling\n'
        "goes on; what comes next starts new flows.",
    )
    parser.add_argument("exporter", nargs="?", metavar="EXPORTER", help="its name in `show exporters` (default: all)")
    add_socket(parser)
    parser.set_defaults(handler=_flush)


def _flush(arguments: argparse.Namespace) -> int:
    result = tell(control_socket(arguments), {"flush": arguments.exporter or True}, FLUSH_TIMEOUT)
    for name, exporter in result.items():
        print(f"{name}: {exporter['flows']} flows ended")
        for row in exporter["targets"]:
            print(f"  {row['target']}: {_sent(row)}")
    return 0


def _sent(row: dict[str, Any]) -> str:
    parts = [f"{row['records_sent']} records sent"]
    parts += [f"{row[f'records_{what}']} {what}" for what in ("lost", "waiting") if row[f"records_{what}"]]
    return ", ".join(parts)


def _add_set(commands: Commands) -> None:
    parser = command(
        commands,
        "set",
        "change a running xdpfix for a while",
        "Has the running xdpfix take one packet in N, until its next reload or restart. The file stays as it is.",
    )
    parser.add_argument("what", choices=("sampling",), metavar="WHAT", help="sampling")
    parser.add_argument("value", metavar="N", help="1 takes every packet")
    add_socket(parser)
    parser.set_defaults(handler=_set)


def _set(arguments: argparse.Namespace) -> int:
    number = readers.decimal(arguments.value)
    value: object = arguments.value if number is None else number
    # Checked by its key's own rule, here and by the service.
    configkeys.EXPORTER[arguments.what](arguments.what, value)
    result = tell(control_socket(arguments), {"set": {arguments.what: value}}, RELOAD_TIMEOUT)
    for change in result["changes"]:
        print(f"{change}, until the next reload or restart")
    if not result["changes"]:
        print(f"{arguments.what} is {arguments.value} already")
    return 0


def _add_top(commands: Commands) -> None:
    parser = command(
        commands,
        "top",
        "watch the flows of a running xdpfix",
        "A screen of the flows by their rate, the interfaces, tunnels, exporters and the ledger. Rates are of the\n"
        "last interval; those of flows are scaled by the sampling.",
    )
    parser.add_argument("--interval", default="1", metavar="SECONDS", help="between two looks (default: %(default)s)")
    parser.add_argument("--filter", default="", metavar="TEXT", help="of the flows, as of `show flows`")
    add_socket(parser)
    parser.set_defaults(handler=_top)


def _top(arguments: argparse.Namespace) -> int:
    from sampler.console import top

    code: int = top.main(arguments)
    return code
