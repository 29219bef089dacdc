"""Endpoints: generated slices follow Services and Pods, and names follow slices."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness, each_event
from toolbox.waiting import GUARD_SECONDS

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

WRITE = WriteOptions()
DELETE = DeleteOptions()
NAME = "web.default.svc.cluster.local"


def slices(running: RegistryHarness) -> list[dict[str, Any]]:
    return [json.loads(o) for o in running.registry.page(ENDPOINTSLICE, "default", Selection()).items]


async def put(running: RegistryHarness, kind: Any, body: dict[str, Any]) -> None:
    await running.registry.create(kind, "default", body, WRITE)


async def set_ready(running: RegistryHarness, name: str, ready: bool) -> None:
    status = {"status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}
    await running.registry.patch(POD, "default", name, Patch("merge", status), WRITE, "status")


def test_readiness_decides_at_once(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service(clusterIP="None"))
        await put(running, POD, pod("a", "10.0.0.1"))
        await put(running, POD, pod("b", "10.0.0.2", ready=False))
        assert running.rrs(NAME, "A") == ["10.0.0.1"]
        await set_ready(running, "b", True)
        await set_ready(running, "a", False)
        assert running.rrs(NAME, "A") == ["10.0.0.2"]
        assert running.row(f"10-0-0-1.{NAME}") is None
        assert running.row("1.0.0.10.in-addr.arpa") is None
        conditions = {
            e["targetRef"]["name"]: e["conditions"]["ready"] for e in slices(running)[0]["endpoints"]
        }
        assert conditions == {"a": False, "b": True}
        await set_ready(running, "b", False)
        assert running.row(NAME) is None

    run(work)


def test_publish_not_ready_addresses(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service(clusterIP="None", publishNotReadyAddresses=True))
        await put(running, POD, pod("a", "10.0.0.1", ready=False))
        assert running.rrs(NAME, "A") == ["10.0.0.1"]

    run(work)


def test_a_hostname_counts_where_the_subdomain_is_the_service(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service(clusterIP="None"))
        await put(running, POD, pod("web-0", "10.0.0.1", hostname="web-0", subdomain="web"))
        await put(running, POD, pod("web-1", "10.0.0.2", hostname="web-1", subdomain="other"))
        assert running.rrs(f"web-0.{NAME}", "A") == ["10.0.0.1"]
        assert running.row(f"10-0-0-1.{NAME}") is None
        assert running.row(f"web-1.{NAME}") is None
        assert running.rrs(f"10-0-0-2.{NAME}", "A") == ["10.0.0.2"]
        assert [e.get("hostname") for e in slices(running)[0]["endpoints"]] == ["web-0", None]

    run(work)


def test_a_named_target_port_is_looked_up_in_each_pod(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "web"}]
        await put(running, SERVICE, service(clusterIP="None", ports=ports))
        for name, ip, number in (("a", "10.0.0.1", 8080), ("b", "10.0.0.2", 9090)):
            container = {"name": "c", "image": "i", "ports": [{"name": "web", "containerPort": number}]}
            await put(running, POD, pod(name, ip, containers=[container]))
        await put(running, POD, pod("c", "10.0.0.3"))
        srvs = running.rrs(f"_http._tcp.{NAME}", "SRV")
        assert srvs == [
            "0 50 8080 10-0-0-1.web.default.svc.cluster.local.",
            "0 50 9090 10-0-0-2.web.default.svc.cluster.local.",
        ]
        assert sorted(len(s["ports"]) for s in slices(running)) == [0, 1, 1]
        assert running.rrs(NAME, "A") == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

    run(work)


def test_a_service_made_after_its_pods_finds_them(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await asyncio.gather(*(put(running, POD, pod(f"p{i}", f"10.0.1.{i}")) for i in range(120)))
        await put(running, SERVICE, service(clusterIP="None"))
        assert len(running.rrs(NAME, "A")) == 120
        await running.registry.delete(SERVICE, "default", "web", DELETE)
        assert slices(running) == []
        assert running.row(NAME) is None
        assert running.row("1.1.0.10.in-addr.arpa") is None

    run(work)


def test_changed_labels_and_selectors_move_pods(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service(clusterIP="None"))
        await put(running, POD, pod("a", "10.0.0.1", app="other"))
        assert running.row(NAME) is None
        relabel = Patch("merge", {"metadata": {"labels": {"app": "web"}}})
        await running.registry.patch(POD, "default", "a", relabel, WRITE)
        assert running.rrs(NAME, "A") == ["10.0.0.1"]
        reselect = Patch("merge", {"spec": {"selector": {"app": "third"}}})
        await running.registry.patch(SERVICE, "default", "web", reselect, WRITE)
        assert running.row(NAME) is None

    run(work)


def test_two_pods_on_one_loopback_address(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service(clusterIP="None"))
        await put(running, POD, pod("a", "127.0.0.1"))
        await put(running, POD, pod("b", "127.0.0.1"))
        assert running.rrs(NAME, "A") == ["127.0.0.1"]
        await running.registry.delete(POD, "default", "a", DELETE)
        assert running.rrs(NAME, "A") == ["127.0.0.1"]
        assert running.rrs("127-0-0-1.default.pod.cluster.local", "A") == ["127.0.0.1"]
        await running.registry.delete(POD, "default", "b", DELETE)
        assert running.row(NAME) is None
        assert running.row("127-0-0-1.default.pod.cluster.local") is None

    run(work)


def test_a_users_own_slice_is_united_with_the_generated_ones(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        own = {
            "metadata": {"name": "own", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"]}, {"addresses": ["10.0.0.1"]}],
            "ports": [{"name": "http", "port": 8080}],
        }
        await put(running, ENDPOINTSLICE, own)
        assert running.row(NAME) is None
        await put(running, SERVICE, service(clusterIP="None"))
        await put(running, POD, pod("a", "10.0.0.1"))
        assert running.rrs(NAME, "A") == ["10.0.0.1", "192.0.2.1"]
        assert len(running.rrs(f"_http._tcp.{NAME}", "SRV")) == 2
        await running.registry.delete(ENDPOINTSLICE, "default", "own", DELETE)
        assert running.rrs(NAME, "A") == ["10.0.0.1"]

    run(work)


def test_generated_slices_are_read_only(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service())
        await put(running, POD, pod("a", "10.0.0.1"))
        made = slices(running)[0]
        name = made["metadata"]["name"]
        patch = Patch("merge", {"endpoints": []})
        for attempt in (
            running.registry.delete(ENDPOINTSLICE, "default", name, DELETE),
            running.registry.patch(ENDPOINTSLICE, "default", name, patch, WRITE),
            running.registry.replace(ENDPOINTSLICE, "default", name, made, WRITE),
            running.registry.create(
                ENDPOINTSLICE, "default", {**made, "metadata": {**made["metadata"], "name": "mine"}}, WRITE
            ),
        ):
            with pytest.raises(StatusError) as caught:
                await attempt
            assert caught.value.code == 403, caught.value.message

    run(work)


def test_termination_takes_a_pod_out_at_once_and_the_object_after_its_grace(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service(clusterIP="None"))
        await put(running, POD, pod("a", "10.0.0.1"))
        events = each_event(running.registry.watch(POD, "default", Selection(), None))
        assert (await anext(events)).type == "ADDED"
        await running.registry.delete(POD, "default", "a", DeleteOptions(grace_period_seconds=3600))
        assert running.row(NAME) is None
        conditions = slices(running)[0]["endpoints"][0]["conditions"]
        assert conditions == {"ready": False, "serving": True, "terminating": True}
        assert (await anext(events)).type == "MODIFIED"
        await running.registry.delete(POD, "default", "a", DeleteOptions(grace_period_seconds=1))
        assert (await anext(events)).type == "MODIFIED", "it has less time now"
        async with asyncio.timeout(GUARD_SECONDS):
            assert (await anext(events)).type == "DELETED"

    run(work)


def test_deleting_a_namespace_deletes_what_is_in_it(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WRITE)
        await running.registry.create(SERVICE, "shop", service(clusterIP="None"), WRITE)
        many = [pod(f"p{i}", f"10.0.{i // 250}.{i % 250}") for i in range(700)]
        await asyncio.gather(*(running.registry.create(POD, "shop", p, WRITE) for p in many))
        events = each_event(running.registry.watch(NAMESPACE, "", Selection(), None))
        for _ in range(3):
            assert (await anext(events)).type == "ADDED"
        await running.registry.delete(NAMESPACE, "", "shop", DELETE)
        with pytest.raises(StatusError) as caught:
            await running.registry.create(POD, "shop", pod("late", "10.9.9.9"), WRITE)
        assert caught.value.code in (403, 404)
        async with asyncio.timeout(GUARD_SECONDS):
            while (await anext(events)).type != "DELETED":
                pass
        assert running.registry.page(POD, "shop", Selection()).items == []
        assert running.row("shop.svc.cluster.local") is None
        assert running.row("web.shop.svc.cluster.local") is None

    run(work)


def test_the_first_namespaces_stay(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        with pytest.raises(StatusError) as caught:
            await running.registry.delete(NAMESPACE, "", "default", DELETE)
        assert caught.value.code == 403

    run(work)


def test_endpoints_are_a_view_of_the_slices(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, SERVICE, service())
        await put(running, POD, pod("a", "10.0.0.1"))
        await put(running, POD, pod("b", "10.0.0.2", ready=False))
        view = json.loads(running.registry.get(ENDPOINTS, "default", "web"))
        assert [a["ip"] for a in view["subsets"][0]["addresses"]] == ["10.0.0.1"]
        assert [a["ip"] for a in view["subsets"][0]["notReadyAddresses"]] == ["10.0.0.2"]
        assert view["subsets"][0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        assert len(running.registry.page(ENDPOINTS, "", Selection()).items) == 1

    run(work)


def test_a_grace_period_can_be_cut_short_and_not_drawn_out(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await put(running, POD, pod("a", "10.0.0.1"))
        for seconds, expected in ((3600, 3600), (7200, 3600), (1800, 1800)):
            deleted = await running.registry.delete(
                POD, "default", "a", DeleteOptions(grace_period_seconds=seconds)
            )
            assert json.loads(deleted.object)["metadata"]["deletionGracePeriodSeconds"] == expected
        await running.registry.delete(POD, "default", "a", DELETE)
        assert running.registry.page(POD, "default", Selection()).items == []

    run(work)
