"""ServiceCIDRs and IPAddresses, which nobody stores: they follow from the configuration and from Services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.builders import external, headless, service
from toolbox.registry_harness import RegistryHarness, each_event, started
from toolbox.waiting import GUARD_SECONDS

from svcdns.config.sections import Config, ServicesConfig
from svcdns.objects.errors import StatusError
from svcdns.objects.field_selectors import FieldSelector
from svcdns.objects.kinds import IPADDRESS, NAMESPACE, SERVICE, SERVICECIDR, Kind
from svcdns.objects.selectors import LabelSelector
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Event, Patch, Selection, WriteOptions

OPTIONS = WriteOptions()
DUAL = Config(
    services=ServicesConfig(cluster_ip_ranges=(ip_network("10.96.0.0/16"), ip_network("fd00:96::/112")))
)


def listed(registry: Registry, kind: Kind, selection: Selection | None = None) -> list[dict[str, Any]]:
    return [json.loads(octets) for octets in registry.page(kind, "", selection or Selection()).items]


def addresses(registry: Registry, selection: Selection | None = None) -> dict[str, str]:
    """Return the Service of each IPAddress."""
    found = {}
    for obj in listed(registry, IPADDRESS, selection):
        parent = obj["spec"]["parentRef"]
        assert (parent["group"], parent["resource"]) == ("", "services")
        found[obj["metadata"]["name"]] = f"{parent['namespace']}/{parent['name']}"
    return found


async def take(events: AsyncIterator[Event], count: int) -> list[tuple[str, str]]:
    found = []
    for _ in range(count):
        event = await asyncio.wait_for(anext(events), GUARD_SECONDS)
        obj = json.loads(event.object or b"{}")
        found.append((event.type, obj.get("metadata", {}).get("name", "")))
        if event.object:
            assert int(obj["metadata"]["resourceVersion"]) <= event.revision
    return found


def test_the_configured_ranges(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        [found] = listed(running.registry, SERVICECIDR)
        assert found["metadata"]["name"] == "kubernetes"
        assert found["spec"] == {"cidrs": ["10.96.0.0/16", "fd00:96::/112"]}
        [condition] = found["status"]["conditions"]
        assert (condition["type"], condition["status"]) == ("Ready", "True")
        assert json.loads(running.registry.get(SERVICECIDR, "", "kubernetes")) == found
        with pytest.raises(StatusError) as missing:
            running.registry.get(SERVICECIDR, "", "other")
        assert missing.value.code == 404

    run(work, DUAL)


def test_one_range_of_each_family_in_an_object(run: Any) -> None:
    ranges = ("10.0.0.0/24", "10.0.1.0/24", "fd00:1::/112", "10.0.2.0/24")

    async def work(running: RegistryHarness) -> list[tuple[str, list[str]]]:
        found = listed(running.registry, SERVICECIDR)
        return [(obj["metadata"]["name"], obj["spec"]["cidrs"]) for obj in found]

    config = Config(services=ServicesConfig(cluster_ip_ranges=tuple(map(ip_network, ranges))))
    assert run(work, config) == [
        ("kubernetes", ["10.0.0.0/24", "fd00:1::/112"]),
        ("kubernetes-2", ["10.0.1.0/24"]),
        ("kubernetes-3", ["10.0.2.0/24"]),
    ]


@pytest.mark.embedded("ranges are agreed on in etcd")
def test_a_watch_of_ranges_does_not_outlive_its_server(run: Any) -> None:
    async def before(running: RegistryHarness) -> tuple[int, str]:
        page = running.registry.page(SERVICECIDR, "", Selection())
        events = each_event(running.registry.watch(SERVICECIDR, "", Selection(), None, initial_events=True))
        assert await take(events, 2) == [("ADDED", "kubernetes"), ("BOOKMARK", "")]
        await running.registry.create(SERVICE, "default", service(), OPTIONS)
        return page.revision, json.loads(page.items[0])["metadata"]["uid"]

    async def after(running: RegistryHarness) -> str:
        events = each_event(running.registry.watch(SERVICECIDR, "", Selection(), seen))
        with pytest.raises(StatusError) as expired:
            await anext(events)
        assert expired.value.code == 410
        [found] = listed(running.registry, SERVICECIDR)
        assert found["spec"]["cidrs"][1] == "fd00:96::/112"
        uid: str = found["metadata"]["uid"]
        return uid

    seen, uid = run(before)
    assert run(after, DUAL) == uid


def test_each_cluster_ip_is_an_object(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        both = service("both", clusterIPs=["10.96.0.7", "fd00:96::7"], ipFamilyPolicy="RequireDualStack")
        for body in (both, headless("none"), external("alias", "example.org")):
            await registry.create(SERVICE, "default", body, OPTIONS)
        assert addresses(registry) == {"10.96.0.7": "default/both", "fd00:96::7": "default/both"}
        found = json.loads(registry.get(IPADDRESS, "", "fd00:96::7"))
        assert found["metadata"]["labels"] == {
            "ipaddress.kubernetes.io/ip-family": "IPv6",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }
        assert found in listed(registry, IPADDRESS)
        by_label = LabelSelector.parse("ipaddress.kubernetes.io/ip-family=IPv4")
        assert [*addresses(registry, Selection(by_label))] == ["10.96.0.7"]
        for name, there in (
            ("fd00:96::7", ["fd00:96::7"]),
            ("10.96.0.8", []),
            ("web", []),
            ("fd00:96:0::7", []),
        ):
            by_name = FieldSelector.parse(f"metadata.name={name}", IPADDRESS)
            assert [*addresses(registry, Selection(fields=by_name))] == there

    run(work, DUAL)


@pytest.mark.parametrize("name", ["10.96.0.1", "web", "", "010.96.0.7", "::ffff:10.96.0.7", "fd00:96::7%lo"])
def test_what_nobody_has_is_not_there(run: Any, name: str) -> None:
    async def work(running: RegistryHarness) -> None:
        both = service(clusterIPs=["10.96.0.7", "fd00:96::7"], ipFamilyPolicy="RequireDualStack")
        await running.registry.create(SERVICE, "default", both, OPTIONS)
        with pytest.raises(StatusError) as missing:
            running.registry.get(IPADDRESS, "", name)
        assert (missing.value.code, missing.value.group) == (404, "networking.k8s.io")

    run(work, DUAL)


@pytest.mark.parametrize("kind", [SERVICECIDR, IPADDRESS], ids=lambda kind: kind.plural)
def test_views_are_not_written_and_have_no_pages(run: Any, kind: Kind) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        body = {"metadata": {"name": "a"}}
        for write in (
            registry.create(kind, "", body, OPTIONS),
            registry.replace(kind, "", "a", body, OPTIONS),
            registry.patch(kind, "", "a", Patch("merge", {}), OPTIONS),
            registry.delete(kind, "", "a", DeleteOptions()),
        ):
            with pytest.raises(StatusError) as refused:
                await write
            assert refused.value.code == 405
        with pytest.raises(StatusError) as odd:
            registry.page(kind, "", Selection(), 1, "xyz")
        assert odd.value.code == 400

    run(work)


def test_a_watch_sees_what_is_given_and_given_back(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        seen = registry.page(IPADDRESS, "", Selection()).revision
        events = each_event(registry.watch(IPADDRESS, "", Selection(), seen))
        first = "10.96.0.7"
        await registry.create(SERVICE, "default", service(clusterIP=first), OPTIONS)
        assert await take(events, 1) == [("ADDED", first)]
        await change(registry, {"metadata": {"labels": {"a": "b"}}})
        await change(registry, {"spec": {"ipFamilyPolicy": "PreferDualStack"}})
        [(type_, second)] = await take(events, 1)
        assert type_ == "ADDED" and second.startswith("fd00:96::"), "a label changes nothing"
        await change(registry, {"spec": {"ipFamilyPolicy": "SingleStack"}})
        assert await take(events, 1) == [("DELETED", second)]
        await change(registry, {"spec": {"type": "ExternalName", "externalName": "example.org"}})
        assert await take(events, 1) == [("DELETED", first)]
        await change(registry, {"spec": {"type": "ClusterIP", "clusterIP": first, "externalName": None}})
        assert await take(events, 1) == [("ADDED", first)]
        await registry.delete(SERVICE, "default", "web", DeleteOptions())
        assert await take(events, 1) == [("DELETED", first)]

    run(work, DUAL)


async def change(registry: Registry, patch: dict[str, Any]) -> None:
    await registry.patch(SERVICE, "default", "web", Patch("merge", patch), OPTIONS)


SPECS: list[dict[str, Any]] = [
    {"type": "ClusterIP", "ipFamilyPolicy": "SingleStack"},
    {"type": "NodePort", "ipFamilyPolicy": "PreferDualStack"},
    {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]},
    {"type": "ExternalName", "externalName": "example.org", "clusterIP": None, "clusterIPs": None},
]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, *SPECS])), max_size=12))
def test_who_watches_knows_what_a_list_shows(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, dict[str, Any] | None]]
) -> None:
    """Any Services come, go and change; a watcher's own picture is that of a list, and is it in order."""

    async def work() -> None:
        async with started(tmp_path_factory.mktemp("views"), DUAL) as running:
            registry = running.registry
            seen = registry.page(IPADDRESS, "", Selection()).revision
            events = each_event(registry.watch(IPADDRESS, "", Selection(), seen))
            for name, spec in steps:
                try:
                    if spec is None:
                        await registry.delete(SERVICE, "default", name, DeleteOptions())
                    else:
                        await registry.patch(
                            SERVICE, "default", name, Patch("apply", configured(name, spec)), FORCED
                        )
                except StatusError as refused:
                    assert refused.code in (404, 422)
            await registry.create(NAMESPACE, "", {"metadata": {"name": "end"}}, OPTIONS)
            await registry.create(SERVICE, "end", service("end", clusterIP="10.96.0.9"), OPTIONS)
            picture: set[str] = set()
            while "10.96.0.9" not in picture:
                [(type_, address)] = await take(events, 1)
                assert (address in picture) == (type_ == "DELETED")
                picture ^= {address}
            assert picture == {*addresses(registry)}

    asyncio.run(work())


FORCED = WriteOptions(field_manager="a", force=True)


def configured(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in spec.items() if value is not None}
    made = service(name)
    return {**made, "spec": {**made["spec"], **kept}}
