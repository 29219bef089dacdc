"""Rules of Services, Pods and slices in which a kube-apiserver and svcdns once differed."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest
from toolbox.builders import endpoint_slice, external, headless, pod, service
from toolbox.registry_harness import RegistryHarness

from svcdns.config.sections import Config, ServicesConfig
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, POD, SERVICE, Kind
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

WRITE = WriteOptions()
DUAL = Config(
    services=ServicesConfig(cluster_ip_ranges=(ip_network("10.96.0.0/24"), ip_network("fd00:96::/120")))
)
LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}


async def create(running: RegistryHarness, kind: Kind, body: dict[str, Any]) -> Any:
    return json.loads((await running.registry.create(kind, "default", body, WRITE)).object)


async def patch(running: RegistryHarness, kind: Kind, name: str, change: dict[str, Any]) -> Any:
    written = await running.registry.patch(kind, "default", name, Patch("merge", change), WRITE)
    return json.loads(written.object)


async def refused(work: Any, field: str) -> None:
    with pytest.raises(StatusError) as caught:
        await work
    assert caught.value.code == 422
    assert field in [cause.field for cause in caught.value.causes]


def slices(running: RegistryHarness) -> list[dict[str, Any]]:
    page = running.registry.page(ENDPOINTSLICE, "default", Selection())
    return [json.loads(octets) for octets in page.items]


def test_health_check_ports_are_given_kept_and_taken_back(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        first = (await create(running, SERVICE, service("a", **LOCAL)))["spec"]["healthCheckNodePort"]
        assert first in range(30000, 32768)
        body = service("b", **LOCAL, healthCheckNodePort=first)
        await refused(create(running, SERVICE, body), "spec.healthCheckNodePort")
        body["spec"]["healthCheckNodePort"] = 100
        await refused(create(running, SERVICE, body), "spec.healthCheckNodePort")
        changed = patch(running, SERVICE, "a", {"spec": {"healthCheckNodePort": 31999}})
        await refused(changed, "spec.healthCheckNodePort")
        replaced = service("a", type="LoadBalancer", externalTrafficPolicy="Cluster")
        written = await running.registry.replace(SERVICE, "default", "a", replaced, WRITE)
        assert "healthCheckNodePort" not in json.loads(written.object)["spec"]
        body["spec"]["healthCheckNodePort"] = first
        assert (await create(running, SERVICE, body))["spec"]["healthCheckNodePort"] == first

    run(work)


@pytest.mark.parametrize("name", ["1abc", "0", "9-9"])
def test_names_of_services_may_begin_with_a_digit(run: Any, name: str) -> None:
    async def work(running: RegistryHarness) -> None:
        made = await create(running, SERVICE, service(name))
        assert running.rrs(f"{name}.default.svc.cluster.local", "A") == [made["spec"]["clusterIP"]]
        await create(running, POD, pod("p", "10.1.0.1", app=name))
        assert len(slices(running)) == 1

    run(work)


def test_a_named_port_of_a_sidecar_is_found(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "web"}]
        await create(running, SERVICE, service("web", ports=ports))
        sidecar = {"name": "s", "restartPolicy": "Always", "ports": [{"name": "web", "containerPort": 8080}]}
        await create(running, POD, pod("web-1", initContainers=[sidecar]))
        assert slices(running)[0]["ports"][0]["port"] == 8080

    run(work)


@pytest.mark.parametrize(
    "change",
    [
        {"hostname": "other"},
        {"subdomain": "other"},
        {"nodeName": "other"},
        {"containers": [{"name": "b", "image": "web"}]},
        {"containers": [{"name": "a", "image": "web", "env": [{"name": "A", "value": "1"}]}]},
        {"containers": None},
    ],
)
def test_a_pod_stays_who_it_is(run: Any, change: dict[str, Any]) -> None:
    async def work(running: RegistryHarness) -> None:
        containers = [{"name": "a", "image": "web"}]
        body = pod("web", hostname="web", subdomain="w", nodeName="n", containers=containers)
        await create(running, POD, body)
        await refused(patch(running, POD, "web", {"spec": change}), "spec")

    run(work)


def test_what_may_change_of_a_pod(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        body = pod("web")
        body["spec"].pop("containers", None)
        await create(running, POD, body)
        for change in (
            {"spec": {"nodeName": "n"}},
            {"spec": {"containers": [{"name": "a", "image": "web:1"}]}},
            {"spec": {"containers": [{"name": "a", "image": "web:2"}]}},
            {"status": {"podIP": "10.1.0.9", "podIPs": [{"ip": "10.1.0.9"}]}},
            {"metadata": {"labels": {"a": "b"}}},
        ):
            await patch(running, POD, "web", change)

    run(work)


def test_the_class_of_a_load_balancer_stays(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, service("a", type="LoadBalancer", loadBalancerClass="a.b/c"))
        for word in ("a.b/d", None):
            changed = patch(running, SERVICE, "a", {"spec": {"loadBalancerClass": word}})
            await refused(changed, "spec.loadBalancerClass")
        assert (
            "loadBalancerClass"
            not in (await patch(running, SERVICE, "a", {"spec": {"type": "ClusterIP"}}))["spec"]
        )

    run(work)


@pytest.mark.parametrize("policy", [{}, {"ipFamilyPolicy": "SingleStack"}])
def test_two_families_need_a_policy(run: Any, policy: dict[str, str]) -> None:
    async def work(running: RegistryHarness) -> None:
        body = service("a", ipFamilies=["IPv4", "IPv6"], **policy)
        await refused(create(running, SERVICE, body), "spec.ipFamilyPolicy")
        body = service("a", clusterIPs=["10.96.0.9", "fd00:96::9"], **policy)
        await refused(create(running, SERVICE, body), "spec.ipFamilyPolicy")

    run(work, DUAL)


def test_words_of_services(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        body = service("a", trafficDistribution="Foo")
        await refused(create(running, SERVICE, body), "spec.trafficDistribution")
        ports = [{"port": 10250}]
        await create(running, SERVICE, service("b", type="LoadBalancer", ports=ports))

    run(work)


def test_hints_for_the_same_node(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, service("web"))
        await create(running, POD, pod("web-1", nodeName="n1"))
        assert "hints" not in slices(running)[0]["endpoints"][0]
        await patch(running, SERVICE, "web", {"spec": {"trafficDistribution": "PreferSameNode"}})
        assert slices(running)[0]["endpoints"][0]["hints"] == {"forNodes": [{"name": "n1"}]}

    run(work)


def test_a_terminating_pod_is_not_in_endpoints(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, headless("web"))
        await create(running, POD, pod("web-1"))
        await running.registry.delete(POD, "default", "web-1", DeleteOptions(grace_period_seconds=60))
        view = json.loads(running.registry.get(ENDPOINTS, "default", "web"))
        assert "subsets" not in view
        assert view["metadata"]["labels"]["service.kubernetes.io/headless"] == ""

    run(work)


def test_addresses_of_slices_are_canonical(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        body = endpoint_slice("a", "web", "2001:DB8::1")
        await refused(create(running, ENDPOINTSLICE, body), "endpoints[0].addresses[0]")
        await create(running, ENDPOINTSLICE, endpoint_slice("a", "web", "2001:db8::1"))
        await create(running, ENDPOINTSLICE, endpoint_slice("b", "web", "127.0.0.1"))

    run(work)


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (SERVICE, service("a", externalIPs=["192.0.2.1"]), "externalIPs is deprecated"),
        (SERVICE, service("a", trafficDistribution="PreferClose"), "PreferClose is deprecated"),
        (SERVICE, service("a", externalName="a.example"), "externalName is ignored"),
        (SERVICE, headless("a", sessionAffinity="ClientIP"), "ignored for headless"),
        (SERVICE, external("a", "192.0.2.1"), "is an address"),
        (SERVICE, external("a", "b" * 64 + ".example"), "label over 63 octets"),
        (
            POD,
            pod("a", containers=[{"name": "a", "readinessProbe": {"exec": {"command": ["true"]}}}]),
            "readinessProbe.exec is not run here",
        ),
        (
            ENDPOINTSLICE,
            {"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": []},
            "without kubernetes.io/service-name no Service has",
        ),
    ],
)
def test_warnings(run: Any, kind: Kind, body: dict[str, Any], text: str) -> None:
    async def work(running: RegistryHarness) -> None:
        written = await running.registry.create(kind, "default", body, WRITE)
        assert text in "".join(written.warnings)
        labelled = Patch("merge", {"metadata": {"labels": {"b": "c"}}})
        again = await running.registry.patch(kind, "default", "a", labelled, WRITE)
        assert again.warnings == () or "is an address" in text

    run(work)


def test_node_ports_of_an_external_name_are_nobodys(run: Any) -> None:
    """They are kept as they are written, in no range and not taken; another type has to get them."""

    async def work(running: RegistryHarness) -> None:
        ports = [{"port": 80, "nodePort": 30080}]
        for name in ("a", "b"):
            body = external(name, "a.example")
            await create(running, SERVICE, {**body, "spec": {**body["spec"], "ports": ports}})
        await create(running, SERVICE, service("c", type="NodePort", ports=ports))
        await running.registry.delete(SERVICE, "default", "a", DeleteOptions())
        await refused(
            create(running, SERVICE, service("d", type="NodePort", ports=ports)), "spec.ports[0].nodePort"
        )
        node = Patch("merge", {"spec": {"type": "NodePort", "externalName": None}})
        taken = running.registry.patch(SERVICE, "default", "b", node, WRITE)
        await refused(taken, "spec.ports[0].nodePort")

    run(work)
