"""The configuration as a user meets it: where values come from."""

import json
import os
from ipaddress import ip_network
from pathlib import Path

import pytest
from config.config_files import of_text

from svcdns.config.load import load, of_spelt, spelt_options
from svcdns.config.sections import OPTIONS, Endpoint
from svcdns.server.child_setup import VARIABLE, Handoff, take

CONTRACT = """\
cluster_domain = "cluster.local"
data = "svcdns-data"
manifests = []
strict_manifests = false
user = ""
log = "info"
containers = []

[store]
etcd = []
etcd_prefix = "/svcdns/"
etcd_ca = ""
etcd_certificate = ""
etcd_key = ""
etcd_user = ""
etcd_password_file = ""

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
catalog_zone = ""
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

[console]
enabled = true
idle = 43200

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
upstreams = true
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
