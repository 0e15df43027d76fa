"""The man page and the example configuration: well formed, and naming what the program offers."""

import dataclasses
import re
import tomllib

import pytest

from exporter.options import ExporterOptions

from .conftest import TREE, run

PAGE = TREE / "docs/xdpfix.8"
EXAMPLE = TREE / "etc/xdpfix.toml"
SAMPLER_KEYS = {"interfaces", "hook", "loader", "ring_pages", "budget"}
EXPORTER_KEYS = {field.name for field in dataclasses.fields(ExporterOptions)}


def example_with_every_key() -> dict[str, dict[str, object]]:
    """The example, with the lines that are commented out because they state the default."""
    return tomllib.loads(re.sub(r"^#(\w+ = |\[)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))


def test_page_is_well_formed() -> None:
    assert run("mandoc", "-T", "lint", "-W", "warning", PAGE, cwd=TREE) == ""


@pytest.mark.parametrize("command", ["run", "check", "collect", "read", "show"])
def test_page_describes_every_command(command: str) -> None:
    assert re.search(rf"^\.It Cm {command}\b", PAGE.read_text(), re.MULTILINE)


def test_page_and_example_describe_the_same_keys() -> None:
    in_page = set(re.findall(r"^\.It Ic (\w+)", PAGE.read_text(), re.MULTILINE))
    example = example_with_every_key()
    assert in_page == set(example["sampler"]) | set(example["exporter"])


def test_example_has_every_option() -> None:
    example = example_with_every_key()
    assert set(example) == {"sampler", "exporter"}
    assert set(example["sampler"]) == SAMPLER_KEYS
    assert set(example["exporter"]) == EXPORTER_KEYS


def test_example_states_the_defaults() -> None:
    defaults = ExporterOptions()
    example = example_with_every_key()["exporter"]
    for name in EXPORTER_KEYS - {"targets", "interface_obs_point_ids"}:
        assert example[name] == getattr(defaults, name), name


def test_example_as_it_is_changes_nothing() -> None:
    assert tomllib.loads(EXAMPLE.read_text()) == {"sampler": {}, "exporter": {}}
