"""The ways to a collector, a file each, and which target takes which. What they share is in connection.py.

Each is imported where a target has it: TLS and files need as much of the standard library as all else in the exporter.
"""

import ipaddress

from exporter.errors import ExporterError
from exporter.options import DTLS, FILE, SCTP, SECURE, TCP, TLS, UDP, ExporterOptions, Target
from exporter.transports.connection import Connection


def is_instant(target: Target) -> bool:
    """Whether open_connection() never waits: UDP to an address."""
    if target.transport != UDP:
        return False
    try:
        ipaddress.ip_address(target.host)
    except ValueError:
        return False
    return True


def needs(target: Target, options: ExporterOptions) -> object:
    """What of the options a connection to the target is made with."""
    if target.transport in SECURE:
        return options.tls
    return options.file if target.transport == FILE else None


def open_connection(target: Target, options: ExporterOptions) -> Connection:
    """Make a connection that is ready, authenticated where the transport does that. OSError; may take seconds."""
    if target.transport == TCP:
        from exporter.transports.tcp import open_tcp

        return open_tcp(target)
    if target.transport == SCTP:
        from exporter.transports.sctp import open_sctp

        return open_sctp(target)
    if target.transport == TLS:
        from exporter.transports.tls import open_tls

        return open_tls(target, options.tls)
    if target.transport == DTLS:
        # It needs packages that are no dependencies.
        from exporter.transports.dtls import open_dtls

        return open_dtls(target, options.tls)
    if target.transport == FILE:
        from exporter.transports.file import open_file

        return open_file(target, options.file)
    from exporter.transports.udp import open_udp

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
    transports = {target.transport for target in options.targets}
    if DTLS in transports:
        try:
            import exporter.transports.dtls  # noqa: F401
        except ImportError as error:
            raise ExporterError(
                f"dtls:// needs pyOpenSSL and service-identity ({error}): install xdpfix with its extra, xdpfix[dtls]"
            ) from None
    if transports.intersection(SECURE):
        from exporter.transports.tls import check_files

        return check_files(options.tls, f"{path}.tls")
    return []
