"""Rows Q: names of one's own for Services."""

from typing import Any

import pytest
from behaviour.cluster_harness import SVC, TTL, ClusterHarness, Reply, Z, is_nxdomain
from behaviour.objects import (
    FILE,
    Object,
    endpoint,
    endpoint_slice,
    external,
    headless,
    namespace,
    pod,
    port,
    service,
)
from toolbox.registry_harness import RegistryClock

from svcdns.objects.kinds import NAMESPACE, POD, SERVICE

ZONES = ("home.arpa", "example.com")
NOTE = "svcdns.io/aliases"


def aliased(made: Object, *aliases: str, **more: str) -> Object:
    """The same Service with aliases, and other annotations."""
    kind, ns, body = made
    notes = {NOTE: ", ".join(aliases), **more}
    return kind, ns, {**body, "metadata": {**body["metadata"], "annotations": notes}}


def is_empty(reply: Reply) -> bool:
    """Whether it says that an alias has no such type; checks the rest of the reply."""
    if reply.rcode != "NOERROR" or reply.answer:
        return False
    assert "AA" in reply.flags
    assert not reply.authority
    return True


def goes_on(reply: Reply) -> bool:
    """Whether no alias has the name, and nothing is forwarded here."""
    return reply.rcode == "REFUSED" and not reply.answer + reply.authority


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    world: ClusterHarness = make_world(
        aliased(service("nas", clusterIP="10.96.0.10"), "nas.home.arpa", "Files.Home.ARPA."),
        aliased(
            service(
                "dual",
                ipFamilyPolicy="RequireDualStack",
                clusterIPs=["10.96.0.11", "fd00:96::11"],
                ports=[port(80, "http"), port(53, "dns", "UDP")],
            ),
            "dual.example.com",
        ),
        aliased(headless("redis"), "redis.home.arpa", "*.cache.home.arpa"),
        pod("redis-0", "10.1.0.1", app="redis", hostname="redis-0", subdomain="redis"),
        pod("redis-1", "10.1.0.2", app="redis", ready=False),
        aliased(headless("idle"), "idle.home.arpa"),
        aliased(headless("early", publishNotReadyAddresses=True), "early.home.arpa"),
        pod("early-0", "10.1.0.9", app="early", ready=False),
        aliased(external("ext", "www.example.org"), "ext.home.arpa"),
        aliased(external("inner", "nas.home.arpa"), "inner.home.arpa"),
        aliased(service("apps", clusterIP="10.96.0.12"), "*.apps.example.com", "x.y.apps.example.com"),
        aliased(service("api", clusterIP="10.96.0.13"), "api.apps.example.com", "my_app.example.com"),
        aliased(service("both", clusterIP="10.96.0.15"), "both.home.arpa", "*.both.home.arpa"),
        aliased(service("web", clusterIP="10.96.0.14"), "www.example.com", "*.file.example.com"),
        alias_zones=ZONES,
    )
    records = "www 60 A 192.0.2.1\nmail 60 A 192.0.2.2\nto-nas 60 CNAME nas.home.arpa.\n"
    records += "*.wild 60 A 192.0.2.3\nhost.file 60 A 192.0.2.4\nto-files 60 CNAME files.home.arpa."
    world.zone_file(FILE.format(origin="example.com", records=records))
    return world


@pytest.mark.row("Q1")
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("edns", [None, 1232])
def test_an_alias_answers_as_the_service(ask: Any, tcp: bool, edns: int | None) -> None:
    reply = ask("NaS.home.arpa", tcp=tcp, edns=edns)
    assert reply.answer == [f"NaS.home.arpa. {TTL} A 10.96.0.10"]
    assert not reply.authority + reply.additional
    assert "AA" in reply.flags
    assert ask("files.home.arpa").rdata == ["10.96.0.10"]
    assert ask("dual.example.com", "AAAA").answer == [f"dual.example.com. {TTL} AAAA fd00:96::11"]
    assert ask("redis.home.arpa").rdata == ["10.1.0.1"]
    assert ask("early.home.arpa").rdata == ["10.1.0.9"]


