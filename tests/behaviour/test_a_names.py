"""Rows A: names, the apex, and everything that is not there."""

import time
from typing import Any

import pytest
from behaviour.cluster_harness import ALL_TYPES, SERVER, SVC, TTL, ClusterHarness, Z, is_nodata, is_nxdomain
from behaviour.objects import headless, namespace, pod, port, service

from svcdns.objects.kinds import POD, SERVICE

WEB = f"web.{SVC}"


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(
        namespace("empty"),
        service("web", clusterIP="10.96.0.10"),
        service("six", clusterIP="fd00:96::6", ipFamilies=["IPv6"]),
        headless("db", ports=[port(5432, "pg")]),
        pod("db-0", "10.1.0.1", app="db", hostname="db-0", subdomain="db"),
        headless("idle"),
    )


MIXED = "wEb.DeFault.sVc.CLUSTER.local."


@pytest.mark.row("A1")
@pytest.mark.parametrize(
    ("name", "rrtype"),
    [
        (MIXED, "A"),
        (MIXED, "SRV"),
        (f"_HTTP._tcp.{MIXED}", "SRV"),
        ("DB-0.db.DEFAULT.SVC.Cluster.Local.", "A"),
        ("10.0.96.10.IN-addr.ARPA.", "PTR"),
        ("CLUSTER.local.", "SOA"),
        ("CLUSTER.local.", "NS"),
        ("DNS-Version.cluster.LOCAL.", "TXT"),
        (MIXED, "ANY"),
    ],
)
def test_the_owner_repeats_the_letters_of_the_question(ask: Any, name: str, rrtype: str) -> None:
    reply = ask(name, rrtype)
    assert {line.split()[0] for line in reply.answer} == {name}


@pytest.mark.row("A1")
def test_names_in_rdata_and_glue_are_as_registered(ask: Any) -> None:
    reply = ask(f"_HTTP._TCP.{MIXED}", "SRV")
    assert reply.rdata == [f"0 100 80 {WEB}."]
    assert reply.additional == [f"{WEB}. {TTL} A 10.96.0.10"]
    assert ask("CLUSTER.LOCAL", "NS").rdata == [f"ns.dns.{Z}."]
    assert ask("10.0.96.10.IN-ADDR.ARPA", "PTR").rdata == [f"{WEB}."]


@pytest.mark.row("A1")
def test_the_soa_of_a_negative_answer_is_spelt_as_the_question_was(ask: Any) -> None:
    assert is_nxdomain(ask(f"nothing.{MIXED}"), "CLUSTER.local.")
    assert is_nodata(ask(MIXED, "TXT"), "CLUSTER.local.")
    assert is_nxdomain(ask("9.9.9.9.IN-Addr.arpa", "PTR"), "IN-Addr.arpa.")


@pytest.mark.row("A1")
@pytest.mark.parametrize("name", [WEB, f"nothing.{SVC}", Z, "10.0.96.10.in-addr.arpa"])
def test_flags(ask: Any, name: str) -> None:
    """AA is ours, RD and CD are the question's, RA is not set where nothing is forwarded."""
    assert ask(name).flags == {"QR", "AA", "RD"}
    assert ask(name, flags=0).flags == {"QR", "AA"}
    assert ask(name, flags=0x0110).flags == {"QR", "AA", "RD", "CD"}


@pytest.mark.row("A2")
def test_soa_at_the_apex(ask: Any, world: ClusterHarness) -> None:
    reply = ask(Z, "SOA")
    rdata = f"ns.dns.{Z}. hostmaster.{Z}. {world.serial()} 7200 1800 86400 5"
    assert reply.answer == [f"{Z}. {TTL} SOA {rdata}"]
    assert not reply.authority
    assert not reply.additional


