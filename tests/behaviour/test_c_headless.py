"""Rows C: headless Services and the names of endpoints."""

from typing import Any

import pytest
from behaviour.cluster_harness import ALL_TYPES, SVC, TTL, ClusterHarness, is_nodata, is_nxdomain
from behaviour.objects import endpoint, endpoint_slice, headless, pod, port, service

from svcdns.objects.kinds import POD

DB = f"db.{SVC}"
OWN = f"own.{SVC}"
PG = [port(5432, "pg")]


def own(name: str, **more: Any) -> Any:
    """A headless Service without selector, for slices of the user's own."""
    return headless(name, selector={}, **more)


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(
        headless("db", ports=[port(5432, "pg"), port(8008, "http")], ipFamilyPolicy="RequireDualStack"),
        pod("db-0", "10.1.0.1", "2001:db8::1", app="db", hostname="db-0", subdomain="db"),
        pod("db-1", "10.1.0.2", app="db", hostname="db-1", subdomain="db"),
        pod("db-2", "10.1.0.3", app="db"),
        pod("db-3", "10.1.0.4", app="db", hostname="db-3", subdomain="db", ready=False),
        own("own", ipFamilyPolicy="RequireDualStack"),
        endpoint_slice("own-1", "own", endpoint("10.2.0.1"), endpoint("10.2.0.2", ready=True), ports=PG),
        endpoint_slice(
            "own-2", "own", endpoint("10.2.0.2"), endpoint("10.2.0.3", ready=False), ports=[port(5433, "pg")]
        ),
        endpoint_slice("own-3", "own", endpoint("2001:db8:0:1::", "2001:db8::1"), ports=PG),
        own("twins"),
        endpoint_slice(
            "twins-1",
            "twins",
            endpoint("10.3.0.1", hostname="same"),
            endpoint("10.3.0.2", hostname="same"),
            ports=PG,
        ),
        headless("empty"),
        headless("waiting"),
        pod("waiting-0", "10.4.0.1", app="waiting", ready=False),
        own("portless", ports=[]),
        endpoint_slice("portless-1", "portless", endpoint("10.5.0.1")),
        own("unnamed"),
        endpoint_slice("unnamed-1", "unnamed", endpoint("10.6.0.1"), ports=[port(80)]),
    )


@pytest.mark.row("C1", "S17")
def test_a_is_every_ready_address_once(ask: Any) -> None:
    assert ask(DB).sorted == [f"{DB}. {TTL} A {ip}" for ip in ("10.1.0.1", "10.1.0.2", "10.1.0.3")]
    assert ask(OWN).rdata == ["10.2.0.1", "10.2.0.2"], "once, although two slices have it"


@pytest.mark.row("C1", "S18")
def test_aaaa_is_every_ready_address_once(ask: Any) -> None:
    assert ask(DB, "AAAA").answer == [f"{DB}. {TTL} AAAA 2001:db8::1"]
    assert ask(OWN, "AAAA").rdata == ["2001:db8:0:1::", "2001:db8::1"]
    assert is_nodata(ask(f"twins.{SVC}", "AAAA"))


@pytest.mark.row("C2", "S19")
@pytest.mark.parametrize(
    "name", [f"empty.{SVC}", f"waiting.{SVC}", f"_http._tcp.waiting.{SVC}", f"_tcp.waiting.{SVC}"]
)
@pytest.mark.parametrize("rrtype", [*ALL_TYPES, "ANY"])
def test_none_ready(ask: Any, name: str, rrtype: str) -> None:
    assert is_nxdomain(ask(name, rrtype))


@pytest.mark.row("C3", "S32")
def test_not_ready_appears_nowhere(ask: Any) -> None:
    assert "10.1.0.4" not in ask(DB).rdata
    assert "db-3" not in " ".join([*ask(DB, "SRV").rdata, *ask(f"_pg._tcp.{DB}", "SRV").rdata])
    assert "10.1.0.4" not in " ".join(ask(DB, "SRV").additional)
    assert is_nxdomain(ask(f"db-3.{DB}"))
    assert is_nxdomain(ask(f"10-1-0-4.{DB}"))
    assert is_nxdomain(ask("4.0.1.10.in-addr.arpa", "PTR"), "in-addr.arpa.")


