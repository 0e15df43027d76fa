"""What differs between two configurations, a sentence a key: what `xdpfix reload` prints. Pure."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from sampler.psample.options import PsampleSource
from sampler.readers import shown
from sampler.rules.rule import FlowExporter, FlowRule


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Compare two dataclasses of one type, with those inside them: "exporter.sampling: 400 → 100" …."""
    found = []
    for name in (field.name for field in fields(before)):
        old, new = getattr(before, name), getattr(after, name)
        where = f"{path}.{name}" if path else name
        if old == new:
            continue
        if name == "has_main":
            found.append(f"main: {'added' if new else 'removed'}")
        elif name == "flow_exporters":
            found += _flow_exporters(old, new)
        elif name == "psample":
            found += _psample(old, new)
        elif is_dataclass(old) and type(old) is type(new):
            found += changes(old, new, where)
        else:
            found.append(f"{where}: {_text(old)} → {_text(new)}")
    return found


def _flow_exporters(before: Sequence[FlowExporter], after: Sequence[FlowExporter]) -> list[str]:
    old, new = ({exporter.name: exporter for exporter in exporters} for exporters in (before, after))
    found = [f"{name}: removed" for name in old if name not in new]
    for name, exporter in new.items():
        if name not in old:
            found.append(f"{name}: added, with {len(exporter.rules)} rules")
        else:
            found += changes(old[name].options, exporter.options, name) + _rules(name, old[name].rules, exporter.rules)
    return found


def _psample(before: Sequence[PsampleSource], after: Sequence[PsampleSource]) -> list[str]:
    old, new = ({source.group: source for source in sources} for sources in (before, after))
    found = [f"psample {group}: removed" for group in old if group not in new]
    for group, source in new.items():
        known = old.get(group)
        found += changes(known, source, f"psample {group}") if known else [f"psample {group}: added"]
    return found


def _rules(name: str, before: Sequence[FlowRule], after: Sequence[FlowRule]) -> list[str]:
    if len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True), 1)
        return [line for place, pair in pairs for line in changes(*pair, f"{name}: rule {place}")]
    gone, come = ([rule for rule in one if rule not in other] for one, other in ((before, after), (after, before)))
    return [f"{name}: rule removed: {shown(rule.match)}" for rule in gone] + [
        f"{name}: rule added: {shown(rule.match)}" for rule in come
    ]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"[{', '.join(_text(item) for item in value)}]"
    return shown(value if isinstance(value, bool | str | int | float) else str(value))
