"""The configuration: every range, every kind of mistake, and that an error names key, value and what it may be."""

from dataclasses import is_dataclass
from fractions import Fraction
from pathlib import Path

import pytest

from exporter.options import ExporterOptions, Target
from sampler import config, configkeys, readers
from sampler.config import Config, Overrides
from sampler.errors import ConfigError

U32 = 2**32 - 1


def refused(document, overrides=None):
    with pytest.raises(ConfigError) as caught:
        config.parse(document, overrides)
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_empty_configuration_is_the_defaults():
    assert config.parse({}) == Config()
    assert config.parse({"sampler": {}, "exporter": {}}) == Config()


def test_defaults_pass_their_own_checks():
    for name, reader in configkeys.EXPORTER.items():
        value = getattr(ExporterOptions(), name)
        written = list(value) if isinstance(value, tuple) else {} if is_dataclass(value) else value
        assert reader(name, written) == value


RANGES = {
    "sampling": (1, U32),
    "obs_domain_id": (0, U32),
    "obs_point_id": (0, U32),
    "cache_active_timeout": (0, 4200),
    "cache_idle_timeout": (0, 4200),
    "cache_max_flows": (0, U32),
    "template_interval": (1, 3600),
    "reconnect_interval": (1, 3600),
    "stats_interval": (1, 3600),
    "message_size": (512, 65467),
}


@pytest.mark.parametrize(("key", "low", "high"), [(key, *bounds) for key, bounds in RANGES.items()])
def test_exporter_range(key, low, high):
    for right in (low, high):
        assert getattr(config.parse({"exporter": {key: right}}).exporter, key) == right
    for wrong in (low - 1, high + 1):
        message = refused({"exporter": {key: wrong}})
        assert message == f"exporter.{key} = {wrong}: must be a whole number from {low} to {high}"


@pytest.mark.parametrize("key", RANGES)
@pytest.mark.parametrize(("value", "shown"), [(True, "true"), ("1", '"1"'), (600.0, "600.0"), ([], "[]")])
def test_number_of_a_wrong_type(key, value, shown):
    assert refused({"exporter": {key: value}}).startswith(f"exporter.{key} = {shown}: must be a whole number from ")


@pytest.mark.parametrize("key", ["enable_tunnel_sampling", "enable_input_sampling", "enable_output_sampling"])
def test_switch(key):
    assert getattr(config.parse({"exporter": {key: False}}).exporter, key) is False
    assert refused({"exporter": {key: 1}}) == f"exporter.{key} = 1: must be true or false"


def test_a_command_has_defaults_of_its_own():
    defaults = {"cache_max_flows": 7, "sampling": 1}
    assert config.parse({}, defaults=defaults).exporter == ExporterOptions(cache_max_flows=7, sampling=1)
    document = {"exporter": {"cache_max_flows": 9}}
    assert config.parse(document, Overrides(sampling="3"), defaults=defaults).exporter == ExporterOptions(
        cache_max_flows=9, sampling=3
    )


