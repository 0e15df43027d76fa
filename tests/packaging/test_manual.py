"""The man page and the example configuration: well formed, and naming what the program offers."""

import argparse
import re
import tomllib
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from sampler import cli, config, configkeys
from sampler.psample import options as psample
from sampler.rules import tables as rules
from sampler.rules.rule import FlowRule

from .conftest import TREE, run

PAGE = TREE / "docs/xdpfix.8"
EXAMPLE = TREE / "etc/xdpfix.toml"
COMMANDS = ("run", "check", "show", "reload", "flush", "set", "top", "collect", "read")


def example_with_every_key() -> dict[str, Any]:
    """The example, with the lines that are commented out because they state the default."""
    return tomllib.loads(re.sub(r"^#(\w+ = |\[)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))


def test_page_is_well_formed() -> None:
    assert run("mandoc", "-T", "lint", "-W", "warning", PAGE, cwd=TREE) == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_page_describes_every_command(command: str) -> None:
    assert re.search(rf"^\.It Cm {command}\b", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_synopsis_has_the_options_that_the_command_has(command: str) -> None:
    """Also those of --help that the page would miss, in whatever order."""
    synopsis = PAGE.read_text().partition(".Sh SYNOPSIS")[2].partition(".Sh DESCRIPTION")[0]
    (usage,) = re.findall(rf"^\.Cm {command}\n(.*?)^\.Nm", synopsis, re.MULTILINE | re.DOTALL)
    (commands,) = (action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    options = {name for action in commands.choices[command]._actions for name in action.option_strings[-1:]}
    in_page = {f"--{name}" for name in re.findall(r"Fl Fl (\w+)", usage)}
    assert in_page | ({"--interface"} if "Op Fl i " in usage else set()) == options - {"--help"}


def test_page_and_example_describe_the_same_keys() -> None:
    in_page = re.findall(r"^\.It Ic (\w+)", PAGE.read_text(), re.MULTILINE)
    example = example_with_every_key()
    tables = example["sampler"].pop("interface")["eth0"], example["sampler"].pop("tunnel_ports")
    tables += example["exporter"].pop("tls"), example["exporter"].pop("file")
    # Of flow exporters those that [exporter] has not.
    keys = [*chain(*tables), *example["sampler"], *example["exporter"], *example["metrics"]]
    keys += ["collector_set_id", *rules.SAMPLE, *psample.SOURCE]
    assert sorted(in_page) == sorted(keys)


def test_example_has_every_key_with_its_default() -> None:
    example = example_with_every_key()
    assert set(example) == {"sampler", "exporter", "flow_exporter", "metrics", "psample"}
    (source,) = example.pop("psample")
    assert set(source) == set(psample.SOURCE)
    defaults = psample.PsampleSource(source["group"], config.MAIN)
    assert psample.PsampleSource(**source | {"exporter": config.MAIN}) == defaults
    (flow_exporter,) = example.pop("flow_exporter")
    (sample,) = flow_exporter["sample"]
    assert set(sample) == set(rules.SAMPLE)
    # It needs a probability; the interfaces are an example.
    assert FlowRule(**sample | {"interfaces": ()}) == FlowRule(probability=sample["probability"])
    # Examples, not defaults: the physical interfaces, and no collector.
    assert example["sampler"].pop("interfaces") and example["sampler"].pop("interface")
    assert example["exporter"].pop("targets")
    # Files of this host, which have no default.
    assert set(example["exporter"].pop("tls")) == set(configkeys.TLS)
    assert set(example["exporter"]["file"]) == set(configkeys.FILE)
    parsed = config.parse(example)
    # It is not served where there is no table.
    assert parsed.metrics == config.MetricsOptions(config.DEFAULT_METRICS)
    assert replace(parsed, metrics=config.MetricsOptions()) == config.Config()
    assert set(example["sampler"].pop("tunnel_ports")) == set(configkeys.TUNNEL_PORTS)
    assert set(example["sampler"]) == set(configkeys.SAMPLER) - {"interfaces"}
    assert set(example["metrics"]) == set(configkeys.METRICS)
    assert set(example["exporter"]) == set(configkeys.EXPORTER) - {"targets", "tls"}


def test_example_as_it_is_changes_nothing() -> None:
    assert config.load(EXAMPLE) == config.Config()


def test_example_is_right_with_every_line_in_force(tmp_path: Path) -> None:
    path = tmp_path / "xdpfix.toml"
    path.write_text(re.sub(r"^#(\w+ = |\[)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))
    assert config.load(path).sampler.obs_point_ids == (("eth0", 1),)