@pytest.mark.row("Q2")
def test_srv_below_an_alias_leads_to_the_services_own_names(ask: Any) -> None:
    reply = ask("_dns._udp.dual.example.com", "SRV")
    assert reply.answer == [f"_dns._udp.dual.example.com. {TTL} SRV 0 50 53 dual.{SVC}."]
    assert reply.additional == [
        f"dual.{SVC}. {TTL} A 10.96.0.11",
        f"dual.{SVC}. {TTL} AAAA fd00:96::11",
    ]
    assert len(ask("dual.example.com", "SRV").answer) == 2
    assert ask("_http._tcp.redis.home.arpa", "SRV").rdata == [f"0 100 8080 redis-0.redis.{SVC}."]
    assert ask("_http._tcp.dual.example.com").rdata == ["10.96.0.11"]
    assert is_empty(ask("_tcp.dual.example.com", "SRV"))


@pytest.mark.row("Q2")
def test_endpoints_have_their_names_below_an_alias(ask: Any) -> None:
    assert ask("redis-0.redis.home.arpa").answer == [f"redis-0.redis.home.arpa. {TTL} A 10.1.0.1"]
    assert ask("redis-0.redis.home.arpa", "SRV").rdata == [f"0 100 8080 redis-0.redis.{SVC}."]
    assert goes_on(ask("10-1-0-2.redis.home.arpa")), "it is not ready"


@pytest.mark.row("Q3")
@pytest.mark.parametrize("rrtype", ["AAAA", "SRV", "TXT", "SOA", "NS", "MX", "DS", "CNAME", "HTTPS"])
def test_a_type_that_an_alias_lacks_has_no_soa(ask: Any, rrtype: str) -> None:
    assert is_empty(ask("early.home.arpa", rrtype)) is (rrtype != "SRV")
    assert is_empty(ask("nas.home.arpa", rrtype)) is (rrtype != "SRV")


@pytest.mark.row("Q3")
def test_a_service_without_ready_endpoints_keeps_others_from_answering(ask: Any) -> None:
    assert is_nxdomain(ask(f"idle.{SVC}"))
    assert is_empty(ask("idle.home.arpa"))
    assert ask("nas.home.arpa", "ANY").rdata == ['"ANY obsoleted" "See RFC 8482"']


@pytest.mark.row("Q4")
def test_an_external_name_is_a_cname_at_the_alias(ask: Any) -> None:
    assert ask("ext.home.arpa").answer == [f"ext.home.arpa. {TTL} CNAME www.example.org."]
    assert is_empty(ask("ext.home.arpa", "SRV"))
    assert ask("inner.home.arpa").answer == [
        f"inner.home.arpa. {TTL} CNAME nas.home.arpa.",
        f"nas.home.arpa. {TTL} A 10.96.0.10",
    ]


@pytest.mark.row("Q5")
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("shop.apps.example.com", "10.96.0.12"),
        ("a.b.c.apps.example.com", "10.96.0.12"),
        ("_http._tcp.shop.apps.example.com", "10.96.0.12"),
        ("*.apps.example.com", "10.96.0.12"),
        ("api.apps.example.com", "10.96.0.13"),
        ("_http._tcp.api.apps.example.com", "10.96.0.13"),
        ("x.y.apps.example.com", "10.96.0.12"),
        ("other.cache.home.arpa", "10.1.0.1"),
    ],
)
def test_a_wildcard_stands_for_what_has_no_closer_alias(ask: Any, name: str, address: str) -> None:
    assert [line.split()[0::3] for line in ask(name).answer] == [[f"{name}.", address]]


@pytest.mark.row("Q5")
@pytest.mark.parametrize(
    "name", ["y.apps.example.com", "z.y.apps.example.com", "apps.example.com", "more.api.apps.example.com"]
)
def test_a_closer_name_hides_a_wildcard(ask: Any, name: str) -> None:
    assert ask(name).rcode in ("NOERROR", "NXDOMAIN")
    assert not ask(name).answer


