"""Server-side apply and owners of fields in the registry: what is stored, answered and left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import pod, service

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE
from svcdns.registry.requests import Patch, Selection, WriteOptions

Run = Callable[..., Any]


def by(manager: str, **options: Any) -> WriteOptions:
    return WriteOptions(field_manager=manager, **options)


async def applied(
    running: Any, manager: str, obj: dict[str, Any], kind: Any = SERVICE, **options: Any
) -> Any:
    subresource = options.pop("subresource", "")
    namespace = "" if kind is NAMESPACE else "default"
    return await running.registry.patch(
        kind, namespace, obj["metadata"]["name"], Patch("apply", obj), by(manager, **options), subresource
    )


def entries(obj: bytes) -> dict[str, Any]:
    return {entry["manager"]: entry for entry in json.loads(obj)["metadata"].get("managedFields", [])}


def test_an_apply_creates_and_is_then_no_change(run: Run) -> None:
    async def work(running: Any) -> None:
        first = await applied(running, "ci", service())
        assert first.created and running.rrs("web.default.svc.cluster.local", "A")
        spec = entries(first.object)["ci"]["fieldsV1"]["f:spec"]
        assert "f:clusterIP" not in spec and "f:type" not in spec
        again = await applied(running, "ci", service())
        assert not again.created
        assert json.loads(again.object) == json.loads(first.object)

    run(work)


def test_a_new_owner_is_a_change_though_no_value_is(run: Run) -> None:
    async def work(running: Any) -> None:
        first = json.loads((await applied(running, "ci", service())).object)
        second = json.loads((await applied(running, "cd", service())).object)
        assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
        assert second["spec"] == first["spec"]
        # by time, then by name: their order depends on whether a second has begun between them
        assert {entry["manager"] for entry in second["metadata"]["managedFields"]} == {"cd", "ci"}

    run(work)


def test_names_follow_what_is_applied(run: Run) -> None:
    async def work(running: Any) -> None:
        await applied(running, "ci", service(clusterIP="None"))
        await applied(running, "agent", pod("web-1", "10.1.0.1"), POD)
        assert running.rrs("web.default.svc.cluster.local", "A") == ["10.1.0.1"]
        moved = {"metadata": {"name": "web-1"}, "status": {"podIP": "10.1.0.2"}}
        await applied(
            running, "agent", {**pod("web-1", ""), **moved, "metadata": pod("web-1", "")["metadata"]}, POD
        )
        assert running.rrs("web.default.svc.cluster.local", "A") == ["10.1.0.2"]

    run(work)


def test_registered_again_without_a_status_keeps_the_address(run: Run) -> None:
    async def work(running: Any) -> None:
        await applied(running, "ci", service(clusterIP="None"))
        await applied(running, "agent", pod("web-1", "10.1.0.1"), POD)
        plain = {key: value for key, value in pod("web-1", "").items() if key != "status"}
        await applied(running, "agent", plain, POD)
        assert running.rrs("web.default.svc.cluster.local", "A") == ["10.1.0.1"]

    run(work)


def test_node_ports_and_addresses_stay_when_ports_change(run: Run) -> None:
    async def work(running: Any) -> None:
        two = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
        first = json.loads((await applied(running, "ci", service(ports=two, type="NodePort"))).object)["spec"]
        changed = json.loads((await applied(running, "ci", service(ports=two[1:], type="NodePort"))).object)
        assert changed["spec"]["clusterIP"] == first["clusterIP"]
        assert changed["spec"]["ports"] == first["ports"][1:]
        plain = json.loads((await applied(running, "ci", service(ports=two[1:]))).object)["spec"]
        assert plain["type"] == "ClusterIP" and "nodePort" not in plain["ports"][0]

    run(work)


def test_other_writes_are_owned_by_their_managers(run: Run) -> None:
    async def work(running: Any) -> None:
        made = await running.registry.create(SERVICE, "default", service(), by("post"))
        assert entries(made.object)["post"]["operation"] == "Update"
        label = Patch("merge", {"metadata": {"labels": {"x": "1"}}})
        patched = await running.registry.patch(SERVICE, "default", "web", label, by("label"))
        assert entries(patched.object)["label"]["fieldsV1"] == {
            "f:metadata": {"f:labels": {".": {}, "f:x": {}}}
        }
        body = json.loads(patched.object)
        body["spec"]["sessionAffinity"] = "ClientIP"
        put = await running.registry.replace(SERVICE, "default", "web", body, by("put"))
        assert "f:sessionAffinity" in entries(put.object)["put"]["fieldsV1"]["f:spec"]
        assert "f:sessionAffinity" not in entries(put.object)["post"]["fieldsV1"]["f:spec"]
        again = await running.registry.replace(SERVICE, "default", "web", json.loads(put.object), by("put2"))
        assert again.object == put.object
        with pytest.raises(StatusError, match='conflict with "put" using v1'):
            await applied(running, "ci", service(sessionAffinity="None"))
        await applied(running, "ci", service(sessionAffinity="None"), force=True)

    run(work)


def test_reset_and_what_does_not_reset(run: Run) -> None:
    async def work(running: Any) -> None:
        made = await running.registry.create(SERVICE, "default", service(), by("post"))

        async def set_entries(value: Any, **more: Any) -> dict[str, Any]:
            patch = Patch("merge", {"metadata": {"managedFields": value}, **more})
            return entries((await running.registry.patch(SERVICE, "default", "web", patch, by("x"))).object)

        stored = entries(made.object)
        for harmless in (None, [], [{"manager": 1}], [{"operation": "Apply"}], "x", {}):
            assert await set_entries(harmless) == stored
        assert await set_entries([{}]) == {}
        assert await set_entries(None, spec={"sessionAffinity": "ClientIP"}) == {}
        own = {**stored["post"], "manager": "restored", "operation": "Apply"}
        assert await set_entries([own]) == {"restored": own}

    run(work)


def test_entries_that_differ_in_time_only_are_no_change(run: Run) -> None:
    async def work(running: Any) -> None:
        made = json.loads((await running.registry.create(SERVICE, "default", service(), by("post"))).object)
        body = json.loads(json.dumps(made))
        body["metadata"]["managedFields"][0]["time"] = "2001-01-01T00:00:00Z"
        put = json.loads((await running.registry.replace(SERVICE, "default", "web", body, by("x"))).object)
        assert put == made

    run(work)


def test_a_status_write_cannot_set_entries(run: Run) -> None:
    async def work(running: Any) -> None:
        made = json.loads((await running.registry.create(SERVICE, "default", service(), by("post"))).object)
        body = {**made, "metadata": {**made["metadata"], "managedFields": [{}]}}
        put = await running.registry.replace(SERVICE, "default", "web", body, by("x"), "status")
        assert set(entries(put.object)) == {"post"}

    run(work)


def test_objects_of_an_older_version(run: Run, tmp_path: Path) -> None:
    """They have no entries: they are read, written and applied to like all others."""

    async def work(running: Any) -> None:
        await running.registry.create(SERVICE, "default", service(), by("post"))
        reset = Patch("merge", {"metadata": {"managedFields": [{}]}})
        old = await running.registry.patch(SERVICE, "default", "web", reset, by("x"))
        assert entries(old.object) == {}
        done = await applied(running, "ci", service())
        assert set(entries(done.object)) == {"before-first-apply", "ci"}

    run(work)


def test_a_dry_run_answers_and_leaves_nothing(run: Run) -> None:
    async def work(running: Any) -> None:
        made = await applied(running, "ci", service(), dry_run=True)
        assert made.created and "ci" in entries(made.object)
        assert running.registry.page(SERVICE, "default", Selection()).items == []
        stored = await applied(running, "ci", service())
        await applied(running, "cd", service(type="NodePort"), dry_run=True)
        assert running.registry.get(SERVICE, "default", "web") == stored.object

    run(work)


@pytest.mark.parametrize(
    ("config", "options", "code", "words"),
    [
        (service("web", type="Nope"), {}, 422, "spec.type"),
        (service("new", ports=[{"port": "x"}]), {}, 400, "spec.ports[0].port"),
        (service("new", nope=1), {"field_validation": "Strict"}, 400, 'unknown field "spec.nope"'),
        ({"kind": "Pod", "metadata": {"name": "web"}}, {}, 400, "kind"),
        ({"metadata": {"name": "web", "managedFields": [{}]}}, {}, 400, "must be nil"),
        ({"metadata": {"name": "new", "uid": "1"}}, {}, 409, "uid mismatch"),
        ({"metadata": {"name": "new", "resourceVersion": "1"}}, {}, 409, "resourceVersion mismatch"),
        ({"metadata": {"name": "web", "resourceVersion": "1"}}, {}, 409, "has been modified"),
        ({"metadata": {"name": "web", "uid": "1"}}, {}, 409, "UID"),
        ({"metadata": {"name": "new"}}, {"subresource": "status"}, 404, "not found"),
        ({"metadata": {"name": "new"}}, {}, 422, "spec.ports"),
        (service("web", ports=[{"port": 80}, {"port": 80}]), {}, 400, "duplicate entries"),
    ],
)
def test_refused_and_nothing_changes(
    run: Run, config: dict[str, Any], options: dict[str, Any], code: int, words: str
) -> None:
    async def work(running: Any) -> None:
        stored = await applied(running, "ci", service())
        with pytest.raises(StatusError) as caught:
            await applied(running, "x", config, **options)
        assert caught.value.code == code and words in caught.value.message
        assert running.registry.get(SERVICE, "default", "web") == stored.object
        assert len(running.registry.page(SERVICE, "default", Selection()).items) == 1

    run(work)


def test_generated_slices_are_nobodys_to_apply(run: Run) -> None:
    async def work(running: Any) -> None:
        await applied(running, "ci", service())
        await applied(running, "agent", pod("web-1", "10.1.0.1"), POD)
        (octets,) = running.registry.page(ENDPOINTSLICE, "default", Selection()).items
        found = json.loads(octets)
        found["metadata"] = {"name": found["metadata"]["name"], "labels": found["metadata"]["labels"]}
        with pytest.raises(StatusError) as caught:
            await applied(running, "x", found, ENDPOINTSLICE, force=True)
        assert caught.value.code == 403

    run(work)


def test_a_namespace(run: Run) -> None:
    async def work(running: Any) -> None:
        shop = {"metadata": {"name": "shop", "labels": {"team": "a"}}}
        first = await applied(running, "ci", shop, NAMESPACE)
        assert first.created
        labels = {"kubernetes.io/metadata.name": "shop"}
        assert json.loads(first.object)["metadata"]["labels"] == {**labels, "team": "a"}
        bare = await applied(running, "ci", {"metadata": {"name": "shop"}}, NAMESPACE)
        assert json.loads(bare.object)["metadata"]["labels"] == labels

    run(work)


def test_many_who_apply_at_once_all_get_their_field(run: Run) -> None:
    async def work(running: Any) -> None:
        await applied(running, "ci", service())
        await asyncio.gather(
            *(
                applied(running, f"m{n}", {"metadata": {"name": "web", "labels": {f"l{n}": "x"}}})
                for n in range(40)
            )
        )
        stored = json.loads(running.registry.get(SERVICE, "default", "web"))
        assert len(stored["metadata"]["labels"]) == 40
        assert len(stored["metadata"]["managedFields"]) == 41

    run(work)
