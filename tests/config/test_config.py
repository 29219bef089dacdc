"""The configuration as a user meets it: where values come from, and the line each mistake gives."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.config.load import from_json, load, to_json, variable_of
from svcdns.config.options import OPTIONS
from svcdns.config.sections import Config, ConfigError, Endpoint

CONTRACT = """\
cluster_domain = "cluster.local"
data = "svcdns-data"
manifests = []
user = ""
log = "info"

[services]
cluster_ip_ranges = ["10.96.0.0/12"]
node_port_range = "30000-32767"
load_balancer_ranges = []

[dns]
listen = ["127.0.0.1:1053"]
workers = 0
ttl = 5
negative_ttl = 5
udp_size = 1232
short_names = true
pods = "verified"
endpoint_pod_names = false
ignore_empty_service = false
namespaces = []
namespace_labels = ""
reverse_zones = ["in-addr.arpa", "ip6.arpa"]
advertise_addresses = []
fallthrough = ["in-addr.arpa", "ip6.arpa"]
zones = "zones"
transfer_to = []

[forward]
upstreams = ["/etc/resolv.conf"]
policy = "sequential"
ca = ""
outstanding = 10000
outstanding_per_client = 1000
zone = []

[cache]
octets = 67108864
max_ttl = 86400
max_negative_ttl = 3600
stale = 86400

[acl]
names = ["any"]
forward = ["loopback", "private"]
transfer = []