def test_every_key_of_both_options_is_read_from_the_file_and_no_other():
    assert {*configkeys.EXPORTER, "interface_obs_point_ids"} == set(ExporterOptions.__dataclass_fields__)
    assert {*configkeys.SAMPLER, "obs_point_ids", "tunnel_ports"} == set(config.SamplerOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"exporter": {"samplin": 1}}, "exporter.samplin = 1: unknown key; did you mean sampling?"),
        ({"sampler": {"hok": "tc"}}, 'sampler.hok = "tc": unknown key; did you mean hook?'),
        ({"exportr": {}}, "exportr: unknown key; did you mean exporter?"),
        ({"zzz": 1}, "zzz = 1: unknown key; known are exporter, flow_exporter, metrics, psample, sampler"),
        ({"exporter": 1}, "exporter = 1: must be a table: write [exporter] on a line of its own"),
        (
            {"sampler": {"interface": {"eth0": {"obs_point": 1}}}},
            'sampler.interface."eth0".obs_point = 1: unknown key; did you mean obs_point_id?',
        ),
        (
            {"sampler": {"interface": {"eth0": {"obs_point_id": -1}}}},
            f'sampler.interface."eth0".obs_point_id = -1: must be a whole number from 0 to {U32}',
        ),
    ],
)
def test_wrong_key(document, message):
    assert refused(document) == message


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"sampler": {"hook": "xpd"}}, ["sampler.hook", '"xpd"', '"auto", "observe", "tc", "xdp", "xdp-generic"']),
        ({"sampler": {"loader": "bpf"}}, ["sampler.loader", '"libbpf", "bcc"']),
        ({"sampler": {"ring_pages": 3}}, ["sampler.ring_pages = 3", "power of two"]),
        ({"sampler": {"ring_pages": 0}}, ["sampler.ring_pages = 0", "power of two"]),
        ({"sampler": {"ring_pages": 2}}, ["sampler.ring_pages = 2", "power of two from 4 to 16384"]),
        ({"sampler": {"ring_pages": True}}, ["sampler.ring_pages = true", "power of two"]),
        ({"sampler": {"sample_budget": -1}}, ["sampler.sample_budget = -1", f"0 to {U32}"]),
        ({"sampler": {"control_socket": "a"}}, ["sampler.control_socket", "absolute path"]),
        ({"sampler": {"control_socket": "/" + 107 * "a"}}, ["at most 107 bytes"]),
        ({"sampler": {"control_socket": "/run/\0"}}, ["sampler.control_socket", "absolute path"]),
        ({"sampler": {"interfaces": "eth0"}}, ['sampler.interfaces = "eth0"', "list"]),
        ({"sampler": {"interfaces": ["eth 0"]}}, ['"eth 0"', "without space"]),
        ({"sampler": {"interfaces": ["eth\0"]}}, ["sampler.interfaces", "without space"]),
        ({"sampler": {"control_socket": "/a\0b"}}, ["sampler.control_socket", "absolute path"]),
        ({"exporter": {"targets": ["192.0.2.1:" + 5000 * "9"]}}, ["the port must be a number from 1 to 65535"]),
        ({"sampler": {"interfaces": [""]}}, ["1 to 64"]),
        ({"exporter": {"profile": "netflow"}}, ['exporter.profile = "netflow"', '"full", "ovs"']),
        ({"exporter": {"counts": "half"}}, ['exporter.counts = "half"', '"scaled", "raw"']),
        ({"exporter": {"counts": 1}}, ["exporter.counts = 1", '"scaled"']),
        ({"sampler": {"tunnel_ports": 1}}, ["sampler.tunnel_ports = 1", "must be a table"]),
        ({"sampler": {"tunnel_ports": {"vxlan": 4789}}}, ["sampler.tunnel_ports.vxlan = 4789", "list of ports"]),
        ({"sampler": {"tunnel_ports": {"stt": [0]}}}, ["sampler.tunnel_ports.stt = 0", "1 to 65535"]),
        ({"sampler": {"tunnel_ports": {"lisp": [True]}}}, ["sampler.tunnel_ports.lisp = true", "1 to 65535"]),
        ({"sampler": {"tunnel_ports": {"gre": [47]}}}, ["sampler.tunnel_ports.gre", "geneve"]),
        (
            {"sampler": {"tunnel_ports": {"vxlan": [4789, 6081]}}},
            ["vxlan = [4789, 6081]", "geneve = [6081]", "take 6081 out of one of them"],
        ),
        ({"exporter": {"targets_mode": "all"}}, ["exporter.targets_mode", '"replicate", "failover", "balance"']),
        ({"exporter": {"tls": []}}, ["exporter.tls = []", "write [exporter.tls] on a line"]),
        ({"exporter": {"tls": {"cert": "/a"}}}, ["exporter.tls.cert", "unknown key", "certificate"]),
        ({"exporter": {"tls": {"key": "key.pem"}}}, ['exporter.tls.key = "key.pem"', "absolute path"]),
        ({"exporter": {"tls": {"server_name": "a:1"}}}, ['exporter.tls.server_name = "a:1"', "without a port"]),
        ({"exporter": {"tls": {"fingerprints": ["ab"]}}}, ['"ab"', "64 hexadecimal digits", "openssl x509"]),
        ({"exporter": {"file": {"keep": -1}}}, ["exporter.file.keep = -1", "from 0 to"]),
    ],
)
def test_wrong_value_names_the_key_and_the_way_out(document, names):
    message = refused(document)
    for name in names:
        assert name in message


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("192.0.2.1", Target("192.0.2.1", 4739)),
        ("192.0.2.1:2055", Target("192.0.2.1", 2055)),
        ("[2001:db8::1]", Target("2001:db8::1", 4739)),
        ("[2001:db8::1]:65535", Target("2001:db8::1", 65535)),
        ("[fe80::1%eth0]:1", Target("fe80::1%eth0", 1)),
        ("collector.example.net", Target("collector.example.net", 4739)),
        ("collector:9995", Target("collector", 9995)),
        ("udp://collector", Target("collector", 4739)),
        ("tcp://192.0.2.1", Target("192.0.2.1", 4739, "tcp")),
        ("TLS://collector.example.net", Target("collector.example.net", 4740, "tls")),
        ("dtls://[2001:db8::1]", Target("2001:db8::1", 4740, "dtls")),
        ("sctp://[2001:db8::1]:9", Target("2001:db8::1", 9, "sctp")),
        ("file:///var/lib/xdpfix/flows.ipfix", Target("", 0, "file", "/var/lib/xdpfix/flows.ipfix")),
        ("file:///a//b/../c", Target("", 0, "file", "/a/c")),
    ],
)
def test_target(text, target):
    assert config.parse({"exporter": {"targets": [text]}}).exporter.targets == (target,)
    # What is shown can be written.
    assert config.parse({"exporter": {"targets": [str(target)]}}).exporter.targets == (target,)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("2001:db8::1", 'write "[2001:db8::1]:4739"'),
        ("a:b:c", "must be HOST:PORT"),
        ("192.0.2.1:0", "port must be a number from 1 to 65535"),
        ("192.0.2.1:65536", "port must be a number from 1 to 65535"),
        ("192.0.2.1:", "port must be a number from 1 to 65535"),
        ("192.0.2.1:" + "9" * 5000, "port must be a number from 1 to 65535"),
        ("192.0.2.1:+1", "port must be a number from 1 to 65535"),
        ("[2001:db8::1]x", "may only be :PORT"),
        ("[2001:db8::1", "must be an IPv6 address"),
        ("[192.0.2.1]:1", "must be an IPv6 address"),
        ("192.0.2.256", "is no IPv4 address"),
        ("", "neither a host name nor an address"),
        (":4739", "neither a host name nor an address"),
        ("a b", "neither a host name nor an address"),
        ("-a", "neither a host name nor an address"),
        (4739, "must be a string HOST:PORT"),
        ("http://192.0.2.1", '"http://" is unknown: write one of udp://, tcp://, tls://, dtls://, sctp://, file://'),
        ("tcp://", "neither a host name nor an address"),
        ("tcp://192.0.2.1:0", "port must be a number from 1 to 65535"),
        ("tls://2001:db8::1", 'write "[2001:db8::1]:4740"'),
        ("tcp://192.0.2.1/", "neither a host name nor an address"),
        ("file://flows.ipfix", "such as file:///var/lib/xdpfix/flows.ipfix"),
        ("file:///var/lib/xdpfix/", "the path is a folder"),
        ("file:///", "the path is a folder"),
        ("file:///" + "a" * 4000, "absolute path"),
    ],
)
def test_bad_target(value, reason):
    message = refused({"exporter": {"targets": [value]}})
    assert message.startswith(f"exporter.targets = {readers.shown(value)}: ")
    assert reason in message