@pytest.mark.row("C3")
def test_unknown_readiness_counts_as_ready(ask: Any) -> None:
    assert ask(f"10-2-0-1.{OWN}").rdata == ["10.2.0.1"]
    assert is_nxdomain(ask(f"10-2-0-3.{OWN}"))


@pytest.mark.row("C3")
def test_readiness_that_changes_shows_at_once(new_world: Any) -> None:
    world = new_world(headless(), pod("a", "10.1.0.1", app="db"), pod("b", "10.1.0.2", app="db"))
    for ready in (False, True, False):
        world.set_ready("a", ready)
        assert world.ask(DB).rdata == ["10.1.0.1", "10.1.0.2"][not ready :]
        assert (world.ask(f"10-1-0-1.{DB}").rcode == "NOERROR") is ready
    world.remove(POD, "b", grace=600)
    assert is_nxdomain(world.ask(DB)), "a terminating Pod is not ready"


@pytest.mark.row("C4", "S5")
@pytest.mark.parametrize(
    "more",
    [
        {"publishNotReadyAddresses": True},
        {"notes": {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}},
    ],
)
def test_not_ready_addresses_are_published_on_request(new_world: Any, more: dict[str, Any]) -> None:
    world = new_world(headless("db", ports=PG, **more), pod("a", "10.1.0.1", app="db", ready=False))
    assert world.ask(DB).rdata == ["10.1.0.1"]
    assert world.ask(f"_pg._tcp.{DB}", "SRV").rdata == [f"0 100 5432 10-1-0-1.{DB}."]
    assert world.ask(f"10-1-0-1.{DB}").rdata == ["10.1.0.1"]
    assert world.ask("1.0.1.10.in-addr.arpa", "PTR").rdata == [f"10-1-0-1.{DB}."]


@pytest.mark.row("O7")
def test_all_answer_when_none_is_ready_if_the_service_wants_it(new_world: Any) -> None:
    pods = [pod(f"p{n}", f"10.1.0.{n}", app="db", ready=False) for n in (1, 2)]
    notes = {"svcdns.io/when-none-ready": "all"}
    world = new_world(headless("db", ports=PG, notes=notes), *pods)
    assert sorted(world.ask(DB).rdata) == ["10.1.0.1", "10.1.0.2"]
    assert len(world.ask(f"_pg._tcp.{DB}", "SRV").rdata) == 2
    assert world.ask("1.0.1.10.in-addr.arpa", "PTR").rdata == [f"10-1-0-1.{DB}."]
    world.add(pod("p3", "10.1.0.3", app="db"))
    assert world.ask(DB).rdata == ["10.1.0.3"]


@pytest.mark.row("O7")
def test_who_was_ready_last_answers_when_none_is_if_the_service_wants_it(new_world: Any) -> None:
    notes = {"svcdns.io/when-none-ready": "last"}
    pods = [pod(f"p{n}", f"10.1.0.{n}", app="db", ready=True) for n in (1, 2)]
    world = new_world(headless("db", ports=PG, notes=notes), *pods)
    for name in ("p1", "p2"):
        world.set_ready(name, False)
    assert world.ask(DB).rdata == ["10.1.0.2"]
    assert world.ask(f"_pg._tcp.{DB}", "SRV").rdata == [f"0 100 5432 10-1-0-2.{DB}."]
    assert world.ask("1.0.1.10.in-addr.arpa", "PTR").rcode == "NXDOMAIN"
    world.set_ready("p1", True)
    assert world.ask(DB).rdata == ["10.1.0.1"]


@pytest.mark.row("C5", "S20", "S21", "S22")
@pytest.mark.parametrize(
    ("name", "rrtype", "address"),
    [
        (f"db-0.{DB}", "A", "10.1.0.1"),
        (f"db-1.{DB}", "A", "10.1.0.2"),
        (f"10-1-0-3.{DB}", "A", "10.1.0.3"),
        (f"db-0.{DB}", "AAAA", "2001:db8::1"),
        (f"2001-db8--1.{OWN}", "AAAA", "2001:db8::1"),
        (f"2001-db8-0-1--0.{OWN}", "AAAA", "2001:db8:0:1::"),
    ],
)
def test_label_of_an_endpoint(ask: Any, name: str, rrtype: str, address: str) -> None:
    assert ask(name, rrtype).answer == [f"{name}. {TTL} {rrtype} {address}"]


