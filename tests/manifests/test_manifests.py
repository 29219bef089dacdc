"""Manifests, applied: without taking anything away, each for itself, or all or none where that is asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from manifests.written import reading
from toolbox.builders import endpoint_slice, endpoints, lease, namespace, newer_event, node, pod, service
from toolbox.registry_harness import started

from svcdns.manifests.foreign import TAKEN
from svcdns.manifests.manifests import Applied, NotApplied, apply_manifests, overlay
from svcdns.manifests.reading import read_manifests
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, NODE, POD, SERVICE, Kind
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions

EXAMPLES = Path(__file__).parents[2] / "examples"


def stored(registry: Registry, kind: Kind, name: str, namespace: str = "default") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(registry.get(kind, namespace, name))
    return found


async def test_the_examples_are_applied_and_answer(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        found = read_manifests([EXAMPLES])
        assert not found.in_namespaces().not_taken
        assert await apply_manifests(registry, found, strict=True) == Applied(len(found.manifests), 0, 0)
        assert await apply_manifests(registry, found) == Applied(0, 0, len(found.manifests))
        base = "default.svc.cluster.local"
        assert running.rrs(f"web.{base}", "A") == ["10.96.0.80"]
        assert running.rrs(f"db.{base}", "A") == ["10.244.1.10", "10.244.1.11", "10.244.1.12"]
        assert running.rrs(f"db-1.db.{base}", "A") == ["10.244.1.11"]
        assert running.rrs(f"docs.{base}", "CNAME") == ["www.example.org."]
        assert running.rrs(f"legacy.{base}", "A") == ["192.0.2.41", "192.0.2.42"]
        assert running.row(f"gamma.legacy.{base}") is None
        assert len(running.rrs("dns.infra.svc.cluster.local", "SRV")) == 2, "one a target and port number"
        assert running.rrs(f"_http._tcp.shop.{base}", "SRV") == [f"0 100 8080 shop.{base}."]
        assert stored(registry, SERVICE, "shop")["spec"]["ports"][0]["nodePort"] == 30080


async def test_namespaces_come_first_whatever_the_order_of_files(tmp_path: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
    async with started(tmp_path / "data") as running:
        manifests = reading(tmp_path, service(namespace="team"), namespace)
        assert await apply_manifests(running.registry, manifests) == Applied(2, 0, 0)
        only_service = reading(tmp_path, service("late", namespace="team"))
        assert await apply_manifests(running.registry, only_service) == Applied(1, 0, 0)
        without = reading(tmp_path, service("early"), service("x", namespace="gone"))
        with pytest.raises(NotApplied, match="there is no namespace 'gone'"):
            await apply_manifests(running.registry, without, strict=True)
        assert running.row("early.default.svc.cluster.local") is None, "nothing was applied"
        applied = await apply_manifests(running.registry, without)
        assert (applied.created, [one.what for one in applied.not_taken]) == (1, ["Service x"])
        assert running.row("early.default.svc.cluster.local") is not None


async def test_a_manifest_wins_for_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await apply_manifests(registry, reading(tmp_path, service(selector={"app": "web"}), pod()))
        before = stored(registry, SERVICE, "web")
        options = WriteOptions()
        changed = {
            "metadata": {"labels": {"by": "hand"}},
            "spec": {
                "selector": {"app": None, "tier": "x"},
                "ports": [{"name": "p", "port": 1}],
                "sessionAffinity": "ClientIP",
            },
        }
        await registry.patch(SERVICE, "default", "web", Patch("merge", changed), options)
        condition = {"type": "Ready", "status": "False"}
        by_hand = {"status": {"phase": "Running", "conditions": [condition]}}
        await registry.patch(POD, "default", "web-1", Patch("merge", by_hand), options, "status")
        manifests = reading(tmp_path, service(selector={"app": "web"}), pod())
        assert await apply_manifests(registry, manifests) == Applied(0, 1, 1)
        after = stored(registry, SERVICE, "web")
        assert after["metadata"]["labels"] == {"by": "hand"}
        assert after["spec"]["sessionAffinity"] == "ClientIP"
        assert after["spec"]["selector"] == {"app": "web"}, "a selector is one value"
        assert [port["port"] for port in after["spec"]["ports"]] == [80]
        assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
        kept = stored(registry, POD, "web-1")["status"]
        assert (kept["phase"], kept["conditions"][0]["status"]) == ("Running", "False"), (
            "status is never cleared"
        )


async def test_a_status_that_is_named_wins_and_other_conditions_stay(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        ready = pod(ready=True)
        await apply_manifests(registry, reading(tmp_path, ready))
        conditions = [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]
        by_hand = Patch("merge", {"status": {"conditions": conditions}})
        await registry.patch(POD, "default", "web-1", by_hand, WriteOptions(), "status")
        moved = pod(ip="10.244.0.9", ready=True)
        assert await apply_manifests(registry, reading(tmp_path, moved)) == Applied(0, 1, 0)
        status = stored(registry, POD, "web-1")["status"]
        assert status["podIPs"] == [{"ip": "10.244.0.9"}]
        said = {c["type"]: c["status"] for c in status["conditions"]}
        assert (said["Ready"], said["Other"]) == ("True", "True")


async def test_a_node_is_what_its_manifest_says(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        for address, applied in (
            ("192.0.2.1", Applied(1, 0, 0)),
            ("192.0.2.1", Applied(0, 0, 1)),
            ("192.0.2.2", Applied(0, 1, 0)),
        ):
            assert await apply_manifests(registry, reading(tmp_path, node(address=address))) == applied
            listed = json.loads(registry.get(NODE, "", "here"))["status"]["addresses"]
            assert [entry["address"] for entry in listed] == [address, "here"]


def test_what_programs_write_while_they_run_is_left_out(tmp_path: Path) -> None:
    about = {"kind": "Node", "name": "here"}
    older = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a"}, "involvedObject": about}
    found = reading(tmp_path, older, newer_event("b"), lease("c"), node())
    assert [manifest.kind for manifest in found.manifests] == [NODE]
    assert [str(one).partition(": is ")[2] for one in found.not_taken] == [
        "what happened elsewhere (Event a)",
        "what happened elsewhere (Event b)",
        "held by whoever runs elsewhere (Lease c)",
    ]


async def test_each_kind_that_is_taken_is_applied(tmp_path: Path) -> None:
    made = [namespace("a"), node("a"), service("a"), pod("a"), endpoint_slice("a", "a"), endpoints("b")]
    assert {obj["kind"] for obj in made} == {kind.name for kind in TAKEN}
    async with started(tmp_path / "data") as running:
        assert await apply_manifests(running.registry, reading(tmp_path, *made)) == Applied(len(made), 0, 0)
        for kind in TAKEN:
            assert running.registry.get(kind, "default" if kind.namespaced else "", "a")


async def test_what_was_deleted_is_there_again_and_nothing_is_pruned(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await apply_manifests(registry, reading(tmp_path, service("a"), service("b")))
        await registry.delete(SERVICE, "default", "a", DeleteOptions())
        assert await apply_manifests(registry, reading(tmp_path, service("a"))) == Applied(1, 0, 0)
        assert stored(registry, SERVICE, "b")["metadata"]["name"] == "b"


async def test_an_address_that_is_asked_for_is_not_given_to_another(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        takers = [service(f"s{number}") for number in range(20)]
        asking = service("asking", clusterIP="10.96.0.1", type="NodePort")
        manifests = reading(tmp_path, *takers, asking)
        assert await apply_manifests(running.registry, manifests) == Applied(21, 0, 0)


async def test_what_only_the_registry_sees_names_the_manifest_too(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        twice = [service(name, clusterIP="10.96.0.7") for name in ("a", "b")]
        applied = await apply_manifests(running.registry, reading(tmp_path, *twice, service("c")))
        assert applied.created == 2
        (refused,) = applied.not_taken
        assert (refused.place.document, refused.place.prefix) == (2, "spec.clusterIPs[0]")
        assert "already allocated" in str(refused)
        with pytest.raises(NotApplied, match="already allocated"):
            await apply_manifests(running.registry, reading(tmp_path, *twice), strict=True)


async def test_what_is_registered_stays_when_its_manifest_breaks(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await apply_manifests(
            running.registry, reading(tmp_path, service(clusterIP="10.96.0.7"), service("b"))
        )
        moved = reading(tmp_path, service(clusterIP="10.96.0.8"), service("b", ports=[]), "a: [\n")
        applied = await apply_manifests(running.registry, moved)
        assert sorted(one.place.document for one in applied.not_taken) == [1, 2, 3]
        assert all(str(one).endswith("what is registered stays as it is") for one in applied.not_taken)
        assert running.rrs("web.default.svc.cluster.local", "A") == ["10.96.0.7"]
        assert running.rrs("b.default.svc.cluster.local", "A")


def test_an_overlay_says_which_state_it_was_made_for() -> None:
    old = {"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"selector": {"x": "1", "y": "2"}}}
    patch = overlay(old, {"metadata": {"name": "a"}, "spec": {"selector": {"y": "3"}}})
    assert patch["metadata"]["resourceVersion"] == "7"
    assert patch["spec"]["selector"] == {"x": None, "y": "3"}


def test_the_examples_are_valid_in_a_cluster() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    version = kubernetes_validate.latest_version()
    for manifest in read_manifests([EXAMPLES]).manifests:
        kubernetes_validate.validate(manifest.object, version, strict=True)


def test_every_kind_can_stand_in_a_manifest() -> None:
    kinds = {manifest.kind for manifest in read_manifests([EXAMPLES]).manifests}
    assert kinds == {NAMESPACE, SERVICE, POD, ENDPOINTSLICE}
