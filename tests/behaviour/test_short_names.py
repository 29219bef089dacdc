"""Rows N: short names, X.NAMESPACE.ZONE for X.NAMESPACE.svc.ZONE."""

from typing import Any

import pytest
from behaviour.cluster_harness import ALL_TYPES, SVC, ClusterHarness, Z, is_nodata, is_nxdomain
from behaviour.objects import external, headless, namespace, pod, service

NO_SHORT_FORM = ("svc", "pod", "dns", "dns-version")
OBJECTS = (
    namespace("empty"),
    *map(namespace, NO_SHORT_FORM),
    service("web", clusterIPs=["10.96.0.10", "fd00:96::10"], ipFamilyPolicy="RequireDualStack"),
    headless("db"),
    pod("db-0", "10.1.0.1", app="db", hostname="db-0", subdomain="db"),
    pod("db-1", "10.1.0.2", app="db"),
    external("ext", f"web.{SVC}"),
    *(service("web", clusterIP=f"10.96.1.{n}", ns=ns) for n, ns in enumerate(NO_SHORT_FORM, 1)),
)


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(*OBJECTS)


def long(name: str) -> str:
    return name.replace(f".{Z}", f".svc.{Z}")


@pytest.mark.row("N1")
@pytest.mark.parametrize(
    "x",
    [
        "web",
        "_http._tcp.web",
        "_tcp.web",
        "db",
        "_http._tcp.db",
        "db-0.db",
        "10-1-0-2.db",
        "ext",
        "nothing",
        "x.web",
    ],
)
@pytest.mark.parametrize("rrtype", [*ALL_TYPES, "ANY"])
def test_every_name_answers_as_its_standard_form_does(ask: Any, x: str, rrtype: str) -> None:
    short, standard = f"{x}.default.{Z}", f"{x}.{SVC}"
    one, other = ask(short, rrtype), ask(standard, rrtype)
    assert one.rcode == other.rcode
    assert one.flags == other.flags
    # The owner is the name that was asked for; all that follows from it is the same.
    assert [line.replace(f"{short}. ", f"{standard}. ", 1) for line in one.sorted] == other.sorted
    assert one.authority == other.authority
    assert one.additional == other.additional


@pytest.mark.row("N1")
def test_the_owner_is_the_name_that_was_asked_for(ask: Any) -> None:
    name = "wEb.Default.CLUSTER.local."
    reply = ask(name)
    assert reply.answer == [f"{name} 5 A 10.96.0.10"]
    assert is_nodata(ask(name, "TXT"), "CLUSTER.local.")
    assert is_nxdomain(ask(f"nothing.{name}"), "CLUSTER.local.")


@pytest.mark.row("N2")
def test_a_namespace_that_exists_is_nodata(ask: Any) -> None:
    for rrtype in ("A", "SRV", "SOA", "NS", "TXT"):
        assert is_nodata(ask(f"default.{Z}", rrtype))
        assert is_nodata(ask(f"empty.{Z}", rrtype))
        assert is_nxdomain(ask(f"nowhere.{Z}", rrtype))
    assert is_nxdomain(ask(f"web.nowhere.{Z}"))


@pytest.mark.row("N3")
@pytest.mark.parametrize("ns", NO_SHORT_FORM)
def test_namespaces_without_a_short_form(ask: Any, world: ClusterHarness, ns: str) -> None:
    """The label next to the zone is taken: by the tree of Services, of Pods, and by two names of ours."""
    assert len(ask(f"web.{ns}.svc.{Z}").answer) == 1
    assert is_nxdomain(ask(f"web.{ns}.{Z}"))
    assert is_nodata(ask(f"{ns}.svc.{Z}"))


@pytest.mark.row("N3")
def test_creating_such_a_namespace_gives_a_warning(new_world: Any) -> None:
    world = new_world()
    for ns in NO_SHORT_FORM:
        (written,) = world.add(namespace(ns))
        assert written.warnings == (
            f"namespace {ns}: its Services have no short name X.{ns} below the cluster domain",
        )
    (written,) = world.add(namespace("shop"))
    assert not written.warnings


@pytest.mark.row("N4")
def test_rdata_names_the_standard_form(ask: Any) -> None:
    assert ask(f"_http._tcp.web.default.{Z}", "SRV").rdata == [f"0 50 80 web.{SVC}."]
    assert {line.split()[0] for line in ask(f"web.default.{Z}", "SRV").additional} == {f"web.{SVC}."}
    assert ask(f"db.default.{Z}", "SRV").rdata == [
        f"0 50 8080 10-1-0-2.db.{SVC}.",
        f"0 50 8080 db-0.db.{SVC}.",
    ]
    assert ask("10.0.96.10.in-addr.arpa", "PTR").rdata == [f"web.{SVC}."]


@pytest.mark.row("N5")
def test_short_names_can_be_turned_off(make_world: Any) -> None:
    ask = make_world(*OBJECTS, short_names=False).ask
    assert ask(f"web.{SVC}").answer
    for name in (f"web.default.{Z}", f"_http._tcp.web.default.{Z}", f"db-0.db.default.{Z}", f"default.{Z}"):
        assert is_nxdomain(ask(name)), name
    assert is_nodata(ask(f"dns.{Z}"))
    assert ask(f"ns.dns.{Z}").answer
