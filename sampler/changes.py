"""What differs between two configurations, a sentence a key: what `xdpfix reload` prints. Pure."""

from dataclasses import fields, is_dataclass
from typing import Any

from sampler.configkeys import shown


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Compare two dataclasses of one type, with those inside them: "exporter.sampling: 400 → 100" …."""
    found = []
    for name in (field.name for field in fields(before)):
        old, new = getattr(before, name), getattr(after, name)
        where = f"{path}.{name}" if path else name
        if old == new:
            continue
        if is_dataclass(old) and type(old) is type(new):
            found += changes(old, new, where)
        else:
            found.append(f"{where}: {_text(old)} → {_text(new)}")
    return found


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(_text(item) for item in value)}]"
    return shown(value if isinstance(value, bool | str | int | float) else str(value))
