"""Events: what users are told of what the registry does, counted, bounded, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from conftest_registry import Running, pod, service

from svcdns.cluster.notes import Note, Subject
from svcdns.config import Config, DnsConfig, ServicesConfig
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import EVENT, NAMESPACE, POD, SERVICE
from svcdns.objects.selectors import FieldSelector
from svcdns.registry import events
from svcdns.registry.options import DeleteOptions, Patch, Selection, WriteOptions
from svcdns.registry.watch import Feed
from svcdns.registry.zones import ZoneFolder
from svcdns.store import log

WRITE = WriteOptions()
GUARD_SECONDS = 60.0
READY = "nobody has set its Ready condition, so it is taken as ready"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about how long Events wait."""
    monkeypatch.setattr(events, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)


def selected(text: str = "") -> Selection:
    return Selection(fields=FieldSelector.parse(text, EVENT)) if text else Selection()


def listed(running: Running, text: str = "", namespace: str = "") -> list[dict[str, Any]]:
    page = running.registry.page(EVENT, namespace, selected(text))
    return [json.loads(octets) for octets in page.items]


def told(running: Running, text: str = "", namespace: str = "") -> set[tuple[str, str, int]]:
    """Reason, message and count of all Events that a field selector selects."""
    return {(e["reason"], e["message"], e["count"]) for e in listed(running, text, namespace)}


async def until(running: Running, condition: Callable[[], Any]) -> Any:
    """Return the condition's first true value, looked at after each change of an Event."""

    async def look() -> Any:
        revision = running.registry.page(EVENT, "", Selection()).revision
        stream = running.registry.watch(EVENT, "", Selection(), revision)
        while not (value := condition()):
            await anext(stream)
        return value

    return await asyncio.wait_for(look(), GUARD_SECONDS)


async def told_of(running: Running, text: str, *reasons: str) -> set[tuple[str, str, int]]:
    """Return what is told when it has these reasons."""

    def look() -> set[tuple[str, str, int]]:
        found = told(running, text)
        return found if {reason for reason, _, _ in found} >= set(reasons) else set()

    found: set[tuple[str, str, int]] = await until(running, look)
    return found


async def status(running: Running, name: str, ready: str, **words: str) -> None:
    change = {"status": {"conditions": [{"type": "Ready", "status": ready, **words}]}}
    await running.registry.patch(POD, "default", name, Patch("merge", change), WRITE, "status")


