"""The fingerprint of stored answers: the same for the same settings, whatever version wrote it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from svcdns.config.load import load
from svcdns.config.sections import OPTIONS
from svcdns.registry.settings import make_settings

DEFAULT = (
    '{"cluster_domain":"cluster.local.","ranges":["10.96.0.0/12"],"servers":["127.0.0.1"],"ttl":5,'
    '"negative_ttl":5,"short_names":true,"pods":"verified","endpoint_pod_names":false,'
    '"ignore_empty_service":false,"namespaces":[],"namespace_labels":"",'
    '"reverse_zones":["in-addr.arpa","ip6.arpa"],"fallthrough":["in-addr.arpa","ip6.arpa"]}'
)
OTHER = """
cluster_domain = "Corp.Local."
[services]
cluster_ip_ranges = ["10.0.0.0/24", "fd00::/112"]
load_balancer_ranges = ["192.0.2.0/24"]
[dns]
listen = ["0.0.0.0:53", "[2001:db8::1]:53", "[::1]:5353"]
ttl = 30
negative_ttl = 10
short_names = false
pods = "disabled"
endpoint_pod_names = true
ignore_empty_service = true
namespaces = ["a", "b"]
reverse_zones = ["10.in-addr.arpa"]
fallthrough = ["."]
alias_zones = ["Home.arpa."]
udp_size = 600
"""
OTHERS = (
    '{"cluster_domain":"corp.local.","ranges":["10.0.0.0/24","fd00::/112","192.0.2.0/24"],'
    '"servers":["2001:db8::1"],"ttl":30,"negative_ttl":10,"short_names":false,"pods":"disabled",'
    '"endpoint_pod_names":true,"ignore_empty_service":true,"namespaces":["a","b"],"namespace_labels":"",'
    '"reverse_zones":["10.in-addr.arpa"],"fallthrough":["."],"alias_zones":["home.arpa"]}'
)


def fingerprint(file: Path, text: str) -> str:
    file.write_text(text)
    return make_settings(load(file, {}, {})).fingerprint().decode()


@pytest.mark.parametrize(("text", "expected"), [("", DEFAULT), (OTHER, OTHERS)])
def test_an_upgrade_makes_no_answers_anew(tmp_path: Path, text: str, expected: str) -> None:
    """It is compared with the stored octets: another order or spelling would make all answers anew."""
    assert fingerprint(tmp_path / "svcdns.toml", text) == expected


CHANGED = {
    "cluster_domain": "corp.local",
    "services.cluster_ip_ranges": ["10.0.0.0/24"],
    "services.load_balancer_ranges": ["192.0.2.0/24"],
    "dns.listen": ["127.0.0.2:1053"],
    "dns.ttl": 6,
    "dns.negative_ttl": 6,
    "dns.short_names": False,
    "dns.pods": "insecure",
    "dns.endpoint_pod_names": True,
    "dns.ignore_empty_service": True,
    "dns.namespaces": ["a"],
    "dns.namespace_labels": "team",
    "dns.reverse_zones": ["ip6.arpa"],
    "dns.advertise_addresses": ["192.0.2.53"],
    "dns.fallthrough": ["."],
    "dns.alias_zones": ["home.arpa"],
    "dns.external_dns_annotation": True,
}
"""A value, other than the default, of each option that shapes answers."""


def test_each_option_that_shapes_answers_counts(tmp_path: Path) -> None:
    assert [name for name, option in OPTIONS.items() if option.shapes_answers] == list(CHANGED)
    found = {
        name: fingerprint(tmp_path / "svcdns.toml", f"{name} = {json.dumps(value)}\n")
        for name, value in CHANGED.items()
    }
    assert len({DEFAULT, *found.values()}) == len(found) + 1, found
