"""The options of one exporter, under the names, ranges and meanings that OVS gives them.

Pure data: sampler.config reads it from TOML, exporter.exporter acts on it.
"""

from dataclasses import dataclass

DEFAULT_PORT = 4739  # RFC 7011 section 10.3.4
UINT32_MAX = 2**32 - 1


@dataclass(frozen=True)
class Target:
    """A collector's address as the user wrote it: host name, IPv4 or IPv6 address, and UDP port."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        """HOST:PORT, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ExporterOptions:
    """What an exporter is told. Times in seconds. Ranges are OVS's (ovs-vswitchd.conf.db(5), table IPFIX).

    Attributes:
        targets: the collectors; each gets every record.
        sampling: one packet in this many is taken, 1..2**32-1.
        obs_domain_id: observationDomainId of the message header, 0..2**32-1.
        obs_point_id: observationPointId (138) of every record, 0..2**32-1.
        interface_obs_point_ids: pairs (ifindex, observationPointId) that override obs_point_id.
        cache_active_timeout: 0..4200; 0 means no cache.
        cache_idle_timeout: 0..4200; 0 means flows end by the active timeout only.
        cache_max_flows: 0..2**32-1; 0 means no cache.
        template_interval: 1..3600.
        stats_interval: of statistics and reports in options data: 1..3600.
        options_data: send all options data; False: samplingInterval (34) alone.
        announce_selector: tell the sampling probability (311) too, which no collector is to multiply by.
        message_size: largest IPFIX message in octets, header included: 512..65467; the path MTU lowers it.
        profile: "full" or "ovs".
        counts: "scaled" (counters multiplied by the weight, samplingInterval = 1).

    """

    targets: tuple[Target, ...] = ()
    sampling: int = 400
    obs_domain_id: int = 0
    obs_point_id: int = 0
    interface_obs_point_ids: tuple[tuple[int, int], ...] = ()
    cache_active_timeout: int = 60
    cache_idle_timeout: int = 15
    cache_max_flows: int = 65536
    template_interval: int = 600
    stats_interval: int = 600
    enable_tunnel_sampling: bool = True
    enable_input_sampling: bool = True
    enable_output_sampling: bool = True
    message_size: int = 1400
    profile: str = "full"
    counts: str = "scaled"
    options_data: bool = True
    announce_selector: bool = True
