"""The man page and the example configuration: well formed, and naming what the program offers."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sampler import config, configkeys

from .conftest import TREE, run

PAGE = TREE / "docs/xdpfix.8"
EXAMPLE = TREE / "etc/xdpfix.toml"


def example_with_every_key() -> dict[str, Any]:
    """The example, with the lines that are commented out because they state the default."""
    return tomllib.loads(re.sub(r"^#(\w+ = |\[)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))


def test_page_is_well_formed() -> None:
    assert run("mandoc", "-T", "lint", "-W", "warning", PAGE, cwd=TREE) == ""


@pytest.mark.parametrize("command", ["run", "check", "collect", "read", "show"])
def test_page_describes_every_command(command: str) -> None:
    assert re.search(rf"^\.It Cm {command}\b", PAGE.read_text(), re.MULTILINE)


def test_page_and_example_describe_the_same_keys() -> None:
    in_page = re.findall(r"^\.It Ic (\w+)", PAGE.read_text(), re.MULTILINE)
    example = example_with_every_key()
    keys = [*example["sampler"].pop("interface")["eth0"], *example["sampler"], *example["exporter"]]
    assert sorted(in_page) == sorted(keys)


def test_example_has_every_key_with_its_default() -> None:
    example = example_with_every_key()
    assert set(example) == {"sampler", "exporter"}
    # Examples, not defaults: the physical interfaces, and no collector.
    assert example["sampler"].pop("interfaces") and example["sampler"].pop("interface")
    assert example["exporter"].pop("targets")
    parsed = config.parse(example)
    assert parsed == config.Config()
    assert set(example["sampler"]) == set(configkeys.SAMPLER) - {"interfaces"}
    assert set(example["exporter"]) == set(configkeys.EXPORTER) - {"targets"}


def test_example_as_it_is_changes_nothing() -> None:
    assert config.load(EXAMPLE) == config.Config()


def test_example_is_right_with_every_line_in_force(tmp_path: Path) -> None:
    path = tmp_path / "xdpfix.toml"
    path.write_text(re.sub(r"^#(\w+ = |\[)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert config.load(path).sampler.obs_point_ids == (("eth0", 1),)
