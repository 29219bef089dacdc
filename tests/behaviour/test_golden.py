"""Stored answers know which rules made them: the same objects give the same rows for as long as RULES stands.

The rows of a fixed set of objects are hashed, once for each set of options that shapes rows.  SOA serials
are clock time and left out.  See svcdns/registry/answer_tables.py for what RULES does at a start.
"""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from behaviour.cluster_harness import ClusterHarness, Z
from behaviour.objects import endpoint, endpoint_slice, external, headless, namespace, pod, port, service

from svcdns.names.packed import LAYOUT, sections
from svcdns.registry.answer_tables import current_table
from svcdns.registry.settings import RULES
from svcdns.wire.key import text_of_key

GOLDEN_RULES = (2, 3)
"""LAYOUT and RULES that the hashes below are of."""
GOLDEN = {
    "default": "28cbdd4389d261952348181fa7f054cb",
    "options": "85b2a995c0550a0504b3169080db345c",
    "insecure": "9a6cec46013476f57d96d2f85d6fce87",
    "aliases": "59c36d12664d6e07d99718ad898c7271",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "options": {
        "ttl": 30,
        "negative_ttl": 10,
        "pods": "disabled",
        "endpoint_pod_names": True,
        "ignore_empty_service": True,
        "namespaces": ("default", "team"),
        "reverse_zones": ("10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"),
        "advertise_addresses": ("192.0.2.53", "2001:db8::53"),
    },
    "insecure": {"pods": "insecure", "namespace_labels": "team", "ttl": 0},
    "aliases": {"alias_zones": ("home.arpa",), "external_dns_annotation": True},
}
NOT_RAISED = """
The same objects give other rows than before ({changed}), and RULES is as it was.

* Not meant: compare {dump} with what this test writes on an older checkout.
* Meant: raise RULES in svcdns/registry/settings.py by one, or servers that are updated go on answering from
  rows of the old rules.  Run this test again: it says what to write here.
"""
RAISED = """
RULES or LAYOUT was raised.  In this file, set GOLDEN_RULES to {rules} and GOLDEN to
{found}
"""

_SERIAL_FROM_END = 20


def objects() -> list[Any]:
    """Everything that shapes rows, with fixed names and addresses: uids and times shape none."""
    two = [port(53, "dns", "UDP"), port(53, "dns-tcp")]
    dual = {"ipFamilyPolicy": "RequireDualStack"}
    return [
        namespace("team", team="a"),
        namespace("empty"),
        service("web", clusterIP="10.96.0.10"),
        service("dual", clusterIPs=["10.96.0.20", "fd00:96::20"], ports=two, **dual),
        service("six", clusterIPs=["fd00:96::6"], ipFamilies=["IPv6"], ports=[{"port": 80}]),
        service(
            "slow", clusterIP="10.96.0.30", ns="team", notes={"svcdns.io/dns-ttl": "600"}, type="NodePort"
        ),
        external("ext", "www.example.org"),
        external("number", "192.0.2.1"),
        headless("db", ports=[port(5432, "pg"), port(8008, "http")], ns="team", **dual),
        headless("open", publishNotReadyAddresses=True),
        headless("idle"),
        headless("own", selector={}, **dual),
        headless("portless", ports=[]),
        pod("web-a", "10.1.0.1", app="web"),
        pod("web-b", "10.1.0.2", app="web", ready=False),
        pod("slow-a", "10.1.0.3", app="slow", ns="team"),
        pod("db-0", "10.2.0.1", "2001:db8::1", app="db", ns="team", hostname="db-0", subdomain="db"),
        pod("db-1", "10.2.0.2", "2001:db8:0:1::", app="db", ns="team"),
        pod("open-a", "10.3.0.1", app="open", ready=False),
        pod("portless-a", "10.3.0.2", app="portless"),
        pod("done", "10.3.0.3", phase="Succeeded"),
        endpoint_slice(
            "own-1",
            "own",
            endpoint("10.4.0.1", hostname="same"),
            endpoint("10.4.0.2", hostname="same"),
            ports=two,
        ),
        endpoint_slice(
            "own-2", "own", endpoint("10.4.0.2"), endpoint("10.4.0.3", ready=False), ports=[port(80)]
        ),
        endpoint_slice("own-3", "own", endpoint("2001:db8::7", "2001:db8::8", pod="somebody"), ports=two),
        endpoint_slice("own-4", "own", endpoint("10.96.0.10"), ports=[port(80, "http")]),
    ]


