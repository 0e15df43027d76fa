"""Readers of single values: each turns a value of TOML into a checked one. sampler.configkeys says which key has which.

A reader takes the key's path and its value and returns what the options hold, or raises
a ConfigError that names path, value and range.
"""

import json
from collections.abc import Callable
from typing import Any

from sampler.errors import ConfigError

Reader = Callable[[str, object], Any]


def decimal(text: str) -> int | None:
    """Read a number of up to 10 digits, which hold every number here; None where the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def shown(value: object) -> str:
    """Write the value as TOML would, for an error message."""
    if isinstance(value, bool | str | int | float):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def integer(low: int, high: int) -> Reader:
    """Read a whole number from low to high. TOML's booleans are no numbers, though Python's are."""

    def read(path: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{path} = {shown(value)}: must be a whole number from {low} to {high}")
        return value

    return read


def power_of_two(low: int, high: int) -> Reader:
    """Read a power of two from low to high, which are powers of two."""
    whole = integer(low, high)

    def read(path: str, value: object) -> int:
        try:
            number: int = whole(path, value)
        except ConfigError:
            number = 0
        if number == 0 or number & (number - 1):
            raise ConfigError(f"{path} = {shown(value)}: must be a power of two from {low} to {high}")
        return number

    return read


def boolean(path: str, value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{path} = {shown(value)}: must be true or false")
    return value


def choice(*words: str) -> Reader:
    """Read one of the words."""

    def read(path: str, value: object) -> str:
        if not isinstance(value, str) or value not in words:
            listed = ", ".join(f'"{word}"' for word in words)
            raise ConfigError(f"{path} = {shown(value)}: must be one of {listed}")
        return value

    return read
