"""The ways to a collector, a file each, and which target takes which. collectors.py holds what they share."""

import ipaddress

from exporter.options import FILE, TCP, UDP, ExporterOptions, Target
from exporter.transports.connection import Connection
from exporter.transports.file import open_file
from exporter.transports.tcp import open_tcp
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
    if target.transport == FILE:
        return open_file(target, options.file)
    return open_udp(target)