[api]
listen = "127.0.0.1:8053"
insecure = false
names = []
tls_cert = ""
tls_key = ""
client_ca = ""
tokens = ""
grant = []
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the file, with the working directory beside it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def of_text(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> Config:
    file = folder / "etc" / "svcdns.toml"
    file.write_text(text)
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return load(file, environ or {}, dotted)


def mistake(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        of_text(folder, text, environ, **flags)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(str(folder / "etc") + "/")


# Where values come from


def test_nothing_given_gives_the_documented_defaults(folder: Path) -> None:
    config = load(None, {}, {})
    assert config.dns.listen == (Endpoint("127.0.0.1", 1053),)
    assert config.api.listen == Endpoint("127.0.0.1", 8053)
    assert config.data == folder / "work" / "svcdns-data"
    assert config.services.node_port_range == range(30000, 32768)


def test_writing_every_default_into_the_file_changes_nothing(folder: Path) -> None:
    assert of_text(folder, CONTRACT) == of_text(folder, "")


def test_every_option_stands_in_the_contract() -> None:
    keys = [line.split(" = ")[0] for line in CONTRACT.splitlines() if " = " in line]
    assert sorted(keys) == sorted(key for options in OPTIONS.values() for key in options)


def test_flags_win_over_variables_over_the_file_over_defaults(folder: Path) -> None:
    text = "[dns]\nttl = 10\nworkers = 1\nnegative_ttl = 11\n"
    environ = {"SVCDNS_DNS_TTL": "20", "SVCDNS_DNS_WORKERS": "2"}
    dns = of_text(folder, text, environ, dns__workers=3).dns
    assert (dns.workers, dns.ttl, dns.negative_ttl, dns.udp_size) == (3, 20, 11, 1232)


def test_variables_spell_lists_by_commas_and_switches_by_words(folder: Path) -> None:
    environ = {
        "SVCDNS_CLUSTER_DOMAIN": "Example.ORG.",
        "SVCDNS_SERVICES_CLUSTER_IP_RANGES": "10.0.0.0/24, fd00::/112",
        "SVCDNS_DNS_SHORT_NAMES": "false",
        "SVCDNS_FORWARD_UPSTREAMS": "",
    }
    config = load(None, environ, {})
    assert config.cluster_domain == "example.org"
    assert config.services.cluster_ip_ranges == (ip_network("10.0.0.0/24"), ip_network("fd00::/112"))
    assert config.dns.short_names is False
    assert config.forward.upstreams == ()


def test_variables_that_are_not_ours_are_ignored() -> None:
    environ = {"SVCDNS_PORT": "tcp://10.96.0.7:53", "SVCDNS_SERVICE_HOST": "10.96.0.7", "SVCDNS_X": ""}
    assert load(None, environ, {}) == load(None, {}, {})


def test_relative_paths_start_at_the_file_or_at_the_working_directory(folder: Path) -> None:
    (folder / "etc" / "m.yaml").touch()
    (folder / "work" / "n.yaml").touch()
    config = of_text(folder, 'manifests = ["m.yaml"]\n[dns]\nzones = "z"\n', {"SVCDNS_DATA": "d"})
    assert config.manifests == (folder / "etc" / "m.yaml",)
    assert config.dns.zones == folder / "etc" / "z"
    assert config.data == folder / "work" / "d"
    assert of_text(folder, "", manifests=("n.yaml",)).manifests == (folder / "work" / "n.yaml",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:53", Endpoint("127.0.0.1", 53)),
        ("[::1]:0", Endpoint("::1", 0)),
        ("[2001:DB8::0]:53", Endpoint("2001:db8::", 53)),
        ("localhost:65535", Endpoint("127.0.0.1", 65535)),
        ("0.0.0.0:53", Endpoint("0.0.0.0", 53)),
    ],
)
def test_where_to_listen(text: str, expected: Endpoint) -> None:
    assert load(None, {}, {"dns.listen": (text,)}).dns.listen == (expected,)


def test_an_exposed_api_is_fine_when_it_is_said_to_be(folder: Path) -> None:
    config = of_text(folder, '[api]\nlisten = "0.0.0.0:8053"\ninsecure = true\n')
    assert config.api.listen.host == "0.0.0.0"


def test_children_get_the_very_same_configuration(folder: Path) -> None:
    (folder / "etc" / "m").mkdir()
    text = (
        'manifests = ["m"]\n[services]\ncluster_ip_ranges = ["10.0.0.0/24", "fd00::/112"]\n'
        '[dns]\nlisten = ["[::1]:53"]\nttl = 0\nnamespaces = ["a", "b"]\nfallthrough = ["."]\n'
        'transfer_to = ["192.0.2.1"]\n'
    )
    config = of_text(folder, text)
    assert from_json(to_json(config)) == config


# Mistakes

IN_FILE = [
    ("x = 1", "svcdns.toml:1: unknown key 'x'; allowed: cluster_domain, data, manifests, user, log"),
    ("\n[dns]\nttls = 1", "svcdns.toml:3: unknown key 'ttls' in [dns]; did you mean ttl?"),
    ("ttl = 1", "svcdns.toml:1: unknown key 'ttl'; did you mean ttl in [dns]?"),
    ("[dsn]\nttl = 1", "svcdns.toml:1: unknown section [dsn]; did you mean [dns]?"),
    (
        "[dns]\ndata = 'x'",
        "svcdns.toml:2: unknown key 'data' in [dns]; did you mean data at the top of the file?",
    ),
    ("dns = 5", "svcdns.toml:1: dns is a section; write [dns] on a line of its own"),
    ("a = ", "svcdns.toml:1: is no TOML: Invalid value"),
    ("[dns]\nttl = 1\nttl = 2", "svcdns.toml:3: is no TOML: Cannot overwrite a value"),
    ("[dns]\n# why\nttl = 3601", "svcdns.toml:3: dns.ttl: 3601 is out of range; allowed: 0..3600 seconds"),
    ("dns.ttl = -1", "svcdns.toml:1: dns.ttl: -1 is out of range; allowed: 0..3600 seconds"),
    ('[dns]\nttl = "5"', 'svcdns.toml:2: dns.ttl: "5" is no whole number; write digits, without quotes'),
    ("[dns]\nttl = true", "svcdns.toml:2: dns.ttl: true is no whole number; write digits, without quotes"),
    (f"[dns]\nttl = 0x{'f' * 5000}", "svcdns.toml:2: dns.ttl: this number is out of range; allowed: 0..3600"),
    (f"[dns]\npods = 0x{'f' * 5000}", 'svcdns.toml:2: dns.pods: this is no text; write it "in quotes"'),
    ("[dns]\nudp_size = 511", "svcdns.toml:2: dns.udp_size: 511 is out of range; allowed: 512..4096 octets"),
    ("[dns]\nshort_names = 1", "dns.short_names: 1 is neither true nor false; write one of them, without"),
    ("[dns]\npods = 'yes'", "dns.pods: 'yes' is not known; allowed: verified, insecure, disabled"),
    (
        "[dns]\nlisten = '127.0.0.1:53'",
        'dns.listen: "127.0.0.1:53" is no list of texts; write ["one", "two"]',
    ),
    ("[dns]\nlisten = []", "dns.listen: the list is empty; allowed: one or more of ADDRESS:PORT"),
    ("[dns]\nlisten = ['127.0.0.1']", "dns.listen: '127.0.0.1' lacks its port; allowed: ADDRESS:PORT or"),
    ("[dns]\nlisten = ['53']", "dns.listen: '53' lacks its address; allowed: ADDRESS:PORT or"),
    ("[dns]\nlisten = [':53']", "dns.listen: ':53' lacks its address; allowed: ADDRESS:PORT or"),
    (
        "[dns]\nlisten = ['::1:53']",
        "dns.listen: '::1:53' is no place to listen; allowed: ADDRESS:PORT or [IPv6",
    ),
    ("[dns]\nlisten = ['ns.example:53']", "dns.listen: 'ns.example' is no address of this machine; allowed:"),
    ("[dns]\nlisten = ['127.0.0.1:65536']", "port '65536' in '127.0.0.1:65536' is none; allowed: 0..65535"),
    ("[dns]\nlisten = ['0.0.0.0:53', '127.0.0.1:53']", "0.0.0.0:53 and 127.0.0.1:53 are one place; allowed:"),
    (
        "[dns]\nreverse_zones = ['example.org']",
        "'example.org' is no reverse zone; allowed: in-addr.arpa, ip6",
    ),
    ("[dns]\nadvertise_addresses = ['0.0.0.0']", "'0.0.0.0' can't be reached as a server; allowed: unicast"),
    ("[dns]\nadvertise_addresses = ['x']", "dns.advertise_addresses: 'x' is no IP address; allowed: such as"),
    ("[dns]\nfallthrough = ['a..b']", "dns.fallthrough: 'a..b' is no zone name; allowed: names such as in-"),
    ("[dns]\ntransfer_to = ['10.0.0.1/8']", "'10.0.0.1/8' has bits set behind its prefix; meant: 10.0.0.0/8"),
    ("[dns]\nnamespaces = ['A']", "dns.namespaces: 'A' is no namespace; allowed: 1 to 63 lower-case letters"),
    ("[dns]\nnamespaces = ['a', 'a']", "dns.namespaces: 'a' stands in the list twice; allowed: once"),
    (
        "[dns]\nnamespaces = ['a']\nnamespace_labels = 'x=y'",
        "svcdns.toml:3: dns.namespace_labels: namespaces is",
    ),
    ("[dns]\nworkers = 257", "dns.workers: 257 is out of range; allowed: 0..256 (0 = one for each core)"),
    ("cluster_domain = 'a b'", "cluster_domain: 'a b' is no domain name: label 'a b'; allowed in a label:"),
    ("cluster_domain = ''", "cluster_domain: '' is no domain name: label ''; allowed in a label: 1 to 63"),
    (
        "cluster_domain = '10.in-addr.arpa'",
        "'10.in-addr.arpa' belongs to the reverse tree; allowed: a forward",
    ),
    ("log = 'loud'", "svcdns.toml:1: log: 'loud' is not known; allowed: debug, info, warning, error"),
    ("user = 'no such'", "user: 'no such' is no user name; allowed: a name of /etc/passwd"),
    ("user = 'nosuchuser'", "user: this machine has no user 'nosuchuser'"),
    ("data = ''", "svcdns.toml:1: data: '' is no path; allowed: the path of a file or folder"),
    ("data = 'svcdns.toml'", "svcdns.toml is a file; allowed: a folder, which is made where it is missing"),
    ("manifests = ['nosuch']", "etc/nosuch"),
    ("[dns]\nzones = 'svcdns.toml'", "svcdns.toml is a file; allowed: a folder of zone files"),
    (
        "[services]\ncluster_ip_ranges = []",
        "services.cluster_ip_ranges: the list is empty; allowed: 1 or more",
    ),
    (
        "[services]\ncluster_ip_ranges = ['x']",
        "'x' is no network; allowed: such as 10.96.0.0/12 or fd00:1::/",
    ),
    (
        "[services]\ncluster_ip_ranges = ['224.0.0.0/8']",
        "can't be given to Services; allowed: unicast networks",
    ),
    (
        "[services]\ncluster_ip_ranges = ['10.0.0.0/31']",
        "can't be given to Services; allowed: unicast networks",
    ),
    (
        "[services]\ncluster_ip_ranges = ['10.0.0.0/8']\nload_balancer_ranges = ['10.1.0.0/16']",
        "svcdns.toml:3: services.load_balancer_ranges: 10.1.0.0/16 overlaps 10.0.0.0/8 of cluster_ip_ranges;",
    ),
    (
        "[services]\nnode_port_range = '3-2'",
        "'3-2' is no range of ports; allowed: \"LOW-HIGH\" within 1-65535",
    ),
    (
        "[services]\nnode_port_range = '0-5'",
        "'0-5' is no range of ports; allowed: \"LOW-HIGH\" within 1-65535",
    ),
    (
        "[forward]\nupstreams = ['example.org']",
        "'example.org' is no upstream: 'example.org' is no address; allowed: ADDRESS[:PORT], tcp://",
    ),
    (
        "[api]\nlisten = '0.0.0.0:8053'",
        "api.listen: 0.0.0.0:8053 can be reached from other machines, and takes",
    ),
    ("[api]\nlisten = '127.0.0.1:1053'", "api.listen: 127.0.0.1:1053 is where DNS listens; allowed: another"),
]


@pytest.mark.parametrize(("text", "expected"), IN_FILE)
def test_a_mistake_in_the_file_names_its_line_and_what_is_allowed(
    folder: Path, text: str, expected: str
) -> None:
    line = mistake(folder, text)
    assert expected in line
    assert line.startswith("svcdns.toml:")


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SVCDNS_DNS_TTL", "x", "SVCDNS_DNS_TTL: 'x' is no whole number; allowed: digits"),
        ("SVCDNS_DNS_TTL", "", "SVCDNS_DNS_TTL: '' is no whole number; allowed: digits"),
        ("SVCDNS_DNS_TTL", "4000", "SVCDNS_DNS_TTL: 4000 is out of range; allowed: 0..3600 seconds"),
        (
            "SVCDNS_DNS_SHORT_NAMES",
            "maybe",
            "SVCDNS_DNS_SHORT_NAMES: 'maybe' is neither; allowed: true, false",
        ),
        ("SVCDNS_API_LISTEN", "[::]:80", "SVCDNS_API_LISTEN: api.listen: [::]:80 can be reached from other"),
        ("SVCDNS_MANIFESTS", "a\rb", "SVCDNS_MANIFESTS: 'a\\rb' is no path; allowed: the path of a file or"),
        ("SVCDNS_DNS_LISTEN", "127.0.0.1:53,", "SVCDNS_DNS_LISTEN: '' lacks its port; allowed: ADDRESS:PORT"),
    ],
)
def test_a_mistake_in_a_variable_names_it(variable: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: value}, {})
    assert str(caught.value).startswith(expected)


