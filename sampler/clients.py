"""The commands that ask a running xdpfix through its control socket: show, reload, flush, set."""

import argparse
import sys
from typing import Any

from sampler import configkeys
from sampler.arguments import Commands, add_socket, command, control_socket
from sampler.control import ask, tell
from sampler.show import SUBJECTS, ledger, print_result, tunnels

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


def _add_show(commands: Commands) -> None:
    parser = command(
        commands,
        "show",
        "what a running xdpfix sees",
        "Asks the running xdpfix for its flows, interfaces, tunnels, exporters, or stats (the ledger of samples and\n"
        "packets).",
    )
    parser.add_argument("what", choices=SUBJECTS, metavar="WHAT", help=", ".join(SUBJECTS))
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    add_socket(parser)
    parser.set_defaults(handler=_show)


def _show(arguments: argparse.Namespace) -> int:
    result = ask(control_socket(arguments), arguments.what)
    if arguments.what == "stats" and not arguments.json:
        result = ledger(result)
    elif arguments.what == "tunnels" and not arguments.json:
        result = tunnels(result)
    print_result(result, sys.stdout, arguments.json)
    return 0


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
    number = configkeys.decimal(arguments.value)
    value: object = arguments.value if number is None else number
    # Checked by its key's own rule, here and by the service.
    configkeys.EXPORTER[arguments.what](arguments.what, value)
    result = tell(control_socket(arguments), {"set": {arguments.what: value}}, RELOAD_TIMEOUT)
    for change in result["changes"]:
        print(f"{change}, until the next reload or restart")
    if not result["changes"]:
        print(f"{arguments.what} is {arguments.value} already")
    return 0