@pytest.mark.row("A3")
@pytest.mark.parametrize(
    ("ttl", "negative_ttl", "of_soa", "of_negative"),
    [
        (5, 5, 5, 5),
        (0, 5, 0, 0),
        (30, 10, 30, 10),
        (10, 30, 10, 10),
        (3600, 60, 300, 60),
        (3600, 3600, 300, 300),
    ],
)
def test_ttl_and_minimum_of_the_soa(
    new_world: Any, ttl: int, negative_ttl: int, of_soa: int, of_negative: int
) -> None:
    world = new_world(ttl=ttl, negative_ttl=negative_ttl)
    (soa,) = world.ask(Z, "SOA").message.answer
    assert (soa.ttl, soa[0].minimum) == (of_soa, negative_ttl)
    for name in ("nothing." + Z, "svc." + Z):
        (soa,) = world.ask(name).message.authority
        assert (soa.ttl, soa[0].minimum) == (of_negative, negative_ttl)


@pytest.mark.row("A3")
def test_the_serial_is_the_time_of_the_last_visible_change(new_world: Any) -> None:
    began = int(time.time())
    world = new_world(service("web"), headless("db"), pod("db-0", "10.1.0.1", app="db"))
    serial = world.serial()
    assert began <= serial <= time.time() + 10
    world.change(SERVICE, "web", {"metadata": {"labels": {"colour": "blue"}}})
    world.change(SERVICE, "web", {"spec": {"sessionAffinity": "ClientIP"}})
    world.set_ready("db-0", True)
    world.change(POD, "db-0", {"metadata": {"labels": {"colour": "blue"}}})
    assert world.serial() == serial, "nothing changed that DNS shows"
    world.change(SERVICE, "web", {"spec": {"ports": [{"name": "http", "port": 81}]}})
    assert world.serial() > serial


@pytest.mark.row("A3")
def test_each_zone_has_its_own_serial(new_world: Any) -> None:
    world = new_world(service("web"), reverse_zones=("10.in-addr.arpa", "in-addr.arpa"))
    zones = (Z, "10.in-addr.arpa", "in-addr.arpa")
    before = [world.serial(zone) for zone in zones]
    world.change(SERVICE, "web", {"spec": {"ports": [{"name": "http", "port": 81}]}})
    after = [world.serial(zone) for zone in zones]
    assert [new > old for old, new in zip(before, after, strict=True)] == [True, False, False]
    world.add(service("other"))
    assert world.serial("10.in-addr.arpa") > after[1]
    assert world.serial("in-addr.arpa") == after[2]


@pytest.mark.row("A4")
def test_ns_at_the_apex_with_all_addresses_as_glue(new_world: Any) -> None:
    world = new_world(advertise_addresses=("192.0.2.53", "192.0.2.54", "2001:db8::53"))
    for zone in (Z, "in-addr.arpa", "ip6.arpa"):
        reply = world.ask(zone, "NS")
        assert reply.answer == [f"{zone}. {TTL} NS ns.dns.{Z}."]
        assert reply.additional == [
            f"ns.dns.{Z}. {TTL} A 192.0.2.53",
            f"ns.dns.{Z}. {TTL} A 192.0.2.54",
            f"ns.dns.{Z}. {TTL} AAAA 2001:db8::53",
        ]
        assert not reply.authority


@pytest.mark.row("A5")
def test_the_servers_own_addresses(ask: Any, new_world: Any) -> None:
    assert ask(f"ns.dns.{Z}").rdata == [SERVER]
    assert is_nodata(ask(f"ns.dns.{Z}", "AAAA"))
    six = new_world(advertise_addresses=("2001:db8::53",))
    assert is_nodata(six.ask(f"ns.dns.{Z}"))
    assert six.ask(f"ns.dns.{Z}", "AAAA").rdata == ["2001:db8::53"]


@pytest.mark.row("A6")
@pytest.mark.parametrize("rrtype", sorted({*ALL_TYPES, "DNSKEY", "TYPE1234"} - {"SOA", "NS"}))
def test_other_types_at_the_apex(ask: Any, rrtype: str) -> None:
    assert is_nodata(ask(Z, rrtype))


