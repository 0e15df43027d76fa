"""The ways to a collector, a file each, and which target takes which. collectors.py holds what they share."""

import ipaddress

from exporter.options import FILE, SECURE, TCP, TLS, UDP, ExporterOptions, Target
from exporter.transports.connection import Connection
from exporter.transports.file import open_file
from exporter.transports.tcp import open_tcp
from exporter.transports.tls import check_files, open_tls
from exporter.transports.udp import open_udp


def is_instant(target: Target) -> bool:
    """Whether open_connection() never waits: UDP to an address."""
    if target.transport != UDP:
        return False
    try:
        ipaddress.ip_address(target.host)
    except ValueError:
        return False
    return True


def open_connection(target: Target, options: ExporterOptions) -> Connection:
    """Make a connection that is ready, authenticated where the transport does that. OSError; may take seconds."""
    if target.transport == TCP:
        return open_tcp(target)
    if target.transport == TLS:
        return open_tls(target, options.tls)
    if target.transport == FILE:
        return open_file(target, options.file)
    return open_udp(target)


def check(options: ExporterOptions, path: str) -> list[str]:
    """Look whether these targets can be reached for with these options, without reaching for them.

    Args:
        options: of the exporter.
        path: of its table in the configuration, for sentences.

    Returns:
        sentences of warning.

    Raises:
        ExporterError: not so.

    """
    if any(target.transport in SECURE for target in options.targets):
        return check_files(options.tls, f"{path}.tls")
    return []
