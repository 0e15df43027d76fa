"""The options of one exporter, under the names, ranges and meanings that OVS gives them.

Pure data: sampler.config reads it from TOML, exporter.exporter acts on it.
"""

from dataclasses import dataclass, field

PROFILES = ("full", "ovs")  # see profiles.py
SCALED, RAW = COUNTS = ("scaled", "raw")

DEFAULT_PORT = 4739  # RFC 7011 section 10.1
DEFAULT_SECURE_PORT = 4740  # the same, for TLS and DTLS
UINT32_MAX = 2**32 - 1

# Octets of message_size. Each record and template fits the smallest with its headers, and no path of today is narrower;
# the largest is what UDP takes behind an IPv4 header with options.
SMALLEST_MESSAGE, LARGEST_MESSAGE = 512, 65535 - 60 - 8

UDP, TCP, TLS, DTLS, SCTP, FILE = TRANSPORTS = ("udp", "tcp", "tls", "dtls", "sctp", "file")
SECURE = (TLS, DTLS)
DEFAULT_PORTS = {UDP: DEFAULT_PORT, TCP: DEFAULT_PORT, TLS: DEFAULT_SECURE_PORT, DTLS: DEFAULT_SECURE_PORT}
DEFAULT_PORTS |= {SCTP: DEFAULT_PORT, FILE: 0}

REPLICATE, FAILOVER, BALANCE = TARGETS_MODES = ("replicate", "failover", "balance")


@dataclass(frozen=True)
class Target:
    """Where records go.

    Attributes:
        host: name, IPv4 or IPv6 address as the user wrote it; empty for a file.
        port: of the transport; 0 for a file.
        transport: one of TRANSPORTS.
        path: absolute, of a file; else empty.

    """

    host: str
    port: int = DEFAULT_PORT
    transport: str = UDP
    path: str = ""

    def __str__(self) -> str:
        """HOST:PORT for UDP, else as a URL; brackets around an IPv6 address."""
        if self.transport == FILE:
            return f"file://{self.path}"
        host = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return host if self.transport == UDP else f"{self.transport}://{host}"


@dataclass(frozen=True)
class TlsOptions:
    """Who we are and whom we trust, for TLS and DTLS. Paths of PEM files; empty where not given.

    Attributes:
        ca_file: certificates of the authorities that a collector's certificate must come from; else the system's.
        certificate: ours, with the intermediate ones behind it.
        key: its private key, without a passphrase.
        server_name: name or address that the collector's certificate must be for; else the target's host.
        fingerprints: SHA-256 of the collectors' certificates that are allowed, 64 hexadecimal digits; empty: all.

    """

    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileOptions:
    """When a file is closed and another one begun. 0: never, and for `keep`: none is removed.

    Attributes:
        rotate_size: octets.
        rotate_interval: seconds.
        keep: closed files that stay; the oldest beyond are removed.

    """

    rotate_size: int = 64 << 20
    rotate_interval: int = 3600
    keep: int = 100


@dataclass(frozen=True)
class ExporterOptions:
    """What an exporter is told. Times in seconds. Ranges are OVS's (ovs-vswitchd.conf.db(5), table IPFIX).

    Attributes:
        targets: the collectors.
        targets_mode: who gets a record: "replicate" all of them, "failover" the first that works, "balance" one by the
            flow's hash.
        reconnect_interval: least seconds between attempts at a connection, 1..3600; UDP and files have their own.
        tls: for targets of TLS and DTLS.
        file: for targets that are files.
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
        profile: one of PROFILES.
        virtual_obs_id: virtualObsID (6876:898) of every record, 1..254 octets of UTF-8; "": there is none.
        counts: SCALED (counters multiplied by the weight, samplingInterval = 1), or RAW (collectors multiply by
            samplingInterval = N, which must be the same whole number for all of an observation domain).

    """

    targets: tuple[Target, ...] = ()
    targets_mode: str = REPLICATE
    reconnect_interval: int = 60
    tls: TlsOptions = field(default_factory=TlsOptions)
    file: FileOptions = field(default_factory=FileOptions)
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
    counts: str = SCALED
    virtual_obs_id: str = ""
    options_data: bool = True
    announce_selector: bool = True
