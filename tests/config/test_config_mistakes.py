"""The line that each mistake in a configuration gives: where it is, of which option, and what of it.

How it is said belongs to the message.
"""

import json
import re
from pathlib import Path

import pytest
from config.config_files import mistake
from hypothesis import given
from hypothesis import strategies as st

from svcdns.config.load import load, of_spelt, spelt_options
from svcdns.config.sections import OPTIONS, ConfigError

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
    ("[store]\netcd = ['127.0.0.1:2379']", "2: store.etcd: '127.0.0.1:2379'"),
    ("[store]\netcd = ['ftp://127.0.0.1:2379']", "2: store.etcd: 'ftp://127.0.0.1:2379'"),
    ("[store]\netcd = ['http://127.0.0.1']", "2: store.etcd: 'http://127.0.0.1' has no port"),
    ("[store]\netcd = ['http://[::1']", "2: store.etcd: 'http://[::1' is no URL"),
    ("[store]\netcd = ['http://127.0.0.1:70000']", "2: store.etcd: 'http://127.0.0.1:70000' is no URL"),
    (
        "[store]\netcd = ['http://u@127.0.0.1:1']",
        "2: store.etcd: 'http://u@127.0.0.1:1' has no port, or more",
    ),
    (
        "[store]\netcd = ['http://127.0.0.1:1/v3']",
        "2: store.etcd: 'http://127.0.0.1:1/v3' has no port, or more",
    ),
    ("[store]\netcd = ['http://a:1', 'https://b:1']", "2: store.etcd: some members are https, some http"),
    ("[store]\netcd_prefix = 'svcdns'", "2: store.etcd_prefix: 'svcdns'"),
    ("[store]\netcd_timeout_ms = 99", "2: store.etcd_timeout_ms: 99"),
    ("[store]\netcd_prefix = '/'", "2: store.etcd_prefix: '/'"),
    (
        "[store]\netcd = ['http://a:1']\netcd_ca = 'ca.pem'",
        "3: store.etcd_ca: the members are reached without",
    ),
    ("[store]\netcd = ['https://a:1']\netcd_key = 'k'", "3: store.etcd_key: it goes with etcd_certificate"),
    ("[store]\netcd = ['http://a:1']\netcd_password_file = 'p'", "3: store.etcd_password_file: it goes with"),
    ("[dns]\nreverse_zones = ['example.org']", "2: dns.reverse_zones: 'example.org'"),
    ("[dns]\nadvertise_addresses = ['0.0.0.0']", "2: dns.advertise_addresses: '0.0.0.0'"),
    ("[dns]\nadvertise_addresses = ['x']", "2: dns.advertise_addresses: 'x'"),
    ("[dns]\nfallthrough = ['a..b']", "2: dns.fallthrough: 'a..b'"),
    ("[dns]\ncatalog_zone = 'a..b'", "2: dns.catalog_zone: 'a..b'"),
    ("[dns]\ncatalog_zone = 'c.cluster.local'", "2: dns.catalog_zone: c.cluster.local lies in a zone of the"),
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
