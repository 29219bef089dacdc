"""The configuration as a user meets it: where values come from, and the line each mistake gives."""

import json
import os
import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.config.load import load, of_spelt, spelt_options
from svcdns.config.sections import OPTIONS, Config, ConfigError, Endpoint
from svcdns.server.child_setup import VARIABLE, Handoff, take

CONTRACT = """\
cluster_domain = "cluster.local"
data = "svcdns-data"
manifests = []
strict_manifests = false
user = ""
log = "info"
containers = []

[services]
cluster_ip_ranges = ["10.96.0.0/12"]
node_port_range = "30000-32767"
load_balancer_ranges = []
kubernetes = false

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
explain_empty = true
namespaces = []
namespace_labels = ""
reverse_zones = ["in-addr.arpa", "ip6.arpa"]
advertise_addresses = []
fallthrough = ["in-addr.arpa", "ip6.arpa"]
alias_zones = []
external_dns_annotation = false
zones = "zones"
transfer_to = []
notify = []
tsig_keys = ""

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

[probes]
run = true
networks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", \
    "fc00::/7", "::1/128"]

[tap]
record = "on_demand"
sample = 16
octets = 4194304

[query_log]
path = ""
format = "json"
sample = 1
include = []
exclude = []
clients = "full"

[dnstap]
to = ""
sample = 1
include = []
exclude = []
queries = true
identity = ""

[api]
listen = "127.0.0.1:8053"
advertise_addresses = []
insecure = false
names = []
tls_cert = ""
tls_key = ""
client_ca = ""
tokens = ""
audit_log = ""
hints = true
access_log = false
grant = []

[proxy]
serve = false
engine = "auto"
node = ""
register = true
node_addresses = []
node_port_addresses = ["primary"]
local_networks = ["auto"]
external_ips = []
routes = true
hairpin = true
docker = "auto"
forwarding = "leave"
reset_removed = false
announce = []
healthz = "127.0.0.1:10256"
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
    assert sorted(keys) == sorted(option.key for option in OPTIONS.values())


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
    assert of_text(folder, "", manifests=["n.yaml"]).manifests == (folder / "work" / "n.yaml",)


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
    assert load(None, {}, {"dns.listen": [text]}).dns.listen == (expected,)


def test_zones_for_aliases_have_one_spelling(folder: Path) -> None:
    zones = of_text(folder, '[dns]\nalias_zones = ["Home.ARPA.", "lan"]\n').dns.alias_zones
    assert zones == ("home.arpa", "lan")


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
    assert of_spelt(json.loads(json.dumps(spelt_options(config)))) == config
    lifeline, counting = os.pipe()
    given = Handoff(config, lifeline, counting, worker=1)
    with given.in_memory() as handoff:
        assert take({VARIABLE: str(os.dup(handoff))}) == given
    os.close(lifeline)
    os.close(counting)


# Mistakes: where they are, of which option, and what of it; how it is said belongs to the message

SAYS_MORE = re.compile(
    r"; (allowed|write|meant|did you mean|and takes)\b|TOML: |there is no (file|user)|has no user"
)
"""After what is wrong a message says what helps."""

IN_FILE = [
    ("x = 1", "1: unknown key 'x'"),
    ("\n[dns]\nttls = 1", "3: unknown key 'ttls' in [dns]; did you mean ttl?"),
    ("ttl = 1", "1: unknown key 'ttl'; did you mean ttl in [dns]?"),
    ("[dsn]\nttl = 1", "1: unknown section [dsn]; did you mean [dns]?"),
    ("[dns]\ndata = 'x'", "2: unknown key 'data' in [dns]; did you mean data at the top of the file?"),
    ("dns = 5", "1: dns is a section"),
    ("a = ", "1: is no TOML"),
    ("[dns]\nttl = 1\nttl = 2", "3: is no TOML"),
    ("[dns]\n# why\nttl = 3601", "3: dns.ttl: 3601"),
    ("dns.ttl = -1", "1: dns.ttl: -1"),
    ('[dns]\nttl = "5"', '2: dns.ttl: "5"'),
    ("[dns]\nttl = true", "2: dns.ttl: true"),
    (f"[dns]\nttl = 0x{'f' * 5000}", "2: dns.ttl: this number is out of range"),
    (f"[dns]\npods = 0x{'f' * 5000}", "2: dns.pods: this is no text"),
    ("[dns]\nudp_size = 511", "2: dns.udp_size: 511"),
    ("[dns]\nshort_names = 1", "2: dns.short_names: 1"),
    ("[dns]\npods = 'yes'", "2: dns.pods: 'yes'"),
    ("[dns]\nlisten = '127.0.0.1:53'", '2: dns.listen: "127.0.0.1:53"'),
    ("[dns]\nlisten = []", "2: dns.listen: the list is empty"),
    ("[dns]\nlisten = ['127.0.0.1']", "2: dns.listen: '127.0.0.1'"),
    ("[dns]\nlisten = ['53']", "2: dns.listen: '53'"),
    ("[dns]\nlisten = [':53']", "2: dns.listen: ':53'"),
    ("[dns]\nlisten = ['::1:53']", "2: dns.listen: '::1:53'"),
    ("[dns]\nlisten = ['ns.example:53']", "2: dns.listen: 'ns.example'"),
    ("[dns]\nlisten = ['127.0.0.1:65536']", "2: dns.listen: port '65536' in '127.0.0.1:65536'"),
    (
        "[dns]\nlisten = ['0.0.0.0:53', '127.0.0.1:53']",
        "2: dns.listen: 0.0.0.0:53 and 127.0.0.1:53 are one place",
    ),
    ("[dns]\nreverse_zones = ['example.org']", "2: dns.reverse_zones: 'example.org'"),
    ("[dns]\nadvertise_addresses = ['0.0.0.0']", "2: dns.advertise_addresses: '0.0.0.0'"),
    ("[dns]\nadvertise_addresses = ['x']", "2: dns.advertise_addresses: 'x'"),
    ("[dns]\nfallthrough = ['a..b']", "2: dns.fallthrough: 'a..b'"),
    ("[dns]\nnotify = ['ns.example.org']", "2: dns.notify: 'ns.example.org'"),
    ("[dns]\nnotify = ['192.0.2.53:0']", "2: dns.notify: '192.0.2.53:0' has port 0"),
    ("[dns]\nnotify = ['192.0.2.53']", "2: dns.notify: 192.0.2.53:53 would be told of changes that it may"),
    (
        "[dns]\ntransfer_to = ['10.0.0.1/8']",
        "2: dns.transfer_to: '10.0.0.1/8' has bits set behind its prefix; meant: 10.0.0.0/8",
    ),
    ("[dns]\nnamespaces = ['A']", "2: dns.namespaces: 'A'"),
    ("[dns]\nnamespaces = ['a', 'a']", "2: dns.namespaces: 'a'"),
    (
        "[dns]\nnamespaces = ['a']\nnamespace_labels = 'x=y'",
        "3: dns.namespace_labels: namespaces is set too, and the",
    ),
    ("[dns]\nalias_zones = ['a..b']", "2: dns.alias_zones: 'a..b'"),
    ("[dns]\nalias_zones = ['.']", "2: dns.alias_zones: '.'"),
    ("[dns]\nalias_zones = ['*.example.com']", "2: dns.alias_zones: '*.example.com'"),
    ("[dns]\nalias_zones = ['Example.com.', 'example.com']", "2: dns.alias_zones: 'example.com'"),
    ("[dns]\nalias_zones = ['arpa']", "2: dns.alias_zones: 'arpa'"),
    ("[dns]\nalias_zones = ['10.in-addr.arpa']", "2: dns.alias_zones: '10.in-addr.arpa'"),
    ("[dns]\nalias_zones = ['localhost']", "2: dns.alias_zones: 'localhost'"),
    ("[dns]\nalias_zones = ['cluster.local']", "2: dns.alias_zones: cluster.local lies in the cluster"),
    ("[dns]\nalias_zones = ['a.cluster.local']", "2: dns.alias_zones: a.cluster.local lies in the cluster"),
    ("[dns]\nalias_zones = ['x.org', 'local']", "2: dns.alias_zones: local holds the cluster domain"),
    (
        "cluster_domain = 'home.arpa'\n[dns]\nalias_zones = ['home.arpa']",
        "3: dns.alias_zones: home.arpa lies in the cluster domain",
    ),
    ("[dns]\nexternal_dns_annotation = 1", "2: dns.external_dns_annotation: 1"),
    ("[dns]\nworkers = 257", "2: dns.workers: 257"),
    ("cluster_domain = 'a b'", "1: cluster_domain: 'a b'"),
    ("cluster_domain = ''", "1: cluster_domain: ''"),
    ("cluster_domain = '10.in-addr.arpa'", "1: cluster_domain: '10.in-addr.arpa'"),
    ("log = 'loud'", "1: log: 'loud'"),
    ("user = 'no such'", "1: user: 'no such'"),
    ("user = 'nosuchuser'", "1: user: this machine has no user 'nosuchuser'"),
    ("data = ''", "1: data: ''"),
    ("data = 'svcdns.toml'", "1: data: "),
    ("manifests = ['nosuch']", "1: manifests: there is no file or folder"),
    ("[dns]\nzones = 'svcdns.toml'", "2: dns.zones: "),
    ("[services]\ncluster_ip_ranges = []", "2: services.cluster_ip_ranges: the list is empty"),
    ("[services]\ncluster_ip_ranges = ['x']", "2: services.cluster_ip_ranges: 'x'"),
    ("[services]\ncluster_ip_ranges = ['224.0.0.0/8']", "2: services.cluster_ip_ranges: '224.0.0.0/8'"),
    ("[services]\ncluster_ip_ranges = ['10.0.0.0/31']", "2: services.cluster_ip_ranges: '10.0.0.0/31'"),
    (
        "[services]\ncluster_ip_ranges = ['10.0.0.0/8']\nload_balancer_ranges = ['10.1.0.0/16']",
        "3: services.load_balancer_ranges: 10.1.0.0/16",
    ),
    ("[services]\nnode_port_range = '3-2'", "2: services.node_port_range: '3-2'"),
    ("[services]\nnode_port_range = '0-5'", "2: services.node_port_range: '0-5'"),
    ("[forward]\nupstreams = ['example.org']", "2: forward.upstreams: 'example.org'"),
    ("[api]\nlisten = '0.0.0.0:8053'", "2: api.listen: 0.0.0.0:8053"),
    ("[api]\nlisten = '127.0.0.1:1053'", "2: api.listen: 127.0.0.1:1053"),
    ("[proxy]\nserve = true\nhealthz = '127.0.0.1:8053'", "3: proxy.healthz: 127.0.0.1:8053"),
    ("[tap]\nrecord = 'sometimes'", "2: tap.record: 'sometimes'"),
    ("[query_log]\npath = 'relative'", "2: query_log.path: 'relative'"),
    ("[query_log]\ninclude = ['slow']", "2: query_log.include: 'slow'"),
    ("[dnstap]\nto = 'tcp:127.0.0.1:0'", "2: dnstap.to: 'tcp:127.0.0.1:0'"),
    ("[dnstap]\nto = 'file:x'", "2: dnstap.to: 'file:x'"),
    ("[proxy]\nengine = 'ebpf'", "2: proxy.engine: 'ebpf'"),
    ("[proxy]\nnode = 'a b'", "2: proxy.node: 'a b'"),
    ("[proxy]\nnode_port_addresses = ['some']", "2: proxy.node_port_addresses: 'some'"),
    ("[proxy]\nexternal_ips = ['10.0.0.1/8']", "2: proxy.external_ips: '10.0.0.1/8'"),
]


@pytest.mark.parametrize(("text", "expected"), IN_FILE)
def test_a_mistake_in_the_file_names_its_line_and_what_is_allowed(
    folder: Path, text: str, expected: str
) -> None:
    line = mistake(folder, text)
    assert line.startswith(f"svcdns.toml:{expected}")
    assert SAYS_MORE.search(line)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SVCDNS_DNS_TTL", "x", "SVCDNS_DNS_TTL: 'x'"),
        ("SVCDNS_DNS_TTL", "", "SVCDNS_DNS_TTL: ''"),
        ("SVCDNS_DNS_TTL", "4000", "SVCDNS_DNS_TTL: 4000"),
        (
            "SVCDNS_DNS_SHORT_NAMES",
            "maybe",
            "SVCDNS_DNS_SHORT_NAMES: 'maybe'",
        ),
        ("SVCDNS_API_LISTEN", "[::]:80", "SVCDNS_API_LISTEN: api.listen: [::]:80"),
        ("SVCDNS_MANIFESTS", "a\rb", "SVCDNS_MANIFESTS: 'a\\rb'"),
        ("SVCDNS_DNS_LISTEN", "127.0.0.1:53,", "SVCDNS_DNS_LISTEN: ''"),
    ],
)
def test_a_mistake_in_a_variable_names_it(variable: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {variable: value}, {})
    assert str(caught.value).startswith(expected)
    assert SAYS_MORE.search(str(caught.value))


def test_a_mistake_in_a_flag_names_it(folder: Path) -> None:
    assert mistake(folder, "", api__listen="x").startswith("--api: 'x' ")
    assert mistake(folder, "", dns__workers=-1).startswith("--workers: -1 ")
    assert mistake(folder, "", manifests=["nosuch"]).startswith("--manifests: manifests: ")


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


NAMES = [option.variable for option in OPTIONS.values()]


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40) | st.integers().map(str), max_size=3))
def test_no_variable_does_more_than_be_refused(environ: dict[str, str]) -> None:
    try:
        config = load(None, environ, {})
    except ConfigError as wrong:
        assert all(len(line.splitlines()) == 1 for line in wrong.lines), wrong.lines
    else:
        assert of_spelt(json.loads(json.dumps(spelt_options(config)))) == config
