"""Configurations with flow exporters, as TOML text, for tests with a daemon."""

from collections.abc import Iterable, Mapping
from typing import Any

from sampler.readers import shown

EVERY = 65535


def rule(match: str = "", probability: int = EVERY, **keys: Any) -> dict[str, Any]:
    """A rule's table."""
    return {"match": match, "probability": probability, **keys}


def flow_exporter(number: int, targets: str | list[str], rules: Iterable[Mapping[str, Any]], **keys: Any) -> str:
    """[[flow_exporter]] with its [[flow_exporter.sample]]."""
    lines = [
        "[[flow_exporter]]",
        *_lines({"collector_set_id": number, "targets": [targets] if isinstance(targets, str) else targets, **keys}),
    ]
    for item in rules:
        lines += ["[[flow_exporter.sample]]", *_lines(item)]
    return "\n".join(lines) + "\n"


def configuration(*exporters: str, main: Mapping[str, Any] | None = None, **sampler: Any) -> str:
    """A whole file; `main`: keys of [exporter], None: without it."""
    lines = ["[sampler]", *_lines({"interfaces": ["a"], "ring_pages": 4096, **sampler})]
    if main is not None:
        lines += ["[exporter]", *_lines(main)]
    return "\n".join(lines) + "\n" + "".join(exporters)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list) else shown(value)
