"""Events: what is told, of what, and in which words."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest
from registry.recorded_events import READY, WRITE, listed, status, told, told_of, until
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness

from svcdns.config.sections import Config, DnsConfig, ServicesConfig
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions

pytestmark = pytest.mark.usefixtures("at_once")


def test_what_a_service_is_given(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
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
    async def work(running: RegistryHarness) -> None:
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


@pytest.mark.embedded("ranges are agreed on in etcd")
def test_a_load_balancer_gets_its_address(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service(type="LoadBalancer"), WRITE)
        found = await told_of(running, "", "LoadBalancerAllocated")
        assert ("LoadBalancerAllocated", "Load balancer address 192.0.2.1 allocated", 1) in found
        assert "LoadBalancerPending" not in {reason for reason, _, _ in found}

    run(work, Config(services=ServicesConfig(load_balancer_ranges=(ip_network("192.0.2.0/30"),))))


def test_a_full_range_is_told_of_a_service_that_was_refused(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
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

    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service("dry"), WriteOptions(dry_run=True))
        with pytest.raises(StatusError):
            await running.registry.create(SERVICE, "default", service("Wrong"), WRITE)
        await running.registry.create(SERVICE, "default", service("last"), WRITE)
        await until(running, lambda: listed(running))
        assert {event["involvedObject"]["name"] for event in listed(running)} == {"last"}

    run(work)


def test_flapping_is_counted(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
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
    async def first(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1", ready=False), WRITE)
        await status(running, "web-1", "True")

    async def second(running: RegistryHarness) -> None:
        before = {event["metadata"]["uid"] for event in listed(running)}
        await status(running, "web-1", "False")
        await until(running, lambda: len(told(running, "reason=EndpointNotReady")) == 2)
        chosen = "reason=EndpointNotReady,involvedObject.kind=Pod"
        text = "Address 10.1.0.1 in Service web is not ready: condition Ready is False"
        await until(running, lambda: told(running, chosen) == {("EndpointNotReady", text, 2)})
        assert {event["metadata"]["uid"] for event in listed(running)} == before

    run(first)  # what waits is written when the registry stops
    run(second)


async def _why(running: RegistryHarness, changes: list[dict[str, Any]]) -> str:
    """Return what is told of a Pod after changes to it."""
    registry = running.registry
    await registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
    # Registered without containers, so that a change can still say them.
    await registry.create(POD, "default", pod("web-1", "10.1.0.1", containers=[]), WRITE)
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
            "not ready: no result of its readinessProbe; set the Ready condition through /status",
        ),
        (
            {"spec": {"readinessGates": [{"conditionType": "x.example/y"}]}},
            "not ready: condition x.example/y is not there (spec.readinessGates)",
        ),
        ({"status": {"phase": "Failed"}}, "an endpoint no more: its phase is Failed"),
        (
            {"metadata": {"labels": {"app": "other"}}},
            "an endpoint no more: the Service's selector does not take it in",
        ),
    ],
)
def test_why(run: Any, change: dict[str, Any], text: str) -> None:
    async def work(running: RegistryHarness) -> None:
        assert await _why(running, [change]) == text

    run(work)


def test_a_pod_that_goes(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
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
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        await running.registry.delete(SERVICE, "default", "web", DeleteOptions())
        await running.registry.create(SERVICE, "default", service("last"), WRITE)
        await told_of(running, "", "ClusterIPAllocated")
        assert {reason for reason, _, _ in told(running)} == {"EndpointReady", "ClusterIPAllocated"}

    run(work)


def test_a_target_port_that_a_pod_does_not_have(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
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

    async def work(running: RegistryHarness) -> None:
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
