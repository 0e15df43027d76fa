"""An exporter that a reload takes away gets all that was sampled for it, up to the last program that ran for it."""

from types import SimpleNamespace

import pytest

from exporter.options import ExporterOptions, Target
from lib.frames import FRAMES
from lib.receiver import Receiver
from lib.testrun import Kernel
from sampler.config import Config
from sampler.daemon.datapath import Datapath
from sampler.daemon.exporters import Exporters
from sampler.daemon.linktable import LinkTable
from sampler.daemon.observation import Observation
from sampler.kernel.ring import Ring
from sampler.rules.rule import FlowExporter, FlowRule

PACKETS = 5


def test_samples_of_programs_that_still_ran_reach_the_exporter_that_leaves(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They went by the old selection, and are on the ring when these have ended: the exporter leaves behind that."""
    with Receiver() as receiver, Ring(kernel.maps, 8) as ring:
        options = ExporterOptions(targets=(receiver.target,))
        before = Config(has_main=False, flow_exporters=(FlowExporter(1, options, (FlowRule("tcp"),)),))
        exporters = Exporters(lambda: Target("192.0.2.1"))
        # Its thread does not run: the ring is read when one of the steps says so, and never else.
        exporters.run_on(Datapath(ring, exporters.sinks, exporters.flush))
        # No link comes: nothing is attached.
        links, attacher = SimpleNamespace(table=LinkTable()), SimpleNamespace(own_xdp=0)
        tunnels = SimpleNamespace(set_links=id, set_ports=id, table=SimpleNamespace(port_types=b""))
        psample = SimpleNamespace(set_links=lambda *_: None)
        observation = Observation(before, links, attacher, kernel.gates, tunnels, exporters, psample)  # type: ignore[arg-type]
        exporters.join(exporters.make(before.exporters), {})
        observation.update()
        wait_programs = kernel.maps.wait_programs

        def end() -> None:
            """Until now, programs were between their look at the selection and the end of their packet."""
            number = kernel.maps.selection
            kernel.maps.select(number - 1)
            kernel.run("sample_tc_ingress", FRAMES["ipv4 tcp"], repeat=PACKETS)
            kernel.maps.select(number)
            wait_programs()

        monkeypatch.setattr(kernel.maps, "wait_programs", end)
        observation.configure(Config(has_main=False))
        exporters.leave(["collector-set-1"])
        receiver.read()
        (record,) = receiver.oracle.records
        assert (record["packetDeltaCount"], record["flowEndReason"]) == (PACKETS, 4)
        assert [counted.samples for counted in exporters.selected().values()] == [PACKETS]
