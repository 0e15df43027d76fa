"""The flow cache, as Python sees exporter/native/cache.c: samples in by the batch, ended flows out."""

import functools
import ipaddress
import math
import os
import secrets
import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Self

from exporter._native import ffi, lib
from exporter.options import RAW, ExporterOptions
from exporter.selector import Selected, Selector
from exporter.transports.connection import Endpoint

NS_PER_S = 10**9
SAMPLE_SIZE = ffi.sizeof("struct sample")
KNOWN_GENERATIONS: int = lib.WEIGHT_GENERATIONS  # whose weights a cache keeps at once
# And those that it keeps for good, from this number on: of selectors that the samples themselves tell.
LASTING_GENERATIONS: int = lib.WEIGHT_LASTING
LASTING_FIRST: int = lib.WEIGHT_LASTING_FIRST


@functools.lru_cache(maxsize=4)
def weight_table(probability: Fraction, scale: Fraction = Fraction(1)) -> tuple[int, ...]:
    """Weights of samples of 0..64 packets, scale / (1 - (1 - p)**s) in 32.32 fixed point, rounded; [0] is 0."""
    taken, all_ = probability.numerator, probability.denominator
    table = [0]
    for packets in range(1, lib.WEIGHT_TABLE + 1):
        table.append(round(scale * Fraction(all_**packets, all_**packets - (all_ - taken) ** packets) * 2**32))
    return tuple(table)


def _fixed(factor: Fraction) -> int:
    """With 64 bits behind the point and 64 before; 2**64 itself, which these do not hold, is the number below."""
    return min(round(2**64 * factor), 2**128 - 1)


def _config(options: ExporterOptions) -> "ffi.CData":
    config = ffi.new("struct cache_config *")
    config.active_timeout = options.cache_active_timeout * NS_PER_S
    config.idle_timeout = options.cache_idle_timeout * NS_PER_S
    config.max_flows = options.cache_max_flows
    config.ingress = options.enable_input_sampling
    config.egress = options.enable_output_sampling
    config.full = options.profile == "full"
    return config