@pytest.mark.row("Q5", "Q2")
def test_what_is_below_an_alias_is_closer_than_its_wildcard(ask: Any) -> None:
    assert ask("other.both.home.arpa").rdata == ["10.96.0.15"]
    assert ask("_http._tcp.both.home.arpa", "SRV").rdata == [f"0 100 80 both.{SVC}."]
    assert is_empty(ask("_tcp.both.home.arpa"))
    assert goes_on(ask("_none._tcp.both.home.arpa"))


@pytest.mark.row("Q5", "Q2")
def test_srv_of_a_wildcard_is_that_of_the_bare_name(ask: Any) -> None:
    name = "_http._tcp.shop.apps.example.com"
    assert ask(name, "SRV").answer == [f"{name}. {TTL} SRV 0 100 80 apps.{SVC}."]


@pytest.mark.row("Q6")
def test_an_alias_hides_a_zone_file_and_all_else_stays(ask: Any) -> None:
    assert ask("www.example.com").rdata == ["10.96.0.14"]
    assert ask("mail.example.com").answer == ["mail.example.com. 60 A 192.0.2.2"]
    assert ask("any.wild.example.com").rdata == ["192.0.2.3"]
    assert ask("host.file.example.com").rdata == ["10.96.0.14"], "a wildcard hides what it stands for"
    assert is_nxdomain(ask("nothing.example.com"), "example.com.")
    assert ask("example.com", "SOA").answer[0].split()[3] == "ns1.example.org."


@pytest.mark.row("Q6")
@pytest.mark.parametrize("name", ["apps.example.com", "y.apps.example.com", "file.example.com"])
def test_a_name_above_an_alias_exists(ask: Any, name: str) -> None:
    reply = ask(name)
    assert reply.rcode == "NOERROR"
    assert not reply.answer
    assert [line.split()[0] for line in reply.authority] == ["example.com."], "the zone file's to say"


@pytest.mark.row("Q6")
@pytest.mark.parametrize("name", ["home.arpa", "nothing.home.arpa", "x.nas.home.arpa", "arpa", "com"])
def test_names_that_no_alias_has_are_not_ours(ask: Any, name: str) -> None:
    for rrtype in ("A", "SOA", "NS"):
        assert goes_on(ask(name, rrtype))


@pytest.mark.row("Q6")
def test_a_cname_of_a_zone_file_leads_to_an_alias(ask: Any) -> None:
    for name, alias in (("to-nas", "nas"), ("to-files", "files")):
        assert ask(f"{name}.example.com").answer == [
            f"{name}.example.com. 60 CNAME {alias}.home.arpa.",
            f"{alias}.home.arpa. {TTL} A 10.96.0.10",
        ]


@pytest.mark.row("Q7")
def test_the_oldest_service_has_an_alias_and_then_the_next(
    new_world: Any, registry_clock: RegistryClock
) -> None:
    world = new_world(namespace("shop"), alias_zones=ZONES)
    for second, (name, ns) in enumerate((("b", "default"), ("a", "shop"), ("a", "default")), 1):
        registry_clock.seconds = second
        world.add(aliased(service(name, ns=ns, clusterIP=f"10.96.0.{second}"), "www.example.com"))
    registry_clock.seconds = -10  # a clock that jumps changes nothing for who is there
    for second, (name, ns) in enumerate((("b", "default"), ("a", "shop"), ("a", "default")), 1):
        assert world.ask("www.example.com").rdata == [f"10.96.0.{second}"]
        world.remove(SERVICE, name, ns=ns)
    assert goes_on(world.ask("www.example.com"))


@pytest.mark.row("Q7")
def test_an_older_service_takes_an_alias_from_a_younger_one(
    new_world: Any, registry_clock: RegistryClock
) -> None:
    world = new_world(alias_zones=ZONES)
    for second, name in enumerate(("old", "new"), 1):
        registry_clock.seconds = second
        world.add(service(name, clusterIP=f"10.96.0.{second}"))
    note = {"metadata": {"annotations": {NOTE: "www.example.com"}}}
    for second, name in ((2, "new"), (1, "old")):
        world.change(SERVICE, name, note)
        assert world.ask("www.example.com").rdata == [f"10.96.0.{second}"]


