"""The reason that goes with NXDOMAIN for a Service's name: an Extended DNS Error (RFC 8914)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from behaviour.cluster_harness import SVC, ClusterHarness, Z, is_nodata, is_nxdomain, question, reply_to
from behaviour.conftest import MakeHarness
from behaviour.objects import external, headless, namespace, pod, service
from toolbox import builders
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

from svcdns.dns import view
from svcdns.dns.answer import Answerer
from svcdns.objects.kinds import NAMESPACE, POD

OTHER = 0


def without_address(name: str, app: str) -> Any:
    kind, ns, body = pod(name, "10.1.0.1", app=app)
    return kind, ns, {**body, "status": {}}


@pytest.fixture(autouse=True)
def without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question here is the only one for a while."""
    monkeypatch.setattr(view, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(view, "LOOK_SECONDS", 0.0)


@pytest.fixture(scope="module")
def world(make_world: MakeHarness) -> ClusterHarness:
    return make_world(
        headless("db"),
        pod("db-0", "10.1.0.1", app="db", ready=False),
        pod("db-1", "10.1.0.2", app="db", ready=False),
        headless("y2"),
        headless("long", selector={f"k{number}": "v" * 60 for number in range(9)}),
        headless("bare", selector={}),
        headless("lost"),
        without_address("lost-0", "lost"),
        service("web"),
        pod("web-0", "10.1.0.3"),
        external("alias", "192.0.2.1"),
    )


def reason(world: ClusterHarness, name: str, rrtype: str = "A", **more: Any) -> str:
    """Return the reason of a question that comes alone."""
    reply = world.ask(name, rrtype, **{"edns": 1232, **more})
    assert is_nxdomain(reply)
    if not reply.extended_errors:
        return ""
    [(code, text)] = reply.extended_errors
    assert code == OTHER
    return text


@pytest.mark.parametrize("name", ["db", "pod-0.db", "_http._tcp.db"])
@pytest.mark.parametrize("more", [{}, {"do": True}, {"tcp": True}, {"edns": 512}])
def test_no_endpoint_is_ready(world: ClusterHarness, name: str, more: dict[str, Any]) -> None:
    assert reason(world, f"{name}.{SVC}", **more) == "no ready endpoint: 0 of 2 are ready"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("y2", "selector app=y2 matches no Pod"),
        ("Y2", "selector app=y2 matches no Pod"),
        ("bare", "Service bare has no selector and no endpoints"),
        ("lost", "no ready endpoint: its Pods have no address, or have ended"),
        ("_grpc._tcp.web", "Service web has no port of this name and protocol"),
        ("web-9.web", "Service web has no ready endpoint of this name"),
    ],
)
def test_what_is_missing(world: ClusterHarness, name: str, text: str) -> None:
    for rrtype in ("A", "AAAA", "SRV", "TXT"):
        assert reason(world, f"{name}.{SVC}", rrtype) == text
    assert reason(world, f"{name}.default.{Z}") == text  # the short name


def test_a_long_reason_is_cut(world: ClusterHarness) -> None:
    assert len(reason(world, f"long.{SVC}")) == 120


@pytest.mark.parametrize(
    "name",
    [
        f"nothing.{SVC}",
        f"db.other.svc.{Z}",
        f"db.pod.{Z}",
        f"a.b.web.{SVC}",
        f"a.b.c.db.{SVC}",
        f"alias.{SVC}",
        f"nothing.{Z}",
    ],
)
def test_what_does_not_exist_has_none(world: ClusterHarness, name: str) -> None:
    assert reason(world, name) == ""


@pytest.mark.row("O6")
def test_only_who_asks_with_edns_is_told(world: ClusterHarness) -> None:
    assert world.ask(f"db.{SVC}").message.edns == -1
    assert is_nodata(world.ask(f"web.{SVC}", "TXT", edns=1232))
    assert not world.ask(f"web.{SVC}", "TXT", edns=1232).extended_errors


@pytest.mark.row("O6")
def test_the_reason_is_dropped_where_it_has_no_room(world: ClusterHarness) -> None:
    label = "a" * 63
    name = f"{label}.{label}.{label}.db"
    full = world.ask(f"{name[-150:].lstrip('.')}.{SVC}", edns=512)
    assert len(full.wire) <= 512 and "TC" not in full.flags


@pytest.mark.row("O6")
def test_a_flood_in_one_batch_is_told_once(world: ClusterHarness) -> None:
    with world.snapshots.begin() as snapshot:
        told = []
        for _ in range(5):
            query = question(f"db.{SVC}", edns=1232)
            reply = reply_to(query, world.answerer.answer(query.to_wire(), snapshot))  # type: ignore[arg-type]
            assert is_nxdomain(reply)
            told.append(bool(reply.extended_errors))
    assert told == [True, False, False, False, False]


def test_one_is_told_in_a_while(world: ClusterHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "PAUSE_SECONDS", 3600.0)
    world.answerer = Answerer(world.counters, explains=True)
    assert [bool(reason(world, f"db.{SVC}")) for _ in range(3)] == [True, False, False]
    world.answerer = Answerer(world.counters, explains=True)


@pytest.mark.row("O6")
def test_it_follows_what_is_registered(new_world: MakeHarness) -> None:
    world = new_world(headless("db"))
    assert "matches no Pod" in reason(world, f"db.{SVC}")
    world.add(pod("db-0", "10.1.0.1", app="db", ready=False))
    assert reason(world, f"db.{SVC}") == "no ready endpoint: 0 of 1 is ready"
    world.set_ready("db-0", True)
    assert not world.ask(f"db.{SVC}", edns=1232).extended_errors
    world.remove(POD, "db-0")
    assert "matches no Pod" in reason(world, f"db.{SVC}")


@pytest.mark.row("O6")
def test_a_hidden_cluster_ip_service_has_a_reason_and_a_hidden_namespace_none(new_world: MakeHarness) -> None:
    world = new_world(service("web"), ignore_empty_service=True)
    assert reason(world, f"web.{SVC}") == "selector app=web matches no Pod"
    hidden = new_world(namespace("shop", team="a"), headless("db", ns="shop"), namespaces=("default",))
    assert reason(hidden, f"db.shop.svc.{Z}") == ""
    assert hidden.registry.get(NAMESPACE, "", "shop")


@pytest.mark.row("O6")
def test_it_can_be_switched_off(new_world: MakeHarness) -> None:
    world = new_world(headless("db"), explain_empty=False)
    assert reason(world, f"db.{SVC}") == ""


def test_dig_prints_it(need: Callable[..., str]) -> None:
    dig = need("dig")
    with RunningServer(workers=1) as running:
        running.post("/api/v1/namespaces/default/services", builders.headless("y2"))
        host, port = running.dns
        command = [dig, "-p", str(port), f"@{host}", f"y2.{SVC}"]
        printed = subprocess.run(
            command, capture_output=True, text=True, timeout=GUARD_SECONDS, check=True
        ).stdout
    assert "EDE: 0 (Other)" in printed and "(selector app=y2 matches no Pod)" in printed


def test_a_service_that_is_large_is_not_read_for_a_reason(new_world: MakeHarness) -> None:
    world = new_world(headless("db", notes={"big": "x" * 100_000}))
    assert reason(world, f"db.{SVC}") == ""