def test_what_a_secure_target_needs_is_looked_at_when_the_file_is_read(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^exporter\.tls\.certificate is missing: targets of tls://"):
        config.load(None, Overrides(targets=["tls://192.0.2.1"]))
    path = tmp_path / "xdpfix.toml"
    path.write_text(
        '[exporter]\ntargets = ["dtls://192.0.2.1"]\n'
        '[exporter.tls]\ncertificate = "/nowhere/a.pem"\nkey = "/nowhere/a.key"\n'
    )
    with pytest.raises(ConfigError, match=r'^exporter\.tls\.certificate = "/nowhere/a\.pem": No such file'):
        config.load(path)
    path.write_text('[[flow_exporter]]\ncollector_set_id = 7\ntargets = ["tls://192.0.2.1"]\n')
    with pytest.raises(ConfigError, match=r"^flow_exporter 7\.tls\.certificate is missing"):
        config.load(path)


def test_two_exporters_do_not_write_one_file(tmp_path: Path):
    path = tmp_path / "xdpfix.toml"
    path.write_text(
        '[exporter]\ntargets = ["file:///var/lib/xdpfix/a"]\n'
        '[[flow_exporter]]\ncollector_set_id = 1\ntargets = ["file:///var/lib/xdpfix/a"]\n'
    )
    with pytest.raises(ConfigError, match=r"a target of main and of .*: name another file for one"):
        config.load(path)


def test_the_same_target_twice_gets_each_record_once():
    assert len(config.parse({"exporter": {"targets": ["192.0.2.1", "192.0.2.1:4739"]}}).exporter.targets) == 1


def test_overrides_win_over_the_file_and_pass_the_same_checks():
    document = {"sampler": {"interfaces": ["eth0"]}, "exporter": {"sampling": 10, "targets": ["192.0.2.9"]}}
    overridden = config.parse(document, Overrides(["vnet*"], ["192.0.2.1"], "7"))
    assert overridden.sampler.interfaces == ("vnet*",)
    assert overridden.exporter.targets == (Target("192.0.2.1"),)
    assert Fraction(1, overridden.exporter.sampling) == Fraction(1, 7)
    assert config.parse(document, Overrides()) == config.parse(document)
    assert refused({}, Overrides(sampling="0")) == f"--sampling = 0: must be a whole number from 1 to {U32}"
    assert refused({}, Overrides(sampling="1/4")).startswith('--sampling = "1/4": must be a whole number')
    assert refused({}, Overrides(targets=["::1"])).startswith('--target = "::1": an IPv6 address goes in brackets')
    assert refused({}, Overrides(interfaces=["a/b"])).startswith('--interface = "a/b"')
    assert refused({}, Overrides(sampling="9" * 5000)).startswith('--sampling = "999')
    assert refused({}, Overrides(control_socket=Path("/" + "a" * 108))).startswith('--socket = "/aaa')
    assert config.parse({}, Overrides(control_socket=Path("a"))).sampler.control_socket == Path.cwd() / "a"


def test_interface_tables():
    document = {"sampler": {"interface": {"eth0": {"obs_point_id": 7}, "vnet0": {"obs_point_id": 0}}}}
    assert config.parse(document).sampler.obs_point_ids == (("eth0", 7), ("vnet0", 0))


def test_metrics_are_served_on_loopback_where_there_is_a_table():
    assert config.parse({}).metrics.listen == ""
    assert config.parse({"metrics": {}}).metrics.listen == "127.0.0.1:9477"
    assert config.parse({"metrics": {"listen": ""}}).metrics.listen == ""


@pytest.mark.parametrize(
    ("value", "listen"),
    [
        ("", ""),
        ("127.0.0.1:9477", "127.0.0.1:9477"),
        ("192.0.2.1", "192.0.2.1:9477"),
        ("[::1]:80", "[::1]:80"),
        ("[2001:DB8:0::1]", "[2001:db8::1]:9477"),
    ],
)
def test_where_metrics_are_listened_for(value: str, listen: str):
    assert config.parse({"metrics": {"listen": value}}).metrics.listen == listen


@pytest.mark.parametrize(
    "value",
    [1, True, [], "localhost:9477", "::1", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:", "1.2.3:4", "[1.2.3.4]"],
)
def test_where_metrics_cannot_be_listened_for(value: object):
    assert "must be an address and port of this host" in refused({"metrics": {"listen": value}})


def test_file(tmp_path: Path):
    path = tmp_path / "xdpfix.toml"
    path.write_text('[exporter]\nsampling = 5\n[sampler.interface."eth0"]\nobs_point_id = 3\n')
    loaded = config.load(path)
    assert (loaded.exporter.sampling, loaded.sampler.obs_point_ids) == (5, (("eth0", 3),))
    assert config.load(None) == Config()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[exporter]\nsampling = \n", "line 2"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"[exporter]\nsampling = 0\n", "exporter.sampling = 0"),
        (b"\xff", "not UTF-8"),
        (b"a = " + b"9" * 5000, "Exceeds the limit (4300 digits)"),
        (b"a = " + b"[" * 100_000, "maximum recursion depth"),
    ],
)
def test_an_error_in_a_file_names_the_file(tmp_path: Path, content, reason):
    path = tmp_path / "xdpfix.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert reason in str(caught.value)


def test_no_such_file(tmp_path: Path):
    with pytest.raises(ConfigError, match="No such file or directory; name another file with --config"):
        config.load(tmp_path / "none.toml")


def test_a_sampling_of_more_digits_than_python_reads():
    assert "must be a whole number" in refused({}, Overrides(sampling=5000 * "9"))


def test_tunnel_ports_take_the_place_of_their_kinds_default():
    document = {"sampler": {"tunnel_ports": {"vxlan": [4789, 4789, 9], "geneve": [], "stt": [4789]}}}
    ports = config.parse(document).sampler.tunnel_ports
    assert (ports.vxlan, ports.geneve, ports.lisp, ports.stt) == ((4789, 9), (), (4341,), (4789,))


def test_virtual_obs_id_fits_its_length_octet():
    for value in ("", "router-7", "ä" * 127):
        assert config.parse({"exporter": {"virtual_obs_id": value}}).exporter.virtual_obs_id == value
    for value in ("x" * 255, "ä" * 128, 7):
        assert "exporter.virtual_obs_id = " in refused({"exporter": {"virtual_obs_id": value}})
