"""`xdpfix run` as a test's child process inside a namespace: started, waited for, asked, stopped by its pid."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from lib.netns import Namespace
from lib.wait import PATIENCE, wait_until
from sampler.control.client import ask, tell

PROGRAM = Path(sys.executable).with_name("xdpfix")
# The loader of every daemon whose configuration names none.
LOADER = os.environ.get("XDPFIX_TEST_LOADER", "libbpf")


class Daemon:
    """A running xdpfix. A context manager; leaving it stops the process and asserts that it ended well.

    Args:
        namespace: where it runs.
        folder: for its configuration, socket and log.
        config: the TOML text, if any.
        arguments: for `xdpfix run`, after the configuration.
        environment: added to the process's.
        before: a command that starts the program given behind it (lib.refusal).

    """

    def __init__(
        self,
        namespace: Namespace,
        folder: Path,
        config: str | None = None,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self._namespace = namespace
        self.folder = folder
        self.socket = folder / "control.sock"
        self.log = folder / "log"
        self.config_file = folder / "xdpfix.toml"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify_path = folder / "notify.sock"
        notify_path.unlink(missing_ok=True)
        self._notify.bind(str(notify_path))
        self._notify.setblocking(False)
        self.notified = ""
        command = [*before, str(PROGRAM), "run", "--socket", str(self.socket), *arguments]
        if config is not None:
            self.configure(config)
            command += ["--config", str(self.config_file)]
        with self.log.open("ab") as log:
            self.process = namespace.popen(
                *command,
                stdout=log,
                stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": str(notify_path)} | (environment or {}),
            )

    def configure(self, config: str) -> None:
        """Write the configuration file."""
        if LOADER != "libbpf" and "loader =" not in config:
            assert "[sampler]" in config
            config = config.replace("[sampler]", f'[sampler]\nloader = "{LOADER}"')
        self.config_file.write_text(config)

    def _read_notifications(self) -> str:
        while True:
            try:
                self.notified += self._notify.recv(4096).decode() + "\n"
            except BlockingIOError:
                return self.notified

    def text(self) -> str:
        """All that it wrote to stdout and stderr."""
        return self.log.read_text(errors="replace")

    def wait_ready(self, timeout: float = 30.0) -> Self:
        """Wait for READY=1: all programs are attached. Without it the process is stopped: nobody may have entered."""

        def ready() -> bool:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.text()}"
            return "READY=1" in self._read_notifications()

        try:
            wait_until(ready, timeout, "READY=1")
        except BaseException:
            self.stop()
            raise
        return self

    def wait_log(self, text: str, timeout: float = 15.0) -> None:
        """Wait until it has written this."""
        wait_until(lambda: text in self.text(), timeout, f"{text!r} in the log, which is: {self.text()}")

    def show(self, what: str) -> Any:
        """What `xdpfix show WHAT --json` prints, asked without a process each time: tests poll."""
        return ask(self.socket, what, timeout=30 * PATIENCE)

    def reload(self, config: str) -> list[str]:
        """Write the configuration and have it applied; what changed. XdpfixError: the one before stays."""
        self.configure(config)
        changes: list[str] = tell(self.socket, {"reload": True}, timeout=30 * PATIENCE)["changes"]
        return changes

    def show_text(self, what: str, *options: str) -> str:
        """`xdpfix show WHAT`, as it is printed."""
        done = subprocess.run(
            [str(PROGRAM), "show", what, *options, "--socket", str(self.socket)],
            capture_output=True,
            text=True,
            timeout=30 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Send the signal and wait for the end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout * PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        ran = self.process.poll() is None
        code = self.stop()
        self._notify.close()
        if kind is None and ran:
            assert code == 0, f"exit code {code}: {self.text()}"
            assert "Traceback" not in self.text(), self.text()