@pytest.mark.row("Q7")
def test_of_one_second_the_first_by_name_has_it(new_world: Any, registry_clock: RegistryClock) -> None:
    world = new_world(alias_zones=ZONES)
    for number, name in enumerate(("b", "a", "c"), 1):
        world.add(aliased(service(name, clusterIP=f"10.96.0.{number}"), "www.example.com"))
    assert world.ask("www.example.com").rdata == ["10.96.0.2"]


@pytest.mark.row("Q7")
def test_an_alias_given_up_stops_at_once(new_world: Any) -> None:
    world = new_world(aliased(service("a", clusterIP="10.96.0.1"), "a.example.com"), alias_zones=ZONES)
    assert world.ask("a.example.com").rdata == ["10.96.0.1"]
    world.change(SERVICE, "a", {"metadata": {"annotations": {NOTE: "b.example.com"}}})
    assert goes_on(world.ask("a.example.com"))
    assert world.ask("b.example.com").rdata == ["10.96.0.1"]
    world.change(SERVICE, "a", {"metadata": {"annotations": None}})
    assert goes_on(world.ask("b.example.com"))


@pytest.mark.row("Q7")
def test_aliases_go_with_their_namespace(new_world: Any, registry_clock: RegistryClock) -> None:
    shop = aliased(service("a", ns="shop", clusterIP="10.96.0.1"), "a.example.com")
    world = new_world(namespace("shop"), shop, alias_zones=ZONES)
    assert world.ask("a.example.com").rdata == ["10.96.0.1"]
    registry_clock.seconds = 1
    world.add(aliased(service("b", clusterIP="10.96.0.2"), "a.example.com"))
    world.remove(NAMESPACE, "shop")
    assert world.ask("a.example.com").rdata == ["10.96.0.2"]


@pytest.mark.row("Q7", "G1")
def test_a_hidden_namespace_has_no_aliases(new_world: Any) -> None:
    shop = aliased(service("a", ns="shop", clusterIP="10.96.0.1"), "a.example.com")
    world = new_world(namespace("shop", dns="no"), shop, alias_zones=ZONES, namespace_labels="dns!=no")
    assert goes_on(world.ask("a.example.com"))
    world.change(NAMESPACE, "shop", {"metadata": {"labels": {"dns": "yes"}}}, ns="")
    assert world.ask("a.example.com").rdata == ["10.96.0.1"]
    world.change(NAMESPACE, "shop", {"metadata": {"labels": {"dns": "no"}}}, ns="")
    assert goes_on(world.ask("a.example.com"))


@pytest.mark.row("Q1")
def test_readiness_shows_at_an_alias_at_once(new_world: Any) -> None:
    world = new_world(aliased(headless("db"), "db.home.arpa"), alias_zones=ZONES)
    world.add(pod("db-0", "10.1.0.1", app="db"), pod("db-1", "10.1.0.2", app="db"))
    assert world.ask("db.home.arpa").rdata == ["10.1.0.1", "10.1.0.2"]
    world.set_ready("db-0", False)
    assert world.ask("db.home.arpa").rdata == ["10.1.0.2"]
    world.remove(POD, "db-1")
    assert is_empty(world.ask("db.home.arpa"))


@pytest.mark.row("Q1")
def test_many_endpoints_at_an_alias(new_world: Any) -> None:
    many = [endpoint(f"10.1.{n // 250}.{n % 250 + 1}") for n in range(600)]
    world = new_world(
        aliased(headless("db", selector={}), "db.home.arpa", "*.db.home.arpa"),
        endpoint_slice("db-1", "db", *many, ports=[port(80, "http")]),
        alias_zones=ZONES,
    )
    for name in ("db.home.arpa", "any.db.home.arpa"):
        reply = world.ask(name, tcp=True)
        assert len(set(reply.rdata)) == 600
        assert {line.split()[0] for line in reply.answer} == {f"{name}."}
        cut = world.ask(name, edns=1232)
        assert "TC" in cut.flags and 0 < len(cut.answer) < 600
    assert len(world.ask("_http._tcp.db.home.arpa", "SRV", tcp=True).answer) == 600