@pytest.mark.row("C6")
@pytest.mark.parametrize("label", ["10-1-0-1", "10-1-0-2", "2001-db8--1", "db-2", "2001-db8-0-1--"])
def test_a_hostname_replaces_the_dashed_address(ask: Any, label: str) -> None:
    assert is_nxdomain(ask(f"{label}.{DB}"))
    assert is_nxdomain(ask(f"{label}.{DB}", "AAAA"))


@pytest.mark.row("C7")
def test_endpoint_pod_names(new_world: Any) -> None:
    long = "p" * 64
    world = new_world(
        headless(),
        pod("plain", "10.1.0.1", app="db"),
        pod("other", "10.1.0.2", app="db", hostname="host", subdomain="db"),
        pod(long, "10.1.0.3", app="db"),
        pod("p" * 63, "10.1.0.4", app="db"),
        own("own"),
        endpoint_slice("own-1", "own", endpoint("10.2.0.1"), endpoint("10.2.0.2", pod="somebody")),
        endpoint_pod_names=True,
    )
    assert world.ask(f"plain.{DB}").rdata == ["10.1.0.1"]
    assert is_nxdomain(world.ask(f"10-1-0-1.{DB}"))
    assert world.ask(f"host.{DB}").rdata == ["10.1.0.2"], "a hostname goes first"
    assert is_nxdomain(world.ask(f"other.{DB}"))
    assert world.ask(f"10-1-0-3.{DB}").rdata == ["10.1.0.3"], "no label has 64 octets"
    assert world.ask(f"{'p' * 63}.{DB}").rdata == ["10.1.0.4"]
    assert world.ask(f"10-2-0-1.{OWN}").rdata == ["10.2.0.1"], "no Pod"
    assert world.ask(f"somebody.{OWN}").rdata == ["10.2.0.2"]
    assert world.ask("1.0.1.10.in-addr.arpa", "PTR").rdata == [f"plain.{DB}."]
    assert f"0 25 8080 plain.{DB}." in world.ask(f"_http._tcp.{DB}", "SRV").rdata


@pytest.mark.row("C8")
def test_two_endpoints_of_one_hostname(ask: Any) -> None:
    same = f"same.twins.{SVC}"
    assert ask(same).sorted == [f"{same}. {TTL} A 10.3.0.1", f"{same}. {TTL} A 10.3.0.2"]
    reply = ask(f"_pg._tcp.twins.{SVC}", "SRV")
    assert reply.rdata == [f"0 50 5432 {same}."]
    assert reply.additional == [f"{same}. {TTL} A 10.3.0.1", f"{same}. {TTL} A 10.3.0.2"]


@pytest.mark.row("C9", "S23", "S24", "S25", "S28")
def test_srv_of_a_port(ask: Any) -> None:
    """Four (endpoint, port) pairs, since db-0 has two addresses; three SRVs."""
    reply = ask(f"_pg._tcp.{DB}", "SRV")
    assert reply.rdata == [f"0 25 5432 {label}.{DB}." for label in ("10-1-0-3", "db-0", "db-1")]
    assert reply.additional == [
        f"10-1-0-3.{DB}. {TTL} A 10.1.0.3",
        f"db-0.{DB}. {TTL} A 10.1.0.1",
        f"db-0.{DB}. {TTL} AAAA 2001:db8::1",
        f"db-1.{DB}. {TTL} A 10.1.0.2",
    ]
    assert not reply.authority


@pytest.mark.row("C9")
def test_srv_at_the_bare_name_and_at_an_endpoint(ask: Any) -> None:
    bare = ask(DB, "SRV")
    assert len(bare.answer) == 6
    assert {line.split()[1] for line in bare.rdata} == {"12"}, "eight pairs"
    assert ask(f"db-1.{DB}", "SRV").rdata == [f"0 50 5432 db-1.{DB}.", f"0 50 8008 db-1.{DB}."]


@pytest.mark.row("C9")
def test_weights_count_what_two_slices_repeat(new_world: Any) -> None:
    twice = [endpoint_slice(f"own-{n}", "own", endpoint("10.2.0.1"), ports=PG) for n in range(2)]
    world = new_world(own("own"), *twice)
    assert world.ask(f"_pg._tcp.{OWN}", "SRV").rdata == [f"0 50 5432 10-2-0-1.{OWN}."]


