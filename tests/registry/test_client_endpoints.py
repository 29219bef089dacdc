"""Endpoints that clients write: stored, mirrored into EndpointSlices in the same write, and so in DNS."""

from __future__ import annotations

import json
from typing import Any

from registry.writing_endpoints import (
    HEADLESS,
    MIRRORS,
    NAME,
    OPTIONS,
    create,
    delete,
    merge,
    refused,
    shown,
    slices,
)
from toolbox.builders import endpoint_slice, endpoints, namespace, pod, service, without_selector
from toolbox.registry_harness import RegistryHarness

from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions


def test_what_is_written_is_read_and_answered(run: Any) -> None:
    """One slice a family, with the controller's marks, and the names of a headless Service."""

    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        assert shown(running) is None and slices(running) == []
        target = {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u"}
        subset = {
            "addresses": [
                {"ip": "192.0.2.1", "hostname": "one", "nodeName": "n1", "targetRef": target},
                {"ip": "2001:db8::1"},
            ],
            "notReadyAddresses": [{"ip": "192.0.2.9"}],
            "ports": [{"name": "http", "port": 8080, "appProtocol": "http"}],
        }
        body = endpoints("web", labels={"tier": "front"}) | {"subsets": [subset]}
        body["metadata"]["annotations"] = {
            "note": "x",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }
        written = json.loads((await create(running, ENDPOINTS, body)).object)
        port = {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}
        assert shown(running) == written
        assert written["subsets"] == [{**subset, "ports": [port]}]
        four, six = sorted(slices(running), key=lambda found: str(found["addressType"]))
        assert four["endpoints"] == [
            {
                "addresses": ["192.0.2.1"],
                "conditions": {"ready": True},
                "hostname": "one",
                "targetRef": target,
                "nodeName": "n1",
            },
            {"addresses": ["192.0.2.9"], "conditions": {"ready": False}},
        ]
        assert six["endpoints"] == [{"addresses": ["2001:db8::1"], "conditions": {"ready": True}}]
        for found in (four, six):
            assert found["ports"] == [port]
            assert found["metadata"]["labels"] == {
                "tier": "front",
                "kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": MIRRORS,
            }
            assert found["metadata"]["annotations"] == {"note": "x"}
            assert found["metadata"]["ownerReferences"] == [
                {
                    "apiVersion": "v1",
                    "kind": "Endpoints",
                    "name": "web",
                    "uid": written["metadata"]["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ]
        assert running.rrs(NAME, "A") == ["192.0.2.1"]
        assert running.rrs(NAME, "AAAA") == ["2001:db8::1"]
        assert running.rrs(f"one.{NAME}", "A") == ["192.0.2.1"]
        assert running.rrs(f"_http._tcp.{NAME}", "SRV") == [
            f"0 50 8080 2001-db8--1.{NAME}",
            f"0 50 8080 one.{NAME}",
        ]
        assert running.rrs("1.2.0.192.in-addr.arpa.", "PTR") == [f"one.{NAME}"]

    run(work)


def test_each_kind_of_write_is_mirrored(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        await create(running, SERVICE, without_selector(**HEADLESS))
        made = await registry.replace(ENDPOINTS, "default", "web", endpoints("web", "192.0.2.1"), OPTIONS)
        assert made.created and running.rrs(NAME, "A") == ["192.0.2.1"]
        (first,) = slices(running)
        await registry.replace(ENDPOINTS, "default", "web", endpoints("web", "192.0.2.2"), OPTIONS)
        assert running.rrs(NAME, "A") == ["192.0.2.2"]
        await merge(running, ENDPOINTS, {"subsets": [{"addresses": [{"ip": "192.0.2.3"}]}]})
        assert running.rrs(NAME, "A") == ["192.0.2.3"] and running.rrs(NAME, "SRV") == []
        op = [{"op": "add", "path": "/subsets/0/addresses/-", "value": {"ip": "192.0.2.4"}}]
        await registry.patch(ENDPOINTS, "default", "web", Patch("json", op), OPTIONS)
        assert running.rrs(NAME, "A") == ["192.0.2.3", "192.0.2.4"]
        applied = {**endpoints("web", "192.0.2.5"), "apiVersion": "v1"}
        force = WriteOptions(field_manager="other", force=True)
        await registry.patch(ENDPOINTS, "default", "web", Patch("apply", applied), force)
        assert running.rrs(NAME, "A") == ["192.0.2.5"]
        (last,) = slices(running)
        assert last["metadata"]["uid"] == first["metadata"]["uid"], "the slice stays while ports change"
        await delete(running, ENDPOINTS)
        assert (slices(running), shown(running), running.row(NAME)) == ([], None, None)

    run(work)


def test_apply_makes_them_too(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        patch = Patch("apply", endpoints("web", "192.0.2.1"))
        written = await running.registry.patch(ENDPOINTS, "default", "web", patch, OPTIONS)
        assert written.created
        assert running.rrs(NAME, "A") == ["192.0.2.1"]

    run(work)


def test_a_service_with_a_selector_has_them_from_its_pods(run: Any) -> None:
    """Each write is refused with the way out; a collection is deleted around them."""

    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        await create(running, SERVICE, service())
        await create(running, POD, pod("p", "10.1.0.1"))
        way_out = ("has a selector", "register Pods, or take the selector away")
        body = endpoints("web", "192.0.2.1")
        await refused(create(running, ENDPOINTS, body), 403, *way_out)
        await refused(registry.replace(ENDPOINTS, "default", "web", body, OPTIONS), 403, *way_out)
        await refused(merge(running, ENDPOINTS, {"subsets": []}), 403, *way_out)
        applied = registry.patch(ENDPOINTS, "default", "web", Patch("apply", body), OPTIONS)
        await refused(applied, 403, *way_out)
        await refused(delete(running, ENDPOINTS), 403, *way_out)
        await create(running, SERVICE, without_selector("db"))
        await create(running, ENDPOINTS, endpoints("db", "192.0.2.2"))
        page = await registry.delete_collection(ENDPOINTS, "default", Selection(), DeleteOptions())
        assert [json.loads(octets)["metadata"]["name"] for octets in page.items] == ["db"]
        assert [o["ip"] for o in (shown(running) or {})["subsets"][0]["addresses"]] == ["10.1.0.1"]

    run(work)


def test_they_wait_while_the_service_has_a_selector(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(ipFamilyPolicy="SingleStack", **HEADLESS))
        await create(running, ENDPOINTS, endpoints("web", "192.0.2.1"))
        await create(running, POD, pod("p", "10.1.0.1"))
        stored = shown(running)
        await merge(running, SERVICE, {"spec": {"selector": {"app": "web"}}})
        assert running.rrs(NAME, "A") == ["10.1.0.1"]
        assert [o["endpoints"][0]["addresses"] for o in slices(running)] == [["10.1.0.1"]]
        assert (shown(running) or {})["subsets"][0]["addresses"][0]["ip"] == "10.1.0.1"
        await merge(running, SERVICE, {"spec": {"selector": None}})
        assert running.rrs(NAME, "A") == ["192.0.2.1"]
        assert [o["endpoints"][0]["addresses"] for o in slices(running)] == [["192.0.2.1"]]
        assert shown(running) == stored
        await merge(running, SERVICE, {"spec": {"selector": {"app": "web"}}})
        await delete(running, ENDPOINTS)
        await merge(running, SERVICE, {"spec": {"selector": None}})
        assert (shown(running), slices(running), running.row(NAME)) == (None, [], None)

    run(work)


def test_they_may_come_before_their_service_and_stay_after_it(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, ENDPOINTS, endpoints("web", "192.0.2.1"))
        assert slices(running) == [] and running.row(NAME) is None
        for _ in range(2):
            await create(running, SERVICE, without_selector(**HEADLESS))
            assert running.rrs(NAME, "A") == ["192.0.2.1"] and len(slices(running)) == 1
            await delete(running, SERVICE)
            assert slices(running) == [] and running.row(NAME) is None
            assert shown(running) is not None

    run(work)


def test_a_type_that_uses_no_selector(run: Any) -> None:
    """The selector of an ExternalName selects nothing, so it keeps nobody from writing Endpoints."""

    async def work(running: RegistryHarness) -> None:
        spec = {"type": "ExternalName", "externalName": "a.example", "selector": {"app": "web"}}
        await create(running, SERVICE, {"metadata": {"name": "web"}, "spec": spec})
        await create(running, ENDPOINTS, endpoints("web", "192.0.2.1"))
        assert running.rrs(NAME, "CNAME") == ["a.example."]
        assert len(slices(running)) == 1
        headless = {"type": "ClusterIP", "externalName": None, "clusterIP": "None"}
        await merge(running, SERVICE, {"spec": headless})
        assert running.row(NAME) is None, "its Pods are its endpoints now, and it has none"
        assert [o["endpoints"] for o in slices(running)] == [[]]

    run(work)


def test_beside_slices_of_the_users_own(run: Any) -> None:
    """The view of such slices gives way to Endpoints that are written; both answer."""

    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        await create(running, ENDPOINTSLICE, endpoint_slice("own", "web", "10.9.0.1"))
        assert (shown(running) or {})["subsets"] == [{"addresses": [{"ip": "10.9.0.1"}]}]
        await refused(delete(running, ENDPOINTS), 403, "delete those", "kubernetes.io/service-name=web")
        await create(running, ENDPOINTS, endpoints("web", "192.0.2.1"))
        assert (shown(running) or {})["subsets"][0]["addresses"] == [{"ip": "192.0.2.1"}]
        assert running.rrs(NAME, "A") == ["10.9.0.1", "192.0.2.1"]
        await delete(running, ENDPOINTS)
        assert (shown(running) or {})["subsets"] == [{"addresses": [{"ip": "10.9.0.1"}]}]
        assert running.rrs(NAME, "A") == ["10.9.0.1"]

    run(work)


def test_a_patch_of_a_view_makes_endpoints_of_it(run: Any) -> None:
    """As `kubectl apply` does, which patches what it can read."""

    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        await create(running, ENDPOINTSLICE, endpoint_slice("own", "web", "10.9.0.1"))
        view = shown(running) or {}
        old = {"metadata": {"resourceVersion": "1"}, "subsets": []}
        await refused(merge(running, ENDPOINTS, old), 409, "modified")
        revision = {"resourceVersion": view["metadata"]["resourceVersion"]}
        subsets = [{"addresses": [{"ip": "192.0.2.1"}]}]
        written = await merge(running, ENDPOINTS, {"metadata": revision, "subsets": subsets})
        found = shown(running) or {}
        assert written.created and found == json.loads(written.object)
        assert found["subsets"] == subsets
        assert found["metadata"]["uid"] != view["metadata"]["uid"]
        assert not found["metadata"].get("labels"), "the labels of the view are not the client's"

    run(work)


def test_finalizers_and_namespaces(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        await registry.create(NAMESPACE, "", namespace("shop"), OPTIONS)
        await registry.create(ENDPOINTS, "shop", endpoints("other", "192.0.2.9"), OPTIONS)
        await registry.create(SERVICE, "shop", without_selector(**HEADLESS), OPTIONS)
        body = endpoints("web", "192.0.2.1")
        body["metadata"]["finalizers"] = ["a.example/b"]
        await registry.create(ENDPOINTS, "shop", body, OPTIONS)
        await registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        assert registry.page(ENDPOINTSLICE, "shop", Selection()).items == []
        assert json.loads(registry.get(NAMESPACE, "", "shop"))["status"]["phase"] == "Terminating"
        last = Patch("merge", {"metadata": {"finalizers": None}})
        await registry.patch(ENDPOINTS, "shop", "web", last, OPTIONS)
        assert [
            json.loads(o)["metadata"]["name"] for o in registry.page(NAMESPACE, "", Selection()).items
        ] == [
            "default",
            "kube-system",
        ]
        assert registry.page(ENDPOINTS, "", Selection()).items == []

    run(work)