def test_what_a_service_is_given(run: Any) -> None:
    async def work(running: Running) -> None:
        written = await running.registry.create(SERVICE, "default", service(type="LoadBalancer"), WRITE)
        made = json.loads(written.object)
        uid, spec = made["metadata"]["uid"], made["spec"]
        chosen = f"involvedObject.uid={uid},involvedObject.kind=Service"
        found = await told_of(running, chosen, "LoadBalancerPending", "ClusterIPAllocated")
        pending = "The load balancer address is pending: services.load_balancer_ranges has no IPv4 range"
        assert found == {
            ("ClusterIPAllocated", f"Cluster IP {spec['clusterIP']} allocated", 1),
            ("NodePortAllocated", f"Node port {spec['ports'][0]['nodePort']} allocated", 1),
            ("LoadBalancerPending", pending, 1),
        }
        await running.registry.patch(
            SERVICE, "default", "web", Patch("merge", {"metadata": {"labels": {"a": "b"}}}), WRITE
        )
        change = {"spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}}
        with pytest.raises(StatusError):
            await running.registry.patch(SERVICE, "default", "web", Patch("merge", change), WRITE)
        change = {"spec": {"type": "ExternalName", "externalName": "192.0.2.1", "clusterIP": None}}
        await running.registry.patch(SERVICE, "default", "web", Patch("merge", change), WRITE)
        after = await told_of(running, chosen, "ExternalNameIsAddress")
        back = f"Cluster IP {spec['clusterIP']} given back: the Service is ExternalName now"
        assert {(reason, message) for reason, message, _ in after - found if "IsAddress" not in reason} == {
            ("ClusterIPReleased", back)
        }

    run(work)


def test_the_shape_is_that_of_kubernetes(run: Any) -> None:
    async def work(running: Running) -> None:
        made = json.loads((await running.registry.create(SERVICE, "default", service(), WRITE)).object)
        [event] = await until(running, lambda: listed(running))
        name, first = event["metadata"]["name"], event["firstTimestamp"]
        assert name.startswith("web.") and len(name) == len("web.") + 16
        assert event == {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {**event["metadata"], "namespace": "default"},
            "involvedObject": {
                "kind": "Service",
                "namespace": "default",
                "name": "web",
                "uid": made["metadata"]["uid"],
                "apiVersion": "v1",
            },
            "reason": "ClusterIPAllocated",
            "message": f"Cluster IP {made['spec']['clusterIP']} allocated",
            "source": {"component": "svcdns"},
            "firstTimestamp": first,
            "lastTimestamp": first,
            "count": 1,
            "type": "Normal",
            "reportingComponent": "svcdns",
        }

    run(work)


def test_a_load_balancer_gets_its_address(run: Any) -> None:
    async def work(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service(type="LoadBalancer"), WRITE)
        found = await told_of(running, "", "LoadBalancerAllocated")
        assert ("LoadBalancerAllocated", "Load balancer address 192.0.2.1 allocated", 1) in found
        assert "LoadBalancerPending" not in {reason for reason, _, _ in found}

    run(work, Config(services=ServicesConfig(load_balancer_ranges=(ip_network("192.0.2.0/30"),))))


def test_a_full_range_is_told_of_a_service_that_was_refused(run: Any) -> None:
    async def work(running: Running) -> None:
        for name in ("a", "b"):
            await running.registry.create(SERVICE, "default", service(name), WRITE)
        for name, options in (("dry", WriteOptions(dry_run=True)), ("c", WRITE)):
            with pytest.raises(StatusError) as full:
                await running.registry.create(SERVICE, "default", service(name), options)
        assert full.value.code == 507
        [event] = await until(running, lambda: listed(running, "reason=RangeFull"))
        assert (event["involvedObject"]["name"], event["type"], event["count"]) == ("c", "Warning", 1)
        assert event["message"] == full.value.message
        assert "10.96.0.0/30 is full" in event["message"]

    run(work, Config(services=ServicesConfig(cluster_ip_ranges=(ip_network("10.96.0.0/30"),))))


def test_what_is_not_done_is_not_told(run: Any) -> None:
    """A dry run, and a write that is refused for what it says."""

    async def work(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service("dry"), WriteOptions(dry_run=True))
        with pytest.raises(StatusError):
            await running.registry.create(SERVICE, "default", service("Wrong"), WRITE)
        await running.registry.create(SERVICE, "default", service("last"), WRITE)
        await until(running, lambda: listed(running))
        assert {event["involvedObject"]["name"] for event in listed(running)} == {"last"}

    run(work)


def test_flapping_is_counted(run: Any) -> None:
    async def work(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        for _ in range(10):
            await status(running, "web-1", "False", reason="Probe", message="HTTP 503")
            await status(running, "web-1", "True")
        false, true = "condition Ready is False, Probe (HTTP 503)", "condition Ready is True"
        expected = {
            ("EndpointReady", f"is ready: {READY}", 1),
            ("EndpointNotReady", f"is not ready: {false}", 10),
            ("EndpointReady", f"is ready: {true}", 10),
        }
        of_pod = {(r, f"Address 10.1.0.1 in Service web {text}", n) for r, text, n in expected}
        of_service = {(r, f"Pod web-1 (10.1.0.1) {text}", n) for r, text, n in expected}
        await until(running, lambda: told(running, "involvedObject.kind=Pod") == of_pod)
        await until(running, lambda: told(running, "involvedObject.kind=Service") == of_service)
        types = {event["reason"]: event["type"] for event in listed(running)}
        assert types == {"EndpointReady": "Normal", "EndpointNotReady": "Warning"}

    run(work)


def test_counting_goes_on_after_a_restart(run: Any) -> None:
    async def first(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1", ready=False), WRITE)
        await status(running, "web-1", "True")

    async def second(running: Running) -> None:
        before = {event["metadata"]["uid"] for event in listed(running)}
        await status(running, "web-1", "False")
        await until(running, lambda: len(told(running, "reason=EndpointNotReady")) == 2)
        chosen = "reason=EndpointNotReady,involvedObject.kind=Pod"
        text = "Address 10.1.0.1 in Service web is not ready: condition Ready is False"
        await until(running, lambda: told(running, chosen) == {("EndpointNotReady", text, 2)})
        assert {event["metadata"]["uid"] for event in listed(running)} == before

    run(first)  # what waits is written when the registry stops
    run(second)


async def _why(running: Running, changes: list[dict[str, Any]]) -> str:
    """Return what is told of a Pod after changes to it."""
    registry = running.registry
    await registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
    await registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
    for change in changes:
        await registry.patch(POD, "default", "web-1", Patch("merge", change), WRITE)
    chosen = "involvedObject.kind=Pod,type!=x"

    def last() -> str:
        found = {e["message"] for e in listed(running, chosen)} - {
            f"Address 10.1.0.1 in Service web is ready: {READY}"
        }
        return found.pop().removeprefix("Address 10.1.0.1 in Service web is ") if found else ""

    text: str = await until(running, last)
    return text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"metadata": {"annotations": {"svcdns.io/ready": "false"}}},
            "not ready: annotation svcdns.io/ready is 'false'",
        ),
        (
            {"spec": {"containers": [{"name": "c", "readinessProbe": {"tcpSocket": {"port": 1}}}]}},
            "not ready: its readinessProbe is not run here; set the Ready condition through /status",
        ),
        (
            {"spec": {"readinessGates": [{"conditionType": "x.example/y"}]}},
            "not ready: a condition named in spec.readinessGates is not True",
        ),
        ({"status": {"phase": "Failed"}}, "an endpoint no more: its phase is Failed"),
        (
            {"metadata": {"labels": {"app": "other"}}},
            "an endpoint no more: the Service's selector does not take it in",
        ),
    ],
)
def test_why(run: Any, change: dict[str, Any], text: str) -> None:
    async def work(running: Running) -> None:
        assert await _why(running, [change]) == text

    run(work)


