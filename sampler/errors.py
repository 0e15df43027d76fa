"""The errors that end a command, and the exit code of each.

Every message is one sentence that names the thing, the value and the way out; the
command line prints it as it is, without a traceback.
"""


class XdpfixError(Exception):
    """Base of what xdpfix reports to its user."""

    exit_code = 1


class ConfigError(XdpfixError):
    """A wrong configuration or argument: names the key path, the value and what it may be."""

    exit_code = 2


class EndedError(XdpfixError):
    """The data thread has ended, so it can be asked nothing any more."""


class StartError(XdpfixError):
    """A right configuration that cannot be started here: privileges, kernel, interfaces."""
