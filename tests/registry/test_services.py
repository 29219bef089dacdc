"""Services: what they are given, what is refused, and that nothing leaks."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_network
from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness

from svcdns.config.sections import Config, ServicesConfig
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions

WRITE = WriteOptions()
DELETE = DeleteOptions()
SMALL = Config(
    services=ServicesConfig(
        cluster_ip_ranges=(ip_network("10.96.0.0/29"),), load_balancer_ranges=(ip_network("192.0.2.0/30"),)
    )
)
DUAL = Config(
    services=ServicesConfig(cluster_ip_ranges=(ip_network("10.96.0.0/24"), ip_network("fd00:96::/120")))
)


async def create(
    running: RegistryHarness, body: dict[str, Any], namespace: str = "default"
) -> dict[str, Any]:
    written = await running.registry.create(SERVICE, namespace, body, WRITE)
    return json.loads(written.object)


async def refused(running: RegistryHarness, body: dict[str, Any]) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await create(running, body)
    return caught.value


def test_an_address_is_never_given_twice_and_a_freed_one_not_next(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        first = [(await create(running, service(f"s{i}")))["spec"]["clusterIP"] for i in range(3)]
        assert len(set(first)) == 3
        await running.registry.delete(SERVICE, "default", "s2", DELETE)
        assert (await create(running, service("next")))["spec"]["clusterIP"] not in first

    run(work, SMALL)


@pytest.mark.embedded("each replica begins elsewhere in a range")
def test_a_full_range_is_said_clearly_and_given_back_on_delete(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        for index in range(6):
            await create(running, service(f"s{index}"))
        error = await refused(running, service("more"))
        assert error.code == 507
        assert "10.96.0.0/29 is full" in error.message
        await running.registry.delete(SERVICE, "default", "s3", DELETE)
        assert (await create(running, service("more")))["spec"]["clusterIP"] == "10.96.0.4"

    run(work, SMALL)


def test_a_refused_service_leaks_no_address(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        two_ports = [{"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 2, "nodePort": 1}]
        for _ in range(10):
            error = await refused(running, service("bad", type="NodePort", ports=two_ports))
            assert error.code == 422
            assert error.causes[0].field == "spec.ports[1].nodePort"
        for index in range(6):
            await create(running, service(f"s{index}"))

    run(work, SMALL)


@pytest.mark.parametrize(
    ("spec", "field", "text"),
    [
        ({"clusterIP": "10.96.0.1"}, "spec.clusterIPs[0]", "already allocated"),
        ({"clusterIP": "10.97.0.1"}, "spec.clusterIPs[0]", "range of valid IPs (10.96.0.0/29)"),
        ({"clusterIP": "10.96.0.7"}, "spec.clusterIPs[0]", "range of valid IPs"),
        ({"clusterIP": "fd00::1"}, "spec.clusterIPs[0]", "allowed: IPv4"),
        ({"ipFamilies": ["IPv6"]}, "spec.ipFamilies[0]", "IPv6"),
        ({"ipFamilyPolicy": "RequireDualStack"}, "spec.ipFamilyPolicy", "dual-stack"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(
    run: Any, spec: dict[str, Any], field: str, text: str
) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, service("first", clusterIP="10.96.0.1"))
        error = await refused(running, service("second", **spec))
        assert (error.code, error.reason) == (422, "Invalid")
        assert field in [cause.field for cause in error.causes]
        assert text in error.message
        assert running.row("second.default.svc.cluster.local") is None

    run(work, SMALL)


def test_dual_stack_comes_and_goes_with_the_policy(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        spec = (await create(running, service(ipFamilyPolicy="PreferDualStack")))["spec"]
        assert spec["ipFamilies"] == ["IPv4", "IPv6"]
        four, six = spec["clusterIPs"]
        assert running.rrs("web.default.svc.cluster.local", "A") == [four]
        assert running.rrs("web.default.svc.cluster.local", "AAAA") == [six]
        single = Patch("merge", {"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}})
        written = await running.registry.patch(SERVICE, "default", "web", single, WRITE)
        assert json.loads(written.object)["spec"]["clusterIPs"] == [four]
        assert running.rrs("web.default.svc.cluster.local", "AAAA") == []
        again = await create(running, service("v6", ipFamilies=["IPv6"], clusterIP=six))
        assert again["spec"]["clusterIPs"] == [six]

    run(work, DUAL)


def test_a_put_that_does_not_name_the_address_keeps_it(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        before = await create(running, service(type="NodePort"))
        body = service(type="NodePort", ports=[{"name": "http", "port": 80}, {"name": "x", "port": 81}])
        written = await running.registry.replace(SERVICE, "default", "web", body, WRITE)
        spec = json.loads(written.object)["spec"]
        assert spec["clusterIP"] == before["spec"]["clusterIP"]
        assert spec["ports"][0]["nodePort"] == before["spec"]["ports"][0]["nodePort"]
        assert spec["ports"][1]["nodePort"] in range(30000, 32768)

    run(work)


def test_a_put_that_changes_nothing_keeps_the_revision(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        before = await create(running, service())
        written = await running.registry.replace(SERVICE, "default", "web", service(), WRITE)
        assert json.loads(written.object)["metadata"] == before["metadata"]

    run(work)


def test_a_service_that_becomes_an_external_name_gives_its_address_back(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        before = await create(running, service())
        body = {"metadata": {"name": "web"}, "spec": {"type": "ExternalName", "externalName": "example.org"}}
        await running.registry.replace(SERVICE, "default", "web", body, WRITE)
        assert running.rrs("web.default.svc.cluster.local", "CNAME") == ["example.org."]
        assert running.rrs("web.default.svc.cluster.local", "A") == []
        again = await create(running, service("other", clusterIP=before["spec"]["clusterIP"]))
        assert again["spec"]["clusterIP"] == before["spec"]["clusterIP"]

    run(work)


@pytest.mark.embedded("ranges are agreed on in etcd")
def test_a_load_balancer_gets_an_address_or_stays_pending(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        given = [await create(running, service(f"lb{i}", type="LoadBalancer")) for i in range(2)]
        ips = {s["status"]["loadBalancer"]["ingress"][0]["ip"] for s in given}
        assert ips == {"192.0.2.1", "192.0.2.2"}
        error = await refused(running, service("lb2", type="LoadBalancer"))
        assert error.code == 507
        await running.registry.delete(SERVICE, "default", "lb0", DELETE)
        await create(running, service("lb2", type="LoadBalancer"))

    run(work, SMALL)

    async def pending(running: RegistryHarness) -> None:
        assert (await create(running, service("p", type="LoadBalancer")))["status"] == {"loadBalancer": {}}

    run(pending)


def test_what_was_given_survives_a_restart(run: Any) -> None:
    async def write(running: RegistryHarness) -> str:
        await running.registry.create(POD, "default", pod("p", "10.0.0.1"), WRITE)
        return (await create(running, service()))["spec"]["clusterIP"]

    async def read(running: RegistryHarness) -> list[str]:
        return running.rrs("web.default.svc.cluster.local", "A")

    ip = run(write)
    assert run(read) == [ip]


def test_a_dry_run_answers_and_stores_nothing(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        written = await running.registry.create(SERVICE, "default", service(), WriteOptions(dry_run=True))
        assert json.loads(written.object)["spec"]["clusterIP"]
        with pytest.raises(StatusError) as caught:
            running.registry.get(SERVICE, "default", "web")
        assert caught.value.code == 404
        assert running.row("web.default.svc.cluster.local") is None

    run(work)


def test_one_refused_write_of_a_group_leaves_the_others(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        bodies = [service(f"s{i}", clusterIP="10.96.0.9" if i % 2 else "") for i in range(10)]
        results = await asyncio.gather(*(create(running, b) for b in bodies), return_exceptions=True)
        refusals = [r for r in results if isinstance(r, StatusError)]
        assert len(refusals) == 4
        assert len({r["spec"]["clusterIP"] for r in results if isinstance(r, dict)}) == 6

    run(work)


def test_a_stale_revision_is_a_conflict(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        body = await create(running, service())
        body["spec"]["sessionAffinity"] = "ClientIP"
        await running.registry.replace(SERVICE, "default", "web", body, WRITE)
        with pytest.raises(StatusError) as caught:
            await running.registry.replace(SERVICE, "default", "web", body, WRITE)
        assert (caught.value.code, caught.value.reason) == (409, "Conflict")

    run(work)


def test_names_too_long_for_dns_are_refused_or_left_out(run: Any) -> None:
    domain = ".".join(["a" * 60] * 2 + ["b" * 50])
    long = "s" * 63

    async def work(running: RegistryHarness) -> None:
        await create(running, service(long, clusterIP="None"))
        await create(running, service("t" * 63))
        await running.registry.create(NAMESPACE, "", {"metadata": {"name": "n" * 63}}, WRITE)
        with pytest.raises(StatusError) as caught:
            await create(running, service("u" * 63), "n" * 63)
        assert [cause.field for cause in caught.value.causes] == ["metadata.name"]
        assert "DNS allows 255" in caught.value.message
        await running.registry.create(POD, "default", pod("p", "10.0.0.1", app=long), WRITE)
        short = await create(running, service("web"))
        assert running.rrs(f"web.default.svc.{domain}", "A") == [short["spec"]["clusterIP"]]
        await running.registry.delete(SERVICE, "default", long, DELETE)

    run(work, Config(cluster_domain=domain))


def test_external_ips_can_be_taken_away(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        made = await create(running, service(externalIPs=["192.0.2.7"]))
        assert made["spec"]["externalTrafficPolicy"] == "Cluster"
        patch = Patch("merge", {"spec": {"externalIPs": None}})
        written = await running.registry.patch(SERVICE, "default", "web", patch, WRITE)
        assert "externalTrafficPolicy" not in json.loads(written.object)["spec"]

    run(work)


@pytest.mark.parametrize(
    ("field", "value", "code"), [("name", "other", 400), ("namespace", "other", 400), ("uid", "other", 409)]
)
def test_a_patch_changes_neither_name_nor_namespace_nor_uid(
    run: Any, field: str, value: str, code: int
) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, service("web"))
        patch = Patch("merge", {"metadata": {field: value}})
        with pytest.raises(StatusError) as caught:
            await running.registry.patch(SERVICE, "default", "web", patch, WRITE)
        assert caught.value.code == code

    run(work)


def test_what_only_the_server_says_is_not_taken_from_a_client(run: Any) -> None:
    """Nor from an exported manifest: what stands there is from another life."""
    foreign = {
        "uid": "from-elsewhere",
        "resourceVersion": "77",
        "creationTimestamp": "2020-01-01T00:00:00Z",
        "deletionTimestamp": "2020-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 30,
        "generation": 7,
        "selfLink": "/api/v1/namespaces/default/services/web",
        "managedFields": [],
    }

    async def work(running: RegistryHarness) -> None:
        body = service("web")
        made = await create(running, {**body, "metadata": {**body["metadata"], **foreign}})
        for field, value in foreign.items():
            assert made["metadata"].get(field) != value
        patch = Patch("merge", {"metadata": {"generation": 7, "selfLink": "/x"}})
        written = await running.registry.patch(SERVICE, "default", "web", patch, WRITE)
        assert json.loads(written.object) == made

    run(work)