@pytest.mark.row("Q8")
def test_pointers_lead_to_the_first_alias_if_asked_for(new_world: Any) -> None:
    note = {"svcdns.io/ptr": "alias"}
    world = new_world(
        aliased(service("a", clusterIP="10.96.0.1"), "*.x.example.com", "a.example.com", **note),
        aliased(headless("db"), "db.home.arpa", **note),
        pod("db-0", "10.1.0.1", app="db"),
        aliased(service("plain", clusterIP="10.96.0.3"), "plain.example.com"),
        aliased(service("none", clusterIP="10.96.0.4"), "none.example.net", **note),
        alias_zones=ZONES,
    )

    def pointers(*addresses: str) -> list[str]:
        return [world.ask(f"{name}.in-addr.arpa", "PTR").rdata[0] for name in addresses]

    assert pointers("1.0.96.10", "1.0.1.10") == ["a.example.com.", "db.home.arpa."]
    assert pointers("3.0.96.10", "4.0.96.10") == [f"plain.{SVC}.", f"none.{SVC}."]
    world.change(SERVICE, "db", {"metadata": {"annotations": {"svcdns.io/ptr": None}}})
    world.change(SERVICE, "a", {"metadata": {"annotations": {NOTE: "other.example.com"}}})
    assert pointers("1.0.96.10", "1.0.1.10") == ["other.example.com.", f"10-1-0-1.db.{SVC}."]


@pytest.mark.row("Q8")
def test_pointers_follow_the_holder(new_world: Any, registry_clock: RegistryClock) -> None:
    note = {"svcdns.io/ptr": "alias"}
    world = new_world(namespace("shop"), alias_zones=ZONES)
    first, second = (
        aliased(service("a", clusterIP="10.96.0.1"), "a.example.com", **note),
        aliased(service("a", ns="shop", clusterIP="10.96.0.2"), "a.example.com", **note),
    )
    world.add(first)
    registry_clock.seconds = 1
    world.add(second)
    assert world.ask("1.0.96.10.in-addr.arpa", "PTR").rdata == ["a.example.com."]
    assert world.ask("2.0.96.10.in-addr.arpa", "PTR").rdata == [f"a.shop.svc.{Z}."]
    world.remove(SERVICE, "a")
    assert world.ask("2.0.96.10.in-addr.arpa", "PTR").rdata == ["a.example.com."]


@pytest.mark.row("Q9")
def test_external_dns_counts_if_asked_for(new_world: Any) -> None:
    notes = {"external-dns.alpha.kubernetes.io/hostname": "a.example.com,b.example.com"}
    for counts in (False, True):
        world = new_world(
            service("a", clusterIP="10.96.0.1", notes=notes),
            alias_zones=ZONES,
            external_dns_annotation=counts,
        )
        for name in ("a.example.com", "b.example.com"):
            assert (world.ask(name).rcode == "NOERROR") is counts


@pytest.mark.row("Q10")
def test_what_is_not_taken_is_said_and_the_rest_is_answered(new_world: Any) -> None:
    world = new_world(alias_zones=ZONES)
    names = ("a.example.org", "a..example.com", "home.arpa", "good.home.arpa", "also_good.home.arpa")
    (written,) = world.add(aliased(service("a", clusterIP="10.96.0.1"), *names))
    assert sum("svcdns.io/aliases" in one for one in written.warnings) == 4
    assert not [line for line in written.warnings if "good.home.arpa" in line and "is not answered" in line]
    assert world.ask("good.home.arpa").rdata == world.ask("also_good.home.arpa").rdata == ["10.96.0.1"]
    for name in ("a.example.org", "home.arpa", "a.example.com"):
        assert goes_on(world.ask(name))


@pytest.mark.row("Q10")
def test_a_service_has_a_hundred_aliases(new_world: Any) -> None:
    world = new_world(alias_zones=ZONES)
    names = [f"n{n}.home.arpa" for n in range(1000)]
    (written,) = world.add(aliased(service("a", clusterIP="10.96.0.1"), *names))
    assert 1 < len(written.warnings) < 30 and "at most 100" in written.warnings[0]
    answered = [name for name in names if world.ask(name).rdata == ["10.96.0.1"]]
    assert answered == names[:100]
