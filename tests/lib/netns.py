"""Network namespaces of a test: anonymous, held by a descriptor, gone when it is closed.

    with Namespace() as left, Namespace() as right:
        veth(left, "a", "192.0.2.1/24", right, "b", "192.0.2.2/24")
        left.run("ping", "-c1", "192.0.2.2")
        with left.enter():          # this thread is inside; sockets made here stay inside
            socket.create_connection(...)

Nothing is created in the host's namespace, nothing is bound under /run/netns.
"""

import ctypes
import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lib.wait import PATIENCE

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _own_namespace() -> int:
    # thread-self: namespaces belong to threads, and the calling one need not be the main one.
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Namespace:
    """One network namespace with its loopback up. A context manager; leaving it destroys all links inside."""

    def __init__(self) -> None:
        self.fd = -1

        def make() -> None:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            self.fd = _own_namespace()

        _in_thread(make)
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self) -> "Namespace":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the namespace: the kernel ends it with its last socket and process. Closing twice is fine."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Move the calling thread inside, and back at the end. Threads started inside are inside too."""
        home = _own_namespace()
        try:
            _check(_libc.setns(self.fd, CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_libc.setns(home, CLONE_NEWNET), "setns back")
        finally:
            os.close(home)

    def call(self, function: Callable[[], T]) -> T:
        """Run the function in a new thread inside, give its result or raise its exception."""

        def inside() -> T:
            _check(_libc.setns(self.fd, CLONE_NEWNET), "setns")
            return function()

        return _in_thread(inside)

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command inside, wait for it, give what it wrote. A failure shows its stderr."""
        options = {"capture_output": True, "text": True, "timeout": 60 * PATIENCE} | options
        with self.enter():
            done = subprocess.run(command, check=False, **options)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command inside. The caller ends it, by its own pid."""
        with self.enter():
            return subprocess.Popen(command, **({"text": True} | options))

    def add(self, name: str, *kind: str, address: str | None = None) -> int:
        """Make a link of a kind (`ip link add NAME type KIND…`), bring it up, give its ifindex."""
        self.run("ip", "link", "add", "name", name, "type", *kind)
        return self.up(name, address)

    def up(self, name: str, address: str | None = None) -> int:
        """Bring a link up with an address (no DAD), give its ifindex."""
        if address is not None:
            self.run("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        self.run("ip", "link", "set", "dev", name, "up")
        return self.ifindex(name)

    def ifindex(self, name: str) -> int:
        """Give the ifindex of a link by its name."""
        with self.enter():
            return socket.if_nametoindex(name)

    def move(self, name: str, other: "Namespace") -> None:
        """Move a link into another namespace."""
        self.run("ip", "link", "set", "dev", name, "netns", f"/proc/self/fd/{other.fd}", pass_fds=[other.fd])


def veth(
    left: Namespace,
    left_name: str,
    left_address: str | None,
    right: Namespace,
    right_name: str,
    right_address: str | None,
    mtu: int = 1500,
) -> tuple[int, int]:
    """Make a veth pair over two namespaces (or in one), both ends up. Gives both ifindexes."""
    peer = () if right is left else ("netns", f"/proc/self/fd/{right.fd}")
    left.run(
        "ip", "link", "add", "name", left_name, "type", "veth", "peer", "name", right_name, *peer, pass_fds=[right.fd]
    )
    for namespace, name in ((left, left_name), (right, right_name)):
        # No router solicitations nor DAD: a test's packets are the only ones on the wire.
        namespace.run("ip", "link", "set", "dev", name, "mtu", str(mtu), "addrgenmode", "none")
    return left.up(left_name, left_address), right.up(right_name, right_address)


def send_frames(namespace: Namespace, name: str, count: int, frame: bytes | None = None) -> None:
    """Send Ethernet frames out of a link: exactly `count`, no ARP, no ND. Default: of an experimental ethertype."""
    if frame is None:
        # IEEE 802 local experimental ethertype, locally administered addresses.
        frame = bytes.fromhex("02000000000202000000000188b5") + bytes(46)
    with namespace.enter(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((name, 0))
        for _ in range(count):
            # ENOBUFS: a program or qdisc at egress dropped the frame, which the test may be about.
            try:
                sock.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


def _in_thread(function: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