def aliased() -> list[Any]:
    """What has rows where the configuration lets it; elsewhere its own name is all."""
    hostnames = {"external-dns.alpha.kubernetes.io/hostname": "*.x.home.arpa,y.home.arpa"}
    return [
        service("named", clusterIP="10.96.0.40", notes={**hostnames, "svcdns.io/ptr": "alias"}),
        headless("many", notes={"svcdns.io/aliases": "many.home.arpa", "svcdns.io/ptr": "alias"}),
        pod("many-a", "10.3.0.4", app="many"),
    ]


def rows_of(world: ClusterHarness) -> list[tuple[bytes, bytes]]:
    """Every stored row, the serials in SOAs set to zero."""
    store = world.registry.store
    with store.read() as txn, txn.cursor(db=current_table(store, txn)) as cursor:
        return [(bytes(key), without_serial(bytes(row))) for key, row in cursor]


def without_serial(row: bytes) -> bytes:
    for section in sections(row):
        if section.type in (0, 6):  # the SOA of negative answers, and the SOA
            at = row.index(section.answers) + len(section.answers) - _SERIAL_FROM_END
            row = row[:at] + bytes(4) + row[at + 4 :]
    return row


def digest(rows: list[tuple[bytes, bytes]]) -> str:
    octets = b"".join(len(part).to_bytes(4) + part for row in rows for part in row)
    return hashlib.sha256(octets).hexdigest()[:32]


@pytest.mark.row("O5")
def test_rows_are_those_of_the_rules(new_world: Any, tmp_path: Path) -> None:
    found, dump = {}, tmp_path / "rows.txt"
    with dump.open("w") as lines:
        for which, options in OPTIONS.items():
            more = aliased() if which == "aliases" else []
            rows = rows_of(new_world(*objects(), *more, **options))
            found[which] = digest(rows)
            lines.writelines(f"{which} {text_of_key(key)} {row.hex()}\n" for key, row in rows)
    changed = ", ".join(which for which in OPTIONS if found[which] != GOLDEN[which])
    if (LAYOUT, RULES) == GOLDEN_RULES:
        assert not changed, NOT_RAISED.format(changed=changed, dump=dump)
    else:
        pytest.fail(RAISED.format(rules=(LAYOUT, RULES), found=found))


def test_writes_in_another_order_give_the_same_rows(new_world: Any) -> None:
    """Namespaces and Services first either way; within a kind the last comes first."""
    order = ["Namespace", "Service", "Pod", "EndpointSlice"]
    turned = objects()[::-1]
    turned.sort(key=lambda one: order.index(one[0].name))
    one_by_one = new_world()
    for each in turned:
        one_by_one.add(each)
    assert rows_of(one_by_one) == rows_of(new_world(*objects()))


def test_the_objects_have_rows_of_every_shape(new_world: Any) -> None:
    """Should a kind of row be missing here, a change of it would go unnoticed."""
    keys = {text_of_key(key) for key, _ in rows_of(new_world(*objects()))}
    for name in (
        Z,
        f"svc.{Z}",
        f"empty.pod.{Z}",
        f"ns.dns.{Z}",
        f"dns-version.{Z}",
        f"_dns._udp.dual.default.svc.{Z}",
        f"ext.default.svc.{Z}",
        f"same.own.default.svc.{Z}",
        f"_pg._tcp.db.team.svc.{Z}",
        f"2001-db8-0-1--0.db.team.svc.{Z}",
        f"10-1-0-2.default.pod.{Z}",
        "10.0.96.10.in-addr.arpa",
        "1.0.2.10.in-addr.arpa",
        "ip6.arpa",
    ):
        assert f"{name}." in keys, name
