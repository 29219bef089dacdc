"""Labels of containers: what they ask for, and the label, value and remedy of what is not taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.sources.containers.labels import Asked, AskedPort, BadLabel, asked, is_enabled, unknown


def test_all_labels() -> None:
    found = asked(
        {
            "svcdns.io/enable": "TRUE",
            "svcdns.io/namespace": "shop",
            "svcdns.io/service": "db, db-ro",
            "svcdns.io/hostname": "left",
            "svcdns.io/port": "pg=5432,metrics=9090/tcp,dns=53/udp",
            "svcdns.io/network": "backend",
            "svcdns.io/address": "192.0.2.1",
            "svcdns.io/cluster-ip": "AUTO",
            "svcdns.io/ready": "always",
            "svcdns.io/publish-not-ready": "1",
            "svcdns.io/dns-ttl": "30",
            "svcdns.io/label.tier": "backend",
            "external-dns.alpha.kubernetes.io/hostname": "db.home.arpa",
            "app": "db",
            "com.docker.compose.project": "shop",
            "maintainer": "somebody",
        }
    )
    ports = (AskedPort("pg", 5432), AskedPort("metrics", 9090), AskedPort("dns", 53, "UDP"))
    assert found == Asked(
        enable=True,
        namespace="shop",
        services=("db", "db-ro"),
        hostname="left",
        ports=ports,
        network="backend",
        address="192.0.2.1",
        cluster_ip="auto",
        ready="always",
        publish_not_ready=True,
        dns_ttl="30",
        aliases="db.home.arpa",
        labels={"app": "db", "com.docker.compose.project": "shop", "tier": "backend"},
    )


def test_one_port_without_a_name_is_the_default() -> None:
    assert asked({"svcdns.io/port": "8080"}).ports == (AskedPort("default", 8080),)
    assert asked({"svcdns.io/port": "8080,53/udp"}).ports == (
        AskedPort("tcp-8080", 8080),
        AskedPort("udp-53", 53, "UDP"),
    )
    assert asked({"svcdns.io/port": ""}).ports == ()


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("enable", "perhaps"),
        ("namespace", ""),
        ("namespace", "--"),
        ("service", "a,_"),
        ("service", ",".join(f"s{n}" for n in range(21))),
        ("hostname", "__"),
        ("port", "pg"),
        ("port", "pg=0"),
        ("port", "pg=65536"),
        ("port", "pg=5432/icmp"),
        ("port", "a-name-that-is-too-long=1"),
        ("port", "a=1,a=2"),
        ("port", "a=1,b=1"),
        ("port", "٣=1"),
        ("port", ",".join(f"p{n}={n}" for n in range(1, 35))),
        ("address", "somewhere"),
        ("address", "0.0.0.0"),
        ("address", "fe80::1%eth0"),
        ("cluster-ip", "yes"),
        ("ready", "sometimes"),
        ("publish-not-ready", "2"),
        ("dns-ttl", "3601"),
        ("dns-ttl", "-1"),
        ("label.a b", "x"),
        ("label.a", "x y"),
        ("hostname", "x" * 5000),
    ],
)
def test_a_bad_label_is_named_with_its_value_and_what_is_allowed(label: str, value: str) -> None:
    with pytest.raises(BadLabel) as refused:
        asked({f"svcdns.io/{label}": value})
    assert f"svcdns.io/{label}" in str(refused.value)
    assert repr(value[:80]) in str(refused.value)
    assert "allowed: " in str(refused.value)


def test_labels_that_nothing_reads_are_known() -> None:
    labels = {"svcdns.io/servce": "db", "svcdns.io/label.x": "y", "svcdns.io/port": "1", "other/x": ""}
    assert unknown(labels) == ["svcdns.io/servce"]


@given(st.dictionaries(
    st.sampled_from([f"svcdns.io/{word}" for word in
                     ("enable", "namespace", "service", "hostname", "port", "address", "cluster-ip", "ready",
                      "dns-ttl", "label.x", "network")]),
    st.text(max_size=30),
))  # fmt: skip
def test_any_text_is_taken_or_refused_in_words(labels: dict[str, str]) -> None:
    is_enabled(labels)
    try:
        asked(labels)
    except BadLabel as refused:
        assert "allowed: " in str(refused)