def test_a_pod_that_goes(run: Any) -> None:
    async def work(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        await running.registry.delete(POD, "default", "web-1", DeleteOptions(grace_period_seconds=3600))
        found = await told_of(running, "involvedObject.kind=Service", "EndpointTerminating")
        going = "Pod web-1 (10.1.0.1) is not ready: the Pod is being deleted"
        assert ("EndpointTerminating", going, 1) in found
        await running.registry.delete(POD, "default", "web-1", DeleteOptions(grace_period_seconds=0))
        found = await told_of(running, "involvedObject.kind=Service", "EndpointRemoved")
        gone = "Pod web-1 (10.1.0.1) is an endpoint no more: the Pod has been deleted"
        assert ("EndpointRemoved", gone, 1) in found

    run(work)


def test_a_service_that_goes_tells_nothing_of_its_pods(run: Any) -> None:
    async def work(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        await running.registry.delete(SERVICE, "default", "web", DeleteOptions())
        await running.registry.create(SERVICE, "default", service("last"), WRITE)
        await told_of(running, "", "ClusterIPAllocated")
        assert {reason for reason, _, _ in told(running)} == {"EndpointReady", "ClusterIPAllocated"}

    run(work)


def test_a_target_port_that_a_pod_does_not_have(run: Any) -> None:
    async def work(running: Running) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "x", "port": 81}]
        await running.registry.create(SERVICE, "default", service(ports=ports, clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        for ready in ("False", "True"):
            await status(running, "web-1", ready)
        await until(running, lambda: len(told(running, "involvedObject.kind=Pod")) == 4)
        text = "Port http: Pod web-1 has no container port 'web' (TCP): the port is left out there"
        for kind in ("Pod", "Service"):
            chosen = f"reason=TargetPortNotFound,involvedObject.kind={kind}"
            assert told(running, chosen) == {("TargetPortNotFound", text, 1)}

    run(work)


def test_names_that_are_too_long_and_namespaces_that_are_not_served(run: Any) -> None:
    long = ".".join(["a" * 60] * 3) + ".example"

    async def work(running: Running) -> None:
        await running.registry.create(NAMESPACE, "", {"metadata": {"name": "hidden"}}, WRITE)
        await running.registry.create(SERVICE, "hidden", service(), WRITE)
        await running.registry.create(SERVICE, "default", service("b" * 40, clusterIP="None"), WRITE)
        named = pod("p", "10.1.0.1", app="b" * 40, hostname="h" * 20, subdomain="b" * 40)
        await running.registry.create(POD, "default", named, WRITE)
        await told_of(running, "", "NotServed", "NameTooLong")
        name = f"{'h' * 20}.{'b' * 40}.default.svc.{long}."
        text = f"{name} is too long for DNS (255 octets, 63 a label): it has no records"
        assert told(running, "reason=NameTooLong") == {("NameTooLong", text, 1)}
        assert [e["metadata"]["namespace"] for e in listed(running, "reason=NotServed")] == ["hidden"]

    run(work, Config(cluster_domain=long, dns=DnsConfig(namespaces=("default",))))


def test_too_many_similar_ones_share_an_event(run: Any) -> None:
    async def work(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        for number in range(25):
            await running.registry.create(POD, "default", pod(f"web-{number}", f"10.1.0.{number}"), WRITE)
        chosen = "involvedObject.kind=Service"

        def combined() -> list[dict[str, Any]]:
            found = [e for e in listed(running, chosen) if e["message"].startswith(events.COMBINED)]
            return [e for e in found if e["count"] == 15]

        [event] = await until(running, combined)
        assert event["message"].endswith(f"Pod web-24 (10.1.0.24) is ready: {READY}")
        assert len(listed(running, chosen)) == 11

    run(work)


def test_the_history_is_bounded(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay; watchers see the others go."""
    monkeypatch.setattr(events, "KEEP", 5)
    monkeypatch.setattr(events, "_SLACK", 0)

    async def work(running: Running) -> None:
        start = running.registry.page(EVENT, "", Selection()).revision
        for number in range(12):
            await running.registry.create(SERVICE, "default", service(f"s{number}"), WRITE)
            chosen = f"involvedObject.name=s{number}"
            await until(running, lambda chosen=chosen: listed(running, chosen))
        names = {f"s{number}" for number in range(7, 12)}
        await until(running, lambda: {e["involvedObject"]["name"] for e in listed(running)} == names)
        stream = running.registry.watch(EVENT, "", Selection(), start)
        gone = set()
        while len(gone) < 7:
            event = await asyncio.wait_for(anext(stream), GUARD_SECONDS)
            if event.type == "DELETED":
                gone.add(json.loads(event.object)["involvedObject"]["name"])
        assert gone == {f"s{number}" for number in range(7)}

    run(work)


def test_clients_events_have_the_same_bound(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP", 5)
    monkeypatch.setattr(events, "_SLACK", 0)

    async def work(running: Running) -> None:
        await asyncio.gather(
            *(running.registry.create(EVENT, "default", an_event(f"e{i:02}"), WRITE) for i in range(30))
        )
        left = [f"e{i:02}" for i in range(25, 30)]
        await until(running, lambda: [e["metadata"]["name"] for e in listed(running)] == left)

    run(work)


def test_what_is_old_goes(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def first(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service(), WRITE)
        old = an_event("old", lastTimestamp="2020-01-01T00:00:00Z")
        await running.registry.create(EVENT, "default", old, WRITE)
        future = an_event("future", lastTimestamp="2999-01-01T00:00:00Z")
        await running.registry.create(EVENT, "default", future, WRITE)

    async def second(running: Running) -> None:
        await until(running, lambda: not listed(running, "metadata.name=old"))
        assert {e["metadata"]["name"].split(".")[0] for e in listed(running)} == {"web", "future"}

    async def third(running: Running) -> None:
        await until(running, lambda: not listed(running))

    run(first)
    run(second)
    monkeypatch.setattr(events, "KEEP_SECONDS", -1.0)
    run(third)


def an_event(name: str, namespace: str = "default", **fields: Any) -> dict[str, Any]:
    involved = {"kind": "Pod", "namespace": namespace, "name": "x", "apiVersion": "v1"}
    return {"metadata": {"name": name}, "involvedObject": involved, "reason": "Tested", **fields}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (an_event("e", "elsewhere"), 'involvedObject.namespace: Invalid value: "elsewhere": does not match'),
        ({"metadata": {"name": "e"}}, "involvedObject: Required value"),
        (an_event("Bad_Name"), "metadata.name: Invalid value"),
        (an_event("e", message="x" * 20_000), "Too long: may not be more than 16384 bytes"),
        (an_event("e", eventTime="2026-01-01T00:00:00.000000Z"), "reportingComponent: Required value"),
        (
            an_event(
                "e",
                eventTime="2026-01-01T00:00:00.000000Z",
                reportingComponent="a.example/b",
                reportingInstance="i" * 129,
                action="Testing",
            ),
            "reportingInstance: Too long",
        ),
    ],
    ids=["another namespace", "about nothing", "name", "huge", "newer form", "newer form, long word"],
)
def test_what_clients_tell_is_checked(run: Any, event: dict[str, Any], words: str) -> None:
    async def work(running: Running) -> None:
        with pytest.raises(StatusError) as refused:
            await running.registry.create(EVENT, "default", event, WRITE)
        assert refused.value.code == 422
        assert words in refused.value.message
        assert not listed(running)

    run(work)


def test_clients_events_about_what_is_in_no_namespace_stand_in_default(run: Any) -> None:
    async def work(running: Running) -> None:
        node = {**an_event("e"), "involvedObject": {"kind": "Node", "name": "n1"}}
        await running.registry.create(EVENT, "default", node, WRITE)
        with pytest.raises(StatusError):
            await running.registry.create(EVENT, "kube-system", node, WRITE)

    run(work)


def test_a_namespace_goes_with_its_events(run: Any) -> None:
    async def work(running: Running) -> None:
        await running.registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WRITE)
        await running.registry.create(SERVICE, "shop", service(), WRITE)
        await until(running, lambda: listed(running, namespace="shop"))
        await running.registry.create(SERVICE, "shop", service("late"), WRITE)
        await running.registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        await running.registry.create(SERVICE, "default", service("last"), WRITE)
        await until(running, lambda: listed(running, "involvedObject.name=last"))
        assert not listed(running, namespace="shop")

    run(work)


def test_a_namespace_that_is_emptied_in_steps(run: Any) -> None:
    async def work(running: Running) -> None:
        await running.registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WRITE)
        bodies = [pod(f"p{i}", f"10.1.{i // 250}.{i % 250}") for i in range(501)]
        await asyncio.gather(*(running.registry.create(POD, "shop", body, WRITE) for body in bodies))
        await running.registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        [event] = await until(running, lambda: listed(running, "reason=NamespaceEmptying"))
        assert (event["metadata"]["namespace"], event["involvedObject"]["name"]) == ("default", "shop")

    run(work)


def test_watching_with_a_field_selector(run: Any) -> None:
    """A transition is told by the fields that Events have."""

    async def work(running: Running) -> None:
        stream = running.registry.watch(EVENT, "", selected("type=Warning,source=svcdns"), None)
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        seen = []
        for count in (1, 2):
            await status(running, "web-1", "False")
            for _ in ("Pod", "Service"):
                event = await asyncio.wait_for(anext(stream), GUARD_SECONDS)
                seen.append((event.type, json.loads(event.object)["count"]))
            assert seen[-2:] == [("ADDED" if count == 1 else "MODIFIED", count)] * 2
            await status(running, "web-1", "True")

    run(work)


def test_telling_pushes_nothing_out_of_the_log(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "KEEP", 20)
    monkeypatch.setattr(log, "KEEP_OF_EVENTS", 10)
    monkeypatch.setattr(log, "_TRIM_SLACK", 0)

    async def work(running: Running) -> None:
        await running.registry.create(POD, "default", pod("first", "10.1.0.1"), WRITE)
        start = running.registry.page(POD, "", Selection()).revision
        await running.registry.create(POD, "default", pod("second", "10.1.0.2"), WRITE)
        for number in range(40):
            await running.registry.create(EVENT, "default", an_event(f"e{number:02}"), WRITE)
        event = await anext(running.registry.watch(POD, "", Selection(), start))
        assert json.loads(event.object)["metadata"]["name"] == "second"
        with pytest.raises(StatusError) as expired:
            await anext(running.registry.watch(EVENT, "", Selection(), start))
        assert expired.value.code == 410
        now = running.registry.page(EVENT, "", Selection()).revision
        stream = running.registry.watch(EVENT, "", Selection(), now - 5)
        names = [json.loads((await anext(stream)).object)["metadata"]["name"] for _ in range(5)]
        assert names == [f"e{number}" for number in range(35, 40)]

    run(work)


def test_a_watch_of_events_on_a_server_that_has_told_nothing_yet(run: Any) -> None:
    """Revisions before the first Event are no gap."""

    async def work(running: Running) -> None:
        for number in range(5):
            await running.registry.create(POD, "default", pod(f"p{number}", f"10.1.0.{number}"), WRITE)
        stream = running.registry.watch(EVENT, "", Selection(), 2)
        await running.registry.create(SERVICE, "default", service(), WRITE)
        event = await asyncio.wait_for(anext(stream), GUARD_SECONDS)
        assert json.loads(event.object)["involvedObject"]["name"] == "web"

    run(work)


def test_a_feed_that_stood_still_too_long_sends_its_watchers_back(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "KEEP", 5)
    monkeypatch.setattr(log, "_TRIM_SLACK", 0)

    async def work(running: Running) -> None:
        feed = Feed(running.registry.store)
        start = feed.revision
        for number in range(10):
            await running.registry.create(POD, "default", pod(f"p{number}", f"10.1.0.{number}"), WRITE)
        feed.advance()
        with pytest.raises(StatusError) as expired:
            feed.after((POD,), start)
        assert expired.value.code == 410
        assert feed.after((POD,), feed.revision) == ([], feed.revision)

    run(work)


def test_zone_files(run: Any, tmp_path: Path) -> None:
    async def work(running: Running) -> None:
        folder = tmp_path / "zones"
        folder.mkdir()
        registry = running.registry
        zones = ZoneFolder(folder, registry.store, registry.transact, tell=registry.tell)
        (folder / "Corp_example.zone").write_text("what is this\n")
        await zones.start()
        [event] = await until(running, lambda: listed(running, "reason=ZoneFileRefused"))
        involved = {"kind": "ZoneFile", "namespace": "kube-system", "name": "Corp_example.zone"}
        assert event["involvedObject"] == involved
        assert event["message"].startswith("Corp_example.zone:1: ")
        assert event["metadata"]["name"].startswith("corp-example-zone.")
        text = "$TTL 300\n@ SOA ns hostmaster 7 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"
        (folder / "corp.example.zone").write_text(text)
        (folder / "Corp_example.zone").unlink()
        await zones.refresh()
        await until(running, lambda: listed(running, "reason=ZoneFileLoaded"))
        (folder / "corp.example.zone").unlink()
        await zones.refresh()
        await until(running, lambda: listed(running, "reason=ZoneFileGone"))
        messages = {m for _, m, _ in told(running, "involvedObject.name=corp.example.zone")}
        assert messages == {
            "Zone corp.example. is served, serial 7",
            "The file is gone: zone corp.example. is not served",
        }

    run(work)


def test_what_cannot_be_written_is_lost_and_no_more(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Event that fails does not fail a client's write, nor the Events after it."""
    failing = [True]
    real = events._write_all

    def write_all(*arguments: Any) -> None:
        if failing:
            failing.clear()
            raise StatusError(507, "InsufficientStorage", "the data folder is full; nothing was changed")
        real(*arguments)

    monkeypatch.setattr(events, "_write_all", write_all)

    async def work(running: Running) -> None:
        await running.registry.create(SERVICE, "default", service("a"), WRITE)
        while failing:
            await asyncio.sleep(0)
        await running.registry.create(SERVICE, "default", service("b"), WRITE)
        await until(running, lambda: listed(running))
        assert {e["involvedObject"]["name"] for e in listed(running)} == {"b"}

    run(work)


def test_no_more_waits_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written, the newest wait."""
    monkeypatch.setattr(events, "KEEP", 5)
    written: list[Any] = []

    async def write(action: Any) -> bool:
        written.append(action)
        return False

    async def main() -> None:
        recorder = events.Recorder(write)
        for number in range(100):
            subject = Subject("Service", "v1", "default", f"s{number}", "")
            recorder.take([Note(subject, "Normal", "Tested", "x")])
        assert [note.subject.name for note in recorder._waiting] == [f"s{n}" for n in range(95, 100)]
        await recorder.stop()

    asyncio.run(main())
