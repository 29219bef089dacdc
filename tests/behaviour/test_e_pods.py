"""Rows E: names of Pods, A-B-C-D.NAMESPACE.pod.ZONE."""

from typing import Any

import pytest
from behaviour.cluster_harness import ALL_TYPES, TTL, ClusterHarness, Z, is_nodata, is_nxdomain
from behaviour.objects import namespace, pod

from svcdns.objects.kinds import NAMESPACE, POD

PODS = f"default.pod.{Z}"
OBJECTS = (
    namespace("team"),
    pod("four", "10.1.0.1"),
    pod("both", "10.1.0.2", "2001:db8::2"),
    pod("zero", "2001:db8:0:1::"),
    pod("waiting", "10.1.0.3", ready=False),
    pod("teams", "10.1.0.4", ns="team"),
    *(
        pod(phase.lower(), f"10.1.1.{n}", phase=phase)
        for n, phase in enumerate(("Succeeded", "Failed", "Unknown"))
    ),
    pod("pending", "10.1.1.9", phase="Pending"),
)


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(*OBJECTS)


@pytest.fixture(scope="module")
def insecure(make_world: Any) -> ClusterHarness:
    return make_world(*OBJECTS, pods="insecure")


@pytest.mark.row("E1")
@pytest.mark.parametrize("rrtype", [*ALL_TYPES, "ANY"])
def test_disabled(make_world: Any, rrtype: str) -> None:
    world = make_world(*OBJECTS, pods="disabled")
    for name in (f"10-1-0-1.{PODS}", f"1-2-3-4.{PODS}", PODS):
        assert is_nxdomain(world.ask(name, rrtype))


@pytest.mark.row("E2")
@pytest.mark.parametrize(
    ("label", "rrtype", "address"),
    [
        ("10-1-0-1", "A", "10.1.0.1"),
        ("1-2-3-4", "A", "1.2.3.4"),
        ("255-255-255-255", "A", "255.255.255.255"),
        ("2001-db8--1", "AAAA", "2001:db8::1"),
        ("2001-DB8--1", "AAAA", "2001:db8::1"),
        ("2001-db8-0-1--0", "AAAA", "2001:db8:0:1::"),
        ("1-2-3-4-5-6-7-8", "AAAA", "1:2:3:4:5:6:7:8"),
        ("--1", "AAAA", "::1"),
    ],
)
def test_insecure_answers_any_address(
    insecure: ClusterHarness, label: str, rrtype: str, address: str
) -> None:
    name = f"{label}.{PODS}"
    assert insecure.ask(name, rrtype).answer == [f"{name}. {TTL} {rrtype} {address}"]
    for other in set(ALL_TYPES) - {rrtype}:
        assert is_nodata(insecure.ask(name, other)), other
    assert insecure.ask(name, "ANY").rdata == ['"ANY obsoleted" "See RFC 8482"']


@pytest.mark.row("E2")
@pytest.mark.parametrize(
    "label",
    ["1-2-3", "1-2-3-256", "1-2-3-4-5", "web", "01-2-3-4", "1.2.3.4", "1-2-3-4x", "-", "2001-db8-1", "g--1"],
)
def test_insecure_knows_what_is_no_address(insecure: ClusterHarness, label: str) -> None:
    assert is_nxdomain(insecure.ask(f"{label}.{PODS}"))
    assert is_nxdomain(insecure.ask(f"{label}.{PODS}", "AAAA"))


@pytest.mark.row("E2")
def test_insecure_needs_the_namespace(insecure: ClusterHarness) -> None:
    assert insecure.ask(f"1-2-3-4.team.pod.{Z}").rdata == ["1.2.3.4"]
    assert is_nxdomain(insecure.ask(f"1-2-3-4.nowhere.pod.{Z}"))


@pytest.mark.row("E3")
@pytest.mark.parametrize(
    ("label", "rrtype", "address"),
    [
        ("10-1-0-1", "A", "10.1.0.1"),
        ("10-1-0-2", "A", "10.1.0.2"),
        ("2001-db8--2", "AAAA", "2001:db8::2"),
        ("2001-db8-0-1--0", "AAAA", "2001:db8:0:1::"),
        ("10-1-0-3", "A", "10.1.0.3"),
        ("10-1-1-9", "A", "10.1.1.9"),
    ],
)
def test_verified_answers_pods(ask: Any, label: str, rrtype: str, address: str) -> None:
    name = f"{label}.{PODS}"
    assert ask(name, rrtype).answer == [f"{name}. {TTL} {rrtype} {address}"]
    assert is_nodata(ask(name, "AAAA" if rrtype == "A" else "A"))


@pytest.mark.row("E3")
@pytest.mark.parametrize(
    "name",
    [
        f"1-2-3-4.{PODS}",
        f"10-1-0-4.{PODS}",  # in another namespace
        f"10-1-0-1.team.pod.{Z}",
        f"10-1-1-0.{PODS}",  # Succeeded
        f"10-1-1-1.{PODS}",  # Failed
        f"10-1-1-2.{PODS}",  # Unknown
        f"2001-db8--1.{PODS}",
    ],
)
def test_verified_answers_nothing_else(ask: Any, name: str) -> None:
    assert is_nxdomain(ask(name))
    assert is_nxdomain(ask(name, "AAAA"))


@pytest.mark.row("E3")
def test_verified_follows_the_pod(new_world: Any) -> None:
    world = new_world(
        namespace("team"), pod("a", "10.1.0.1"), pod("b", "10.1.0.1"), pod("c", "10.1.0.3", ns="team")
    )
    name = f"10-1-0-1.{PODS}"
    world.remove(POD, "a", grace=600)
    assert world.ask(name).rdata == ["10.1.0.1"], "b has the address too"
    world.change(POD, "b", {"status": {"phase": "Succeeded"}}, status=True)
    assert is_nxdomain(world.ask(name))
    world.remove(NAMESPACE, "team", ns="")
    assert is_nxdomain(world.ask(f"10-1-0-3.team.pod.{Z}"))
    assert is_nxdomain(world.ask(f"team.pod.{Z}"))


@pytest.mark.row("E4")
def test_nothing_stands_below_a_pod_and_it_has_no_srv(ask: Any, insecure: ClusterHarness) -> None:
    name = f"10-1-0-1.{PODS}"
    for one in (ask, insecure.ask):
        assert is_nxdomain(one(f"x.{name}"))
        assert is_nxdomain(one(f"_http._tcp.{name}", "SRV"))
        assert is_nodata(one(name, "SRV"))
