"""What the parsers of commands share: sampler.cli has those that run here, sampler.control.clients those that ask."""

import argparse
from pathlib import Path
from typing import TypeAlias

from sampler import config
from sampler.errors import ConfigError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(commands: Commands, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    """Add a command: its name, a summary for the list of all, a text for its own help."""
    return commands.add_parser(
        name, help=summary, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_socket(command: argparse.ArgumentParser) -> None:
    """Add --socket, of a command that asks the running xdpfix."""
    command.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="its control socket (default: the configuration's, else " + str(config.DEFAULT_CONTROL_SOCKET) + ")",
    )


def control_socket(arguments: argparse.Namespace) -> Path:
    """Find the socket of the running xdpfix: that of --socket, of the configuration, or the default."""
    if arguments.socket is not None:
        path: Path = arguments.socket
        return path
    try:
        return config.load(config.DEFAULT_PATH).sampler.control_socket
    except ConfigError:
        return config.DEFAULT_CONTROL_SOCKET