@pytest.mark.row("C9")
def test_weights_are_at_least_one(new_world: Any) -> None:
    many = [endpoint(f"10.2.{n // 100}.{n % 100 + 1}") for n in range(101)]
    world = new_world(own("own"), endpoint_slice("own-1", "own", *many, ports=PG))
    reply = world.ask(f"_pg._tcp.{OWN}", "SRV", tcp=True)
    assert len(reply.answer) == 101
    assert {line.split()[1] for line in reply.rdata} == {"1"}


@pytest.mark.row("C10")
def test_the_port_is_that_of_the_slice(ask: Any, new_world: Any) -> None:
    assert ask(f"_pg._tcp.{OWN}", "SRV").rdata == [
        f"0 20 5432 10-2-0-1.{OWN}.",
        f"0 20 5432 10-2-0-2.{OWN}.",
        f"0 20 5432 2001-db8--1.{OWN}.",
        f"0 20 5432 2001-db8-0-1--0.{OWN}.",
        f"0 20 5433 10-2-0-2.{OWN}.",
    ]
    by_name = [{"name": "http", "port": 80, "targetPort": "web"}]
    listens = [
        [{"name": "c", "image": "c", "ports": [{"name": "web", "containerPort": n}]}] for n in (8080, 9090)
    ]
    world = new_world(
        headless("db", ports=by_name),
        pod("a", "10.1.0.1", app="db", containers=listens[0]),
        pod("b", "10.1.0.2", app="db", containers=listens[1]),
    )
    assert world.ask(f"_http._tcp.{DB}", "SRV").rdata == [
        f"0 50 8080 10-1-0-1.{DB}.",
        f"0 50 9090 10-1-0-2.{DB}.",
    ]


@pytest.mark.row("C11")
def test_without_ports(ask: Any) -> None:
    assert ask(f"portless.{SVC}").rdata == ["10.5.0.1"]
    assert is_nodata(ask(f"portless.{SVC}", "SRV"))
    assert is_nodata(ask(f"10-5-0-1.portless.{SVC}", "SRV"))
    assert is_nxdomain(ask(f"_tcp.portless.{SVC}"))


@pytest.mark.row("S26")
def test_an_unnamed_port_of_a_slice_has_no_name(ask: Any) -> None:
    assert is_nxdomain(ask(f"_._tcp.unnamed.{SVC}", "SRV"))
    assert is_nxdomain(ask(f"_tcp.unnamed.{SVC}", "SRV"))
    assert ask(f"unnamed.{SVC}", "SRV").rdata == [f"0 100 80 10-6-0-1.unnamed.{SVC}."]


@pytest.mark.row("C1", "C3")
def test_an_address_that_is_ready_in_one_slice_is_ready(new_world: Any) -> None:
    slices = [
        endpoint_slice(f"own-{n}", "own", endpoint("10.2.0.1", ready=bool(n)), ports=PG) for n in range(2)
    ]
    assert new_world(own("own"), *slices).ask(OWN).rdata == ["10.2.0.1"]


@pytest.mark.row("C1")
def test_pods_of_a_selector_and_slices_of_the_users_own_are_united(new_world: Any) -> None:
    world = new_world(
        headless("db", ports=PG),
        pod("a", "10.1.0.1", app="db"),
        endpoint_slice("mine", "db", endpoint("192.0.2.1"), ports=PG),
    )
    assert world.ask(DB).rdata == ["10.1.0.1", "192.0.2.1"]
    assert len(world.ask(f"_pg._tcp.{DB}", "SRV").answer) == 2


@pytest.mark.row("C1")
def test_becoming_headless_needs_a_new_service(new_world: Any) -> None:
    """A name follows its Service through deletion and creation as another type."""
    from svcdns.objects.kinds import SERVICE

    world = new_world(service("db", clusterIP="10.96.0.9"), pod("a", "10.1.0.1", app="db"))
    assert world.ask(DB).rdata == ["10.96.0.9"]
    world.remove(SERVICE, "db")
    assert is_nxdomain(world.ask(DB))
    assert is_nxdomain(world.ask(f"10-1-0-1.{DB}"))
    world.add(headless("db", ports=PG))
    assert world.ask(DB).rdata == ["10.1.0.1"]
