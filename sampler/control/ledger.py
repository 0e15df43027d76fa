"""The ledger: where every selected sample and every observed packet went, and the check that both columns sum.

Pure data: the service collects the figures, `xdpfix show stats` and the tests read them.
"""

from dataclasses import dataclass, field
from typing import Any, Self

KERNEL_LOSSES = ("lost_budget", "lost_nested", "lost_unreadable", "lost_verdict")
LEFT_OUT = ("unselected", *KERNEL_LOSSES)  # of what the gates take, all that is not appended


@dataclass(frozen=True)
class ExporterLedger:
    """What became of the samples that one exporter was handed. Counts are samples, not weighted.

    received = selected + unselected
    pairs = excluded and lost ones by cause + cached + pending + exported

    A sample counts once for each selector that took it: these are the pairs, and what follows them counts pairs.

    Attributes:
        received: samples handed over.
        causes: left out, by name: excluded_bfd, excluded_own, …, lost_generation, ….
        cached: in flows that live.
        pending: in flows that ended and are not encoded yet.
        exported: in flows that were encoded.
        represented: wire packets that the counted pairs stand for.
        unselected: samples that only other exporters' selectors took.
        selected: samples that a selector of this exporter took.
        pairs: of sample and selector.

    """

    received: int
    causes: dict[str, int]
    cached: int
    pending: int
    exported: int
    represented: int
    unselected: int
    selected: int
    pairs: int

    @classmethod
    def of(cls, stats: dict[str, int]) -> Self:
        """Out of Exporter.stats()."""
        prefix = "samples_"
        return cls(
            received=stats["samples_ingested"],
            causes={
                name.removeprefix(prefix): count
                for name, count in stats.items()
                if name.startswith((prefix + "excluded_", prefix + "lost_"))
            },
            cached=stats["samples_cached"],
            pending=stats["samples_pending"],
            exported=stats["samples_exported"],
            represented=stats["packets_represented"],
            unselected=stats["samples_unselected"],
            selected=stats["samples_selected"],
            pairs=stats["samples_pairs"],
        )

    def errors(self, name: str) -> list[str]:
        """One sentence for every sum that does not come out."""
        parts = sum(self.causes.values()) + self.cached + self.pending + self.exported
        return _unequal(
            (f"exporter {name}: samples received", self.received, self.selected + self.unselected),
            (f"exporter {name}: samples by selector", self.pairs, parts),
        )


@dataclass(frozen=True)
class Ledger:
    """The samples column and the packets column of one sampler.

    Attributes:
        samples: the kernel's counters by name (bpf/state.def.h, enum kernel_counter), in samples.
        packets: the same in wire packets, unweighted.
        ring: the ring's counters: appended = received + lost + pending.
        observed: wire packets seen by the gates, exact, by (ifindex, direction).
        exporters: one column an exporter, with those before it that a reload replaced.
        absent: samples read while there was no exporter of the name, by name.

    """

    samples: dict[str, int]
    packets: dict[str, int]
    ring: dict[str, int]
    observed: dict[tuple[int, int], int]
    exporters: dict[str, ExporterLedger] = field(default_factory=dict)
    absent: dict[str, int] = field(default_factory=dict)

    def errors(self) -> list[str]:
        """One sentence for every sum that does not come out; none when the ledger is whole.

        Figures that are read while packets pass may be apart by the samples taken meanwhile.
        """
        left_out = sum(self.samples[name] for name in LEFT_OUT)
        errors = _unequal(
            ("samples selected", self.samples["selected"], self.samples["appended"] + left_out),
            ("samples appended", self.samples["appended"], self.ring["appended"]),
            (
                "samples on the ring",
                self.ring["appended"],
                self.ring["received"] + self.ring["lost"] + self.ring["pending"],
            ),
        )
        for name, exporter in self.exporters.items():
            errors += exporter.errors(name)
            handed = self.ring["received"] - self.absent.get(name, 0)
            errors += _unequal((f"exporter {name}: samples handed over", handed, exporter.received))
        return errors

    def as_dict(self) -> dict[str, Any]:
        """For the control socket: plain types, interfaces as "IFINDEX ingress|egress"."""
        return {
            "packets_observed": {
                f"{ifindex} {('ingress', 'egress')[direction]}": packets
                for (ifindex, direction), packets in sorted(self.observed.items())
            },
            "samples": dict(self.samples),
            "packets": dict(self.packets),
            "ring": dict(self.ring),
            "exporters": {
                name: {key: value for key, value in vars(exporter).items() if key != "causes"} | exporter.causes
                for name, exporter in self.exporters.items()
            },
            "errors": self.errors(),
        }


def _unequal(*sums: tuple[str, int, int]) -> list[str]:
    return [f"{what}: {total} are not {parts} accounted for" for what, total, parts in sums if total != parts]
