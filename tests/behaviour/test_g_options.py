"""Rows G: options that say what is served. (B3, C7 and E are options too.)"""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from behaviour.cluster_harness import SVC, ClusterHarness, Z, is_nodata, is_nxdomain
from behaviour.objects import FILE, external, headless, namespace, pod, service

from svcdns.config.load import load
from svcdns.config.sections import ConfigError
from svcdns.objects.kinds import NAMESPACE


def two_namespaces(make: Any, **options: Any) -> ClusterHarness:
    return make(
        namespace("open", team="web"),
        namespace("closed", team="db"),
        *(
            one
            for n, ns in enumerate(("open", "closed"))
            for one in (
                service("web", clusterIP=f"10.96.0.{n + 1}", ns=ns),
                headless("db", ns=ns),
                pod("db-0", f"10.1.0.{n + 1}", app="db", ns=ns),
                external("ext", "www.example.org", ns=ns),
            )
        ),
        **options,
    )


NAMES = (
    "{ns}.svc." + Z,
    "{ns}.pod." + Z,
    "{ns}." + Z,
    "web.{ns}.svc." + Z,
    "web.{ns}." + Z,
    "_http._tcp.web.{ns}.svc." + Z,
    "db.{ns}.svc." + Z,
    "ext.{ns}.svc." + Z,
)


@pytest.mark.row("G1")
@pytest.mark.parametrize("options", [{"namespaces": ("open",)}, {"namespace_labels": "team=web"}])
def test_only_the_namespaces_told_are_served(new_world: Any, options: dict[str, Any]) -> None:
    world = two_namespaces(new_world, **options)
    for shape in NAMES:
        assert world.ask(shape.format(ns="open")).rcode == "NOERROR", shape
        assert is_nxdomain(world.ask(shape.format(ns="closed"))), shape
    assert world.ask(f"10-1-0-1.db.open.svc.{Z}").answer
    assert is_nxdomain(world.ask(f"10-1-0-2.db.closed.svc.{Z}"))
    assert world.ask(f"10-1-0-1.open.pod.{Z}").answer
    assert is_nxdomain(world.ask(f"10-1-0-2.closed.pod.{Z}"))
    for number, there in ((1, True), (2, False)):
        for address in (f"10.96.0.{number}", f"10.1.0.{number}"):
            reply = world.ask(ip_address(address).reverse_pointer, "PTR")
            assert bool(reply.answer) is there
            assert there or is_nxdomain(reply, "in-addr.arpa.")


@pytest.mark.row("G1")
def test_hidden_namespaces_have_no_pod_names_when_insecure(new_world: Any) -> None:
    world = two_namespaces(new_world, namespaces=("open",), pods="insecure")
    assert world.ask(f"1-2-3-4.open.pod.{Z}").answer
    assert is_nxdomain(world.ask(f"1-2-3-4.closed.pod.{Z}"))


@pytest.mark.row("G1")
def test_a_label_brings_a_namespace_into_view_and_out_of_it(new_world: Any) -> None:
    world = two_namespaces(new_world, namespace_labels="team=web")
    for team, there in (("web", True), ("db", False), ("web", True)):
        world.change(NAMESPACE, "closed", {"metadata": {"labels": {"team": team}}}, ns="")
        for shape in NAMES:
            reply = world.ask(shape.format(ns="closed"))
            assert (reply.rcode == "NOERROR") is there, shape
        assert bool(world.ask(f"10-1-0-2.closed.pod.{Z}").answer) is there
        assert bool(world.ask("2.0.1.10.in-addr.arpa", "PTR").answer) is there
        assert bool(world.ask("2.0.96.10.in-addr.arpa", "PTR").answer) is there


@pytest.mark.row("G1")
def test_the_two_ways_to_choose_namespaces_exclude_each_other(tmp_path: Path) -> None:
    file = tmp_path / "svcdns.toml"
    file.write_text('[dns]\nnamespaces = ["a"]\nnamespace_labels = "team=web"\n')
    with pytest.raises(ConfigError, match=r"namespace_labels.*exclude each other"):
        load(file, {}, {})


@pytest.mark.row("G3")
@pytest.mark.parametrize("ttl", [0, 5, 300, 3600])
def test_ttl_of_all_records(new_world: Any, ttl: int) -> None:
    world = new_world(
        service("web", clusterIP="10.96.0.1"),
        headless("db"),
        pod("db-0", "10.1.0.1", app="db"),
        external("ext", "www.example.org"),
        ttl=ttl,
    )
    questions = [
        (f"web.{SVC}", "A"),
        (f"web.{SVC}", "SRV"),
        (f"_http._tcp.web.{SVC}", "SRV"),
        (f"db.{SVC}", "A"),
        (f"db.{SVC}", "SRV"),
        (f"10-1-0-1.db.{SVC}", "A"),
        (f"ext.{SVC}", "CNAME"),
        (f"10-1-0-1.default.pod.{Z}", "A"),
        ("1.0.96.10.in-addr.arpa", "PTR"),
        ("1.0.1.10.in-addr.arpa", "PTR"),
        (Z, "NS"),
        (f"ns.dns.{Z}", "A"),
    ]
    for name, rrtype in questions:
        reply = world.ask(name, rrtype)
        assert reply.answer, name
        assert {int(line.split()[1]) for line in reply.answer + reply.additional} == {ttl}, name