@pytest.mark.row("A7")
@pytest.mark.parametrize("pods", ["disabled", "insecure", "verified"])
def test_svc_and_pod_exist_whatever_is_registered(new_world: Any, pods: str) -> None:
    world = new_world(pods=pods)
    assert is_nodata(world.ask(f"svc.{Z}"))
    assert is_nodata(world.ask(f"pod.{Z}"))
    assert is_nodata(world.ask(f"pod.{Z}", "TXT"))


@pytest.mark.row("A8")
@pytest.mark.parametrize("rrtype", ["A", "AAAA", "SRV", "TXT"])
def test_namespaces(ask: Any, rrtype: str) -> None:
    assert is_nodata(ask(f"default.svc.{Z}", rrtype))
    assert is_nodata(ask(f"empty.svc.{Z}", rrtype)), "also when it holds nothing"
    assert is_nxdomain(ask(f"nowhere.svc.{Z}", rrtype))


@pytest.mark.row("A9")
@pytest.mark.parametrize("pods", ["disabled", "insecure", "verified"])
def test_pod_namespaces(new_world: Any, pods: str) -> None:
    world = new_world(namespace("empty"), pods=pods)
    expected = is_nxdomain if pods == "disabled" else is_nodata
    assert expected(world.ask(f"default.pod.{Z}"))
    assert expected(world.ask(f"empty.pod.{Z}", "SRV"))
    assert is_nxdomain(world.ask(f"nowhere.pod.{Z}"))


@pytest.mark.row("A10")
@pytest.mark.parametrize("rrtype", [*ALL_TYPES, "ANY"])
@pytest.mark.parametrize("name", ["foo", "svcs", "dns-versions", "ns", "web"])
def test_other_names_below_the_apex(ask: Any, name: str, rrtype: str) -> None:
    assert is_nxdomain(ask(f"{name}.{Z}", rrtype))


@pytest.mark.row("A11")
@pytest.mark.parametrize("rrtype", [*ALL_TYPES, "ANY"])
@pytest.mark.parametrize(
    "name",
    [
        f"nothing.{SVC}",
        f"web.nowhere.svc.{Z}",
        f"nothing.db.{SVC}",
        f"_nope._tcp.{WEB}",
        f"_pg._udp.db.{SVC}",
    ],
)
def test_unknown_names(ask: Any, name: str, rrtype: str) -> None:
    assert is_nxdomain(ask(name, rrtype))


@pytest.mark.row("A12")
@pytest.mark.parametrize(
    ("name", "has"),
    [
        (WEB, {"A", "SRV"}),
        (f"six.{SVC}", {"AAAA", "SRV"}),
        (f"_http._tcp.{WEB}", {"A", "SRV"}),
        (f"db.{SVC}", {"A", "SRV"}),
        (f"db-0.db.{SVC}", {"A", "SRV"}),
        (f"_pg._tcp.db.{SVC}", {"A", "SRV"}),
        (f"ns.dns.{Z}", {"A"}),
        ("1.0.1.10.in-addr.arpa", {"PTR"}),
    ],
)
def test_types_that_an_existing_name_lacks(ask: Any, name: str, has: set[str]) -> None:
    zone = "in-addr.arpa." if name.endswith("arpa") else f"{Z}."
    for rrtype in ALL_TYPES:
        reply = ask(name, rrtype)
        if rrtype in has:
            assert reply.answer, rrtype
        else:
            assert is_nodata(reply, zone), rrtype


@pytest.mark.row("A13")
@pytest.mark.parametrize(
    "name",
    [WEB, Z, f"svc.{Z}", f"default.svc.{Z}", f"_tcp.{WEB}", f"db-0.db.{SVC}", "10.0.96.10.in-addr.arpa"],
)
def test_any_at_a_name_that_exists(ask: Any, name: str) -> None:
    reply = ask(name, "ANY")
    assert reply.answer == [f'{name}. 8482 HINFO "ANY obsoleted" "See RFC 8482"']
    assert not reply.authority
    assert not reply.additional


