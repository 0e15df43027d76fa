"""Tables of a TOML document: that they are tables, have no unknown keys, and each value is what its reader takes."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from sampler.errors import ConfigError
from sampler.readers import Reader, shown

Document = Mapping[str, Any]


def table(path: str, value: object) -> Document:
    """Give the value as a table. ConfigError where it is none."""
    if not isinstance(value, dict):
        raise ConfigError(f"{path} = {shown(value)}: must be a table: write [{path}] on a line of its own")
    return value


def tables(path: str, value: object) -> Sequence[Document]:
    """Give the value as an array of tables. ConfigError where it is none."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(f"{path}: must be an array of tables: write [[{path}]] on a line of its own for each")
    return value


def known(path: str, document: Document, keys: Sequence[str]) -> None:
    """ConfigError where the table has a key that is not among these. `path` ends in "." or ": " or is empty."""
    for key in document:
        if key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            way_out = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(keys))}"
            value = document[key]
            text = "" if isinstance(value, dict | list) else f" = {shown(value)}"
            raise ConfigError(f"{path}{key}{text}: unknown key; {way_out}")


def values(path: str, document: Document, readers: Mapping[str, Reader], others: Sequence[str] = ()) -> dict[str, Any]:
    """Read every value; keys of `others` are known and left alone. ConfigError."""
    known(path, document, (*readers, *others))
    return {key: readers[key](path + key, value) for key, value in document.items() if key in readers}