@pytest.mark.row("G3")
def test_ttl_of_pod_names_made_at_question_time(new_world: Any) -> None:
    world = new_world(ttl=77, pods="insecure")
    assert world.ask(f"1-2-3-4.default.pod.{Z}").answer == [f"1-2-3-4.default.pod.{Z}. 77 A 1.2.3.4"]


@pytest.mark.row("G3")
@pytest.mark.parametrize(("ttl", "is_allowed"), [(0, True), (3600, True), (3601, False), (-1, False)])
def test_ttl_bounds(tmp_path: Path, ttl: int, is_allowed: bool) -> None:
    file = tmp_path / "svcdns.toml"
    file.write_text(f"[dns]\nttl = {ttl}\n")
    if is_allowed:
        assert load(file, {}, {}).dns.ttl == ttl
    else:
        with pytest.raises(ConfigError, match=r"ttl.*allowed: 0\.\.3600"):
            load(file, {}, {})


def reverse_world(make: Any, **options: Any) -> ClusterHarness:
    """A reverse zone of ours, 168.192, and a zone file above it that knows addresses in it."""
    world: ClusterHarness = make(
        headless(), pod("db-0", "192.168.1.1", app="db"), reverse_zones=("168.192.in-addr.arpa",), **options
    )
    records = "1.1.168.192.in-addr.arpa. 60 TXT file\n9.1.168.192.in-addr.arpa. 60 PTR file.\n"
    world.zone_file(FILE.format(origin="192.in-addr.arpa", records=records))
    return world


@pytest.mark.row("G4")
@pytest.mark.parametrize(
    "fallthrough", [("in-addr.arpa",), ("168.192.in-addr.arpa",), (".",), ("ip6.arpa", ".")]
)
def test_unknown_names_fall_through(new_world: Any, fallthrough: tuple[str, ...]) -> None:
    world = reverse_world(new_world, fallthrough=fallthrough)
    assert world.ask("9.1.168.192.in-addr.arpa", "PTR").rdata == ["file."]
    assert is_nodata(world.ask("1.1.168.192.in-addr.arpa", "TXT"), "168.192.in-addr.arpa."), "NODATA does not"


@pytest.mark.row("G4")
@pytest.mark.parametrize("fallthrough", [(), ("ip6.arpa",), ("10.in-addr.arpa",)])
def test_zones_that_are_not_listed_do_not(new_world: Any, fallthrough: tuple[str, ...]) -> None:
    world = reverse_world(new_world, fallthrough=fallthrough)
    assert is_nxdomain(world.ask("9.1.168.192.in-addr.arpa", "PTR"), "168.192.in-addr.arpa.")


LOCAL = FILE.format(origin="local", records=f"extra.{SVC}. 60 A 192.0.2.9\nweb.{SVC}. 60 TXT file\n")


@pytest.mark.row("G4")
def test_the_cluster_domain_does_not_fall_through_by_default(new_world: Any) -> None:
    world = new_world(service("web"))
    world.zone_file(LOCAL)
    assert is_nxdomain(world.ask(f"extra.{SVC}"))


@pytest.mark.row("G4")
@pytest.mark.parametrize("listed", [Z, "."])
def test_the_cluster_domain_falls_through_if_listed(new_world: Any, listed: str) -> None:
    world = new_world(service("web"), fallthrough=(listed,))
    world.zone_file(LOCAL)
    assert world.ask(f"extra.{SVC}").answer == [f"extra.{SVC}. 60 A 192.0.2.9"]
    assert is_nodata(world.ask(f"web.{SVC}", "TXT")), "NODATA does not"


@pytest.mark.row("G4")
def test_a_part_of_a_zone_may_be_listed(new_world: Any) -> None:
    world = new_world(fallthrough=("10.in-addr.arpa",))
    records = "1.0.0.10.in-addr.arpa. 60 PTR file.\n1.0.0.11.in-addr.arpa. 60 PTR file.\n"
    world.zone_file(FILE.format(origin="arpa", records=records))
    assert world.ask("1.0.0.10.in-addr.arpa", "PTR").rdata == ["file."]
    assert is_nxdomain(world.ask("1.0.0.11.in-addr.arpa", "PTR"), "in-addr.arpa.")
