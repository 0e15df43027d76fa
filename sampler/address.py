"""How users write where records go or come from: HOST:PORT, [IPV6]:PORT, and URLs of the other transports."""

import ipaddress
import json
import posixpath
import re

from exporter.options import DEFAULT_PORT, DEFAULT_PORTS, FILE, TRANSPORTS, UDP, Target

# RFC 1123 section 2.1 names; the underscore is outside of it but in use.
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
SCOPED = re.compile(r"[^%]+%[^%\s\]]+")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
PORT_MAX = 65535
PATH_MAX = 4000  # octets: below Linux's 4096, with room for what a closed file's name gets


class AddressError(ValueError):
    """Says in one clause what is wrong, and the way out."""


def parse_target(text: str) -> Target:
    """Read HOST, HOST:PORT, [IPV6]:PORT, or one of them behind TRANSPORT://, or file:///PATH. AddressError."""
    transport, rest = split_transport(text, TRANSPORTS)
    if transport == FILE:
        return Target("", 0, FILE, _path(rest))
    host, port = parse_address(rest, DEFAULT_PORTS[transport])
    return Target(host, port, transport)


def split_transport(text: str, known: tuple[str, ...]) -> tuple[str, str]:
    """Split TRANSPORT://REST; without it, the transport is UDP."""
    match = SCHEME.fullmatch(text)
    if match is None:
        return UDP, text
    transport, rest = match[1].lower(), match[2]
    if transport not in known:
        listed = ", ".join(f"{name}://" for name in known)
        raise AddressError(f"{json.dumps(transport + '://')} is unknown: write one of {listed}")
    return transport, rest


def parse_address(text: str, default_port: int = DEFAULT_PORT, lowest_port: int = 1) -> tuple[str, int]:
    """Read HOST, HOST:PORT, [IPV6] or [IPV6]:PORT. AddressError."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_ipv6(host):
            raise AddressError("between the brackets must be an IPv6 address")
        if rest and not rest.startswith(":"):
            raise AddressError("behind the brackets may only be :PORT")
        return host, _port(rest[1:], lowest_port) if rest else default_port
    if text.count(":") > 1:
        way_out = f'write "[{text}]:{default_port}"' if _is_ipv6(text) else "must be HOST:PORT"
        raise AddressError(f"an IPv6 address goes in brackets: {way_out}")
    host, colon, port = text.partition(":")
    if re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise AddressError(f"{json.dumps(host)} is no IPv4 address") from None
    elif len(host) > 253 or not HOST_NAME.fullmatch(host):
        raise AddressError(f"{json.dumps(host, ensure_ascii=False)} is neither a host name nor an address")
    return host, _port(port, lowest_port) if colon else default_port


def _is_ipv6(text: str) -> bool:
    if "%" in text and not SCOPED.fullmatch(text):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _port(text: str, lowest: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and lowest <= int(text) <= PORT_MAX):
        raise AddressError(f"the port must be a number from {lowest} to {PORT_MAX}")
    return int(text)


def _path(text: str) -> str:
    if not text.startswith("/") or "\0" in text or len(text.encode()) > PATH_MAX:
        raise AddressError("a file is file:// and an absolute path, such as file:///var/lib/xdpfix/flows.ipfix")
    path = posixpath.normpath(text)
    if text.endswith("/") or path == "/":
        raise AddressError("the path is a folder: add a file's name, such as flows.ipfix")
    return path