class Cache:
    """A flow cache with the options of one exporter. A context manager; not thread-safe.

    `seed` keys the hash: random unless a test says otherwise.
    """

    def __init__(self, options: ExporterOptions, seed: int | None = None) -> None:
        result = ffi.new("struct cache **")
        _check(lib.cache_create(result, _config(options), secrets.randbits(64) if seed is None else seed))
        self.handle = ffi.gc(result[0], lib.cache_destroy)
        self._raw = options.counts == RAW
        # Those of C, the latest last; one that is told again keeps its age.
        self._generations: dict[int, tuple[Fraction, tuple[Selector, ...]]] = {}
        self._intervals: dict[int, int] = {}  # N of now, by observation domain
        self.set_points(options.interface_obs_point_ids)

    def set_points(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Points by interface, (ifindex, observationPointId), of the main selector's flows; replaces those before."""
        points = list(pairs)
        _check(lib.cache_set_points(self.handle, ffi.new("struct cache_point[]", points), len(points)))

    def set_options(self, options: ExporterOptions) -> None:
        """Go on with these timeouts, limit, directions and counts. What is due or too much by them ends in expire().

        Another profile is another key: no flow may be left then, flush and take them before.
        """
        _check(lib.cache_set_config(self.handle, _config(options)))
        before, self._raw = self._raw, options.counts == RAW
        if self._raw != before:
            for number, (gate, selectors) in self._generations.items():
                self._tell(number, gate, selectors)

    def set_weight(self, generation: int, gate: Fraction, selectors: Sequence[Selector]) -> None:
        """Say how the samples of this generation were taken: by a gate of this probability, then by the selectors.

        A sample counts once for each selector that took it, with weight 1 / (pi(s) * thinning), where
        pi(s) = 1 - (1 - gate)**s for one of s wire packets. 1 / (2**32 - 1) <= gate <= 1. Where counts are raw, that
        is divided by N, one over the selector's probability gate * thinning: a packet that stands alone counts 1, and
        N times what is counted estimates as well as scaled counts.
        """
        if not Fraction(1, 2**32 - 1) <= gate <= 1:
            raise ValueError(f"sampling probability {gate} is out of range: take one of 1/{2**32 - 1}..1")
        self._generations[generation] = gate, tuple(selectors)
        for number in [number for number in self._generations if number < LASTING_FIRST][:-KNOWN_GENERATIONS]:
            del self._generations[number]
        self._intervals |= {item.obs_domain_id: round(1 / (gate * item.thinning)) for item in selectors}
        # Samples of older generations that are still to come count so that the N of now is right for them, too.
        for number in self._generations if self._raw else [generation]:
            self._tell(number, *self._generations[number])

    def _tell(self, generation: int, gate: Fraction, selectors: Sequence[Selector]) -> None:
        weight = ffi.new("struct weight *")
        scale = gate if self._raw else Fraction(1)
        weight.table = weight_table(gate, scale)
        weight.scale = float(scale)
        weight.log_miss = math.log1p(-float(gate)) if gate < 1 else -math.inf
        weight.generation = generation
        array = ffi.new("struct selector[]", len(selectors))
        for item, selector in zip(array, selectors, strict=True):
            interval = self._intervals[selector.obs_domain_id]
            factor = 1 / (gate * selector.thinning) / interval if self._raw else 1 / selector.thinning
            item.factor, item.factor_fraction = divmod(_fixed(factor), 2**64)
            item.unit = float(interval) if self._raw else 1.0
            item.domain = selector.obs_domain_id
            item.point = selector.obs_point_id
            item.number = lib.SELECTOR_MAIN if selector.rule is None else selector.rule
        _check(lib.cache_set_weight(self.handle, weight, array, len(selectors)))

    def selected(self) -> dict[tuple[int, int], Selected]:
        """Count by generation and Selector.id, of the generations that are known still."""
        ids = {
            (generation, lib.SELECTOR_MAIN if item.rule is None else item.rule): item.id
            for generation, (_, selectors) in self._generations.items()
            for item in selectors
        }
        stats = ffi.new("struct selector_stats[]", len(ids))
        count = lib.cache_get_selector_stats(self.handle, stats, len(ids))
        return {
            (item.generation, ids[item.generation, item.number]): Selected(
                int(item.samples),
                int(item.packets),
                float(item.packets_estimate),
                float(item.packets_variance),
                float(item.octets_estimate),
                float(item.octets_variance),
            )
            for item in stats[0:count]
        }

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Do not count the traffic of these sessions."""
        items = list(endpoints)
        array = ffi.new("struct cache_endpoint[]", len(items))
        for item, endpoint in zip(array, items, strict=True):
            source = ipaddress.ip_address(endpoint.source)
            item.src_addr = source.packed.ljust(16, b"\0")
            item.dst_addr = ipaddress.ip_address(endpoint.destination).packed.ljust(16, b"\0")
            item.src_port = int.from_bytes(endpoint.source_port.to_bytes(2, "big"), sys.byteorder)
            item.dst_port = int.from_bytes(endpoint.destination_port.to_bytes(2, "big"), sys.byteorder)
            item.ip_version = source.version
            item.protocol = endpoint.protocol
        _check(lib.cache_set_endpoints(self.handle, array, len(items)))

    def set_wall_offset(self, offset_ns: int) -> None:
        """Add this to monotonic time to make wall time, for flows that start from now on."""
        lib.cache_set_wall_offset(self.handle, offset_ns)

    def ingest(self, samples: "ffi.CData", count: int) -> None:
        """Count samples: `samples` is a struct sample *."""
        lib.cache_ingest(self.handle, samples, count)

    def inlet(self) -> tuple[int, int, int]:
        """For C of another module that has samples: the addresses of the cache, of cache_ingest() and cache_pending().

        Where flows are pending afterwards, they are to be taken. The addresses are good until close().
        """
        functions = (ffi.addressof(lib, name) for name in ("cache_ingest", "cache_pending"))
        handle, ingest, pending = (int(ffi.cast("uintptr_t", pointer)) for pointer in (self.handle, *functions))
        return handle, ingest, pending

    def expire(self, now_ns: int, limit: int) -> int:
        """End up to `limit` flows that are due; return how many."""
        return int(lib.cache_expire(self.handle, now_ns, limit))

    def due_ns(self) -> int:
        """When expire() has something to do next where no sample comes: 0: now, 2**64 - 1: never."""
        return int(lib.cache_due(self.handle))

    def flush(self, reason: int, limit: int) -> int:
        """End up to `limit` flows, the oldest first; return how many."""
        return int(lib.cache_flush(self.handle, reason, limit))

    def rewind(self) -> None:
        """Let time begin anew, from any moment on. No flow may be left: flush and take them before."""
        _check(lib.cache_rewind(self.handle))

    def pending(self) -> int:
        """Count the flows that ended and were not taken yet."""
        return int(lib.cache_pending(self.handle))

    def take(self, flows: "ffi.CData", limit: int) -> int:
        """Take up to `limit` ended flows into `flows`, a struct flow *[]; return how many."""
        return int(lib.cache_take(self.handle, flows, limit))

    def release(self, flows: "ffi.CData", count: int) -> None:
        """Give flows back."""
        lib.cache_release(self.handle, flows, count)

    def copy(self, limit: int) -> "ffi.CData":
        """Copy up to `limit` living flows, the oldest first: a struct flow[]."""
        flows = ffi.new("struct flow[]", min(limit, self.stats()["flows"]))
        lib.cache_copy(self.handle, flows, len(flows))
        return flows

    def stats(self) -> dict[str, int]:
        """Return struct cache_stats, the array `ended` spread as ended_idle, ended_active and so on."""
        stats = ffi.new("struct cache_stats *")
        lib.cache_get_stats(self.handle, stats)
        names = [name for name, _ in ffi.typeof("struct cache_stats").fields if name != "ended"]
        values = {name: int(getattr(stats, name)) for name in names}
        for reason in ("idle", "active", "detected", "forced", "resources"):
            values[f"ended_{reason}"] = int(stats.ended[getattr(lib, f"FLOW_END_{reason.upper()}")])
        return values

    def close(self) -> None:
        """Free all flows."""
        if self.handle is not None:
            ffi.release(self.handle)
            self.handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check(code: int) -> None:
    if code:
        raise OSError(-code, f"the flow cache refuses: {os.strerror(-code)}")
