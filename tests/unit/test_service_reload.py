"""A reload that cannot be done leaves the service as it is, and the log says so."""

import sys
from types import SimpleNamespace

import pytest

from exporter.options import ExporterOptions, Target
from sampler.config import Config
from sampler.daemon.service import Service
from sampler.errors import StartError


@pytest.mark.parametrize(
    "before",
    [Config(exporter=ExporterOptions(targets=(Target("127.0.0.1", 4739),))), Config(has_main=False)],
    ids=["another target", "no exporter"],
)
def test_a_reload_that_cannot_import_what_it_needs_changes_nothing(
    before: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as the embedded collector's table, long after the start."""
    monkeypatch.setitem(sys.modules, "sampler.collector.collect", None)
    service = Service(before, Config)
    service._gates = SimpleNamespace(counters=lambda: ({}, {}))  # type: ignore[assignment]
    service._observation = SimpleNamespace(  # type: ignore[assignment]
        check=lambda _: None, tell_metering=lambda _: None, points=SimpleNamespace(links=[])
    )
    with pytest.raises(StartError, match=r"an exporter cannot be made: .*sampler\.collector\.collect.*install it"):
        service.reload()
    assert "configuration not reloaded, the one before stays" in caplog.text
    assert service._config is before