def test_a_mistake_in_a_flag_names_it(folder: Path) -> None:
    assert mistake(folder, "", api__listen="x").startswith("--api: 'x' lacks its port; allowed:")
    assert mistake(folder, "", dns__workers=-1).startswith("--workers: -1 is out of range; allowed: 0..256")
    assert mistake(folder, "", manifests=("nosuch",)).startswith("--manifests: manifests: there is no file")


def test_files_that_are_none(folder: Path) -> None:
    def line(file: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            load(file, {}, {})
        return str(caught.value).removeprefix(f"{folder}/")

    assert line(folder / "nosuch") == "nosuch: can't be read: no such file or directory"
    assert line(folder / "etc") == "etc: can't be read: is a directory"
    binary = folder / "binary"
    binary.write_bytes(b"log = 'info'\n\xff\xfe")
    assert line(binary) == "binary:2: is not UTF-8 text, as TOML must be"
    binary.write_bytes(b"#" * (1 << 20) + b"#")
    assert "is larger than 1048576 octets" in line(binary)
    binary.write_bytes(b"a = " + b"[" * 100_000)
    assert line(binary).startswith("binary: is no configuration: lists within lists")
    assert line(Path("/dev/zero")) == "/dev/zero: is larger than 1048576 octets, so it is no configuration"


NAMES = [variable_of(section, key) for section, options in OPTIONS.items() for key in options]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | st.integers().map(str), max_size=3))
def test_no_variable_does_more_than_be_refused(environ: dict[str, str]) -> None:
    try:
        config = load(None, environ, {})
    except ConfigError as wrong:
        assert len(str(wrong).splitlines()) == 1, str(wrong)
    else:
        assert from_json(to_json(config)) == config