@pytest.mark.row("A14")
@pytest.mark.parametrize("ttl", [0, 5, 3600])
def test_schema_version(new_world: Any, ttl: int) -> None:
    assert new_world(ttl=ttl).ask(f"dns-version.{Z}", "TXT").answer == [f'dns-version.{Z}. 28800 TXT "1.1.0"']


@pytest.mark.row("A15")
@pytest.mark.parametrize(
    ("name", "rrtype"),
    [
        (f"dns-version.{Z}", "A"),
        (Z, "TXT"),
        (f"svc.{Z}", "TXT"),
        (f"default.svc.{Z}", "TXT"),
        (f"dns.{Z}", "A"),
        (f"_tcp.{WEB}", "A"),
        (f"_tcp.{WEB}", "SRV"),
        (f"_tcp.db.{SVC}", "SRV"),
    ],
)
def test_names_with_something_below_them_exist(ask: Any, name: str, rrtype: str) -> None:
    assert is_nodata(ask(name, rrtype))


@pytest.mark.row("A15")
@pytest.mark.parametrize(
    ("name", "rrtype"),
    [
        ("10.0.96.10.in-addr.arpa", "A"),
        ("0.96.10.in-addr.arpa", "PTR"),
        ("96.10.in-addr.arpa", "PTR"),
        ("10.in-addr.arpa", "PTR"),
        ("in-addr.arpa", "PTR"),
    ],
)
def test_reverse_names_with_something_below_them_exist(ask: Any, name: str, rrtype: str) -> None:
    assert is_nodata(ask(name, rrtype), "in-addr.arpa.")


@pytest.mark.row("A15")
def test_nothing_below_means_nothing_there(ask: Any) -> None:
    assert is_nxdomain(ask(f"_udp.{WEB}"))
    assert is_nxdomain(ask(f"_tcp.db-0.db.{SVC}"))
    assert is_nxdomain(ask("1.96.10.in-addr.arpa", "PTR"), "in-addr.arpa.")


@pytest.mark.row("A16")
def test_soa_where_no_zone_begins(ask: Any) -> None:
    assert is_nxdomain(ask(f"nothing.{SVC}", "SOA"))
    assert is_nxdomain(ask(f"nothing.{Z}", "SOA"))
    assert is_nodata(ask(WEB, "SOA"))
    assert is_nodata(ask(f"default.svc.{Z}", "SOA"))


@pytest.mark.row("A17")
@pytest.mark.parametrize(
    "prefix",
    ["a.b.c", "a.b.c.d", "_http._tcp.10-1-0-1", "x._http._tcp", "_pg._tcp.db-0", "x.db-0", "x.y.db-0"],
)
@pytest.mark.parametrize("name", [WEB, f"db.{SVC}"])
@pytest.mark.parametrize("rrtype", ["A", "SRV"])
def test_more_labels_than_any_name_has(ask: Any, prefix: str, name: str, rrtype: str) -> None:
    assert is_nxdomain(ask(f"{prefix}.{name}", rrtype))


@pytest.mark.row("A18")
@pytest.mark.parametrize("label", ["*", "any"])
@pytest.mark.parametrize(
    "shape", ["{}.default.svc.{z}", "web.{}.svc.{z}", "{}.db.default.svc.{z}", "_{}._tcp.{web}"]
)
def test_there_are_no_wildcards(ask: Any, label: str, shape: str) -> None:
    assert is_nxdomain(ask(shape.format(label, z=Z, web=WEB)))


@pytest.mark.row("A19", "S1")
@pytest.mark.parametrize(
    ("name", "rrtype"),
    [(WEB, "A"), (f"_http._tcp.{WEB}", "SRV"), (f"db-0.db.{SVC}", "A"), (f"_pg._tcp.db.{SVC}", "SRV")],
)
def test_letter_case_does_not_matter(ask: Any, name: str, rrtype: str) -> None:
    expected = ask(name, rrtype)
    assert expected.answer
    for spelt in (name.upper(), name.title(), name.swapcase()):
        reply = ask(spelt, rrtype)
        assert reply.rdata == expected.rdata
        assert reply.additional == expected.additional
