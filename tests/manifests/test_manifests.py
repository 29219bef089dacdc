"""Manifests: read safely, refused with file, document and field, applied without taking anything away."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from toolbox.builders import pod, service
from toolbox.registry_harness import started

from svcdns.manifests import files
from svcdns.manifests.files import objects_of
from svcdns.manifests.manifests import (
    Applied,
    Manifest,
    ManifestError,
    apply_manifests,
    check_manifests,
    overlay,
    read_manifests,
)
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions

EXAMPLES = Path(__file__).parents[2] / "examples"
SERVICE_TEXT = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"


def write(folder: Path, name: str, *objects: Any) -> Path:
    path = folder / name
    path.write_text("---\n".join(text if isinstance(text, str) else yaml.safe_dump(text) for text in objects))
    return path


def read(folder: Path, *objects: Any) -> list[Manifest]:
    return read_manifests([write(folder, "m.yaml", *objects)])


def refusal(folder: Path, *objects: Any, name: str = "m.yaml") -> str:
    """The error without the folder's path; it must be one line."""
    path = write(folder, name, *objects)
    with pytest.raises(ManifestError) as refused:
        for error in check_manifests(read_manifests([path])):
            raise error
    assert "\n" not in str(refused.value)
    return str(refused.value).replace(str(path), "FILE")


def test_files_and_folders_are_read_in_order_several_documents_each(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder, "b.yml", service("b1"), "# nothing but a comment\n", service("b3"))
    write(folder, "a.yaml", service("a1"))
    (folder / "c.json").write_text(
        json.dumps(service("c1")) + "\n" + json.dumps(service("c2", namespace="kube-system"))
    )
    write(folder, "README.md", "not a manifest")
    write(folder, ".hidden.yaml", "not: a manifest")
    single = write(tmp_path, "single.manifest", service("s1"))
    found = read_manifests([folder, single, single, folder / "a.yaml"])
    assert [(m.place.file.name, m.place.document, m.namespace, m.name) for m in found] == [
        ("a.yaml", 1, "default", "a1"),
        ("b.yml", 1, "default", "b1"),
        ("b.yml", 3, "default", "b3"),
        ("c.json", 1, "default", "c1"),
        ("c.json", 2, "kube-system", "c2"),
        ("single.manifest", 1, "default", "s1"),
    ]


def test_lists_are_taken_apart(tmp_path: Path) -> None:
    typed = {key: value for key, value in service("typed").items() if key not in ("apiVersion", "kind")}
    found = read(
        tmp_path,
        {"apiVersion": "v1", "kind": "List", "items": [service("a"), pod("b")]},
        {"apiVersion": "v1", "kind": "ServiceList", "items": [typed]},
        {"apiVersion": "v1", "kind": "List", "items": None},
    )
    assert [(m.kind, m.name, m.place.prefix) for m in found] == [
        (SERVICE, "a", "items[0]"),
        (POD, "b", "items[1]"),
        (SERVICE, "typed", "items[0]"),
    ]


def test_what_another_server_gave_an_object_is_left_out(tmp_path: Path) -> None:
    exported = service()
    exported["metadata"] |= {"uid": "1", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"}
    (found,) = read(tmp_path, exported)
    assert found.object["metadata"] == {"name": "web", "namespace": "default"}


def test_yaml_is_read_as_kubernetes_does(tmp_path: Path) -> None:
    text = """
base: &base {app: web}
x: {<<: *base, tier: front}
when: 2026-01-01
same: [*base, *base]
"""
    ((_, found),) = objects_of(write(tmp_path, "x.yaml", text))
    assert found["x"] == {"app": "web", "tier": "front"}
    assert found["when"] == "2026-01-01", "a date is a text"
    assert found["same"] == [{"app": "web"}, {"app": "web"}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kind: Service", "FILE, document 1, apiVersion: is missing"),
        ("apiVersion: v1", "FILE, document 1, kind: is missing"),
        ("apiVersion: 1\nkind: Service", "FILE, document 1, apiVersion: must be a text"),
        ("- a", "FILE, document 1: must be a mapping with apiVersion, kind and metadata"),
        ("just text", "FILE, document 1: must be a mapping"),
        ("{apiVersion: apps/v1, kind: Deployment}", "FILE, document 1, kind: Deployment (apps/v1) can't be"),
        (
            "{apiVersion: v1, kind: ConfigMap}",
            "FILE, document 1, kind: ConfigMap (v1) can't be registered; allowed",
        ),
        ("{apiVersion: v1, kind: Service}", "FILE, document 1, metadata: is missing"),
        (
            "{apiVersion: v1, kind: Service, metadata: {generateName: x}}",
            "FILE, document 1, metadata.name: must",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: 7}}",
            "FILE, document 1, metadata.name: must be a text",
        ),
        ("{apiVersion: v1, kind: List, items: {}}", "FILE, document 1, items: must be a list"),
        ("{apiVersion: v1, kind: List, items: [1]}", "FILE, document 1, items[0]: must be a mapping"),
        (SERVICE_TEXT + "---\na: [1", "FILE, document 2: line 7: "),
        (
            SERVICE_TEXT + "---\na: 1\nb: 2\na: 3\n",
            "FILE, document 2: line 8: the key 'a' stands there twice",
        ),
        ("a: !!python/object:os.system x", "FILE, document 1: line 1: could not determine a constructor"),
        ("a: *nobody", "FILE, document 1: line 1: found undefined alias"),
        ("a: {~: b}", "FILE, document 1: line 1: a key must be a text"),
        ("a: {? [x] : b}", "FILE, document 1: line 1: a key must be a text"),
        ("a: {b: !!binary aGk}", "FILE, document 1: line 1: a value does not fit its tag"),
        ("a: {1: b, '1': c}", "FILE, document 1: line 1: the key '1' stands there twice"),
        ("a: [.nan]", "FILE, document 1, a[0]: nan is no JSON number"),
        ("a: &x [*x]", "FILE, document 1, a[0]: refers to itself"),
        ("a\tb: \x07", "FILE, document 1: "),
        ("a: " + "[" * 100_000, "FILE, document 1: is nested deeper than 100 levels"),
        ("a: " + "{x: " * 101 + "}" * 101, "FILE, document 1: is nested deeper than 100 levels"),
        ("a: 1\n" + "# " + "x" * (3 << 20), "FILE: is larger than 3145728 octets; split it up"),
    ],
)
def test_bad_text_is_refused_with_file_and_document(tmp_path: Path, text: str, reason: str) -> None:
    assert refusal(tmp_path, text).startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "a": 2}', "FILE, document 1: the key 'a' stands there twice"),
        ('{"a": NaN}', "FILE, document 1: NaN is no JSON number"),
        ('{"a": 1} {"a": }', "FILE, document 1, apiVersion: is missing"),
        ('{"a":\n }', "FILE, document 1: line 2: "),
        ("[" * 200_000, "FILE, document 1: is nested deeper"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "FILE, document 1: is nested deeper"),
        ('{"a": ' + "9" * 5000 + "}", "FILE, document 1: Exceeds the limit"),
    ],
)
def test_bad_json_is_refused_too(tmp_path: Path, text: str, reason: str) -> None:
    assert refusal(tmp_path, text, name="m.json").startswith(reason)


def bomb(step: Callable[[int], str]) -> str:
    return "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {step(n - 1)}\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bomb(lambda n: "[" + ",".join([f"*a{n}"] * 10) + "]"), "has more than 200000 values"),
        (bomb(lambda n: "{<<: [" + ",".join([f"*a{n}"] * 10) + "]}"), "a mapping has more than 10000 keys"),
        ("a: &a 1\nb: [" + "*a," * 2000 + "]", "there are more than 1000 aliases"),
        ("a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 500)), "is nested deeper"),
    ],
)
def test_small_files_that_stand_for_much_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (service(colour="red"), 'FILE, document 1, spec.colour: Service in version "v1" cannot be handled'),
        (service(ports=[{"port": "x"}]), "FILE, document 1, spec.ports[0].port: "),
        (service(ports=[{"port": 0}]), "FILE, document 1, spec.ports[0].port: "),
        (service(ports=[]), "FILE, document 1, spec.ports: "),
        (service("Not_A_Name"), "FILE, document 1, metadata.name: "),
        (pod(ip="10.0.0.300"), "FILE, document 1, status.podIP"),
        (
            service(namespace="nowhere"),
            "FILE, document 1, metadata.namespace: there is no namespace 'nowhere'",
        ),
        (
            {"apiVersion": "v1", "kind": "List", "items": [service(), service("b", ports=[{}])]},
            "FILE, document 1, items[1].spec.ports[0].port: ",
        ),
    ],
)
def test_bad_objects_are_refused_with_their_field(tmp_path: Path, obj: dict[str, Any], reason: str) -> None:
    assert refusal(tmp_path, obj).startswith(reason)


def test_whether_a_namespace_exists_can_be_left_open(tmp_path: Path) -> None:
    manifests = read(tmp_path, service(namespace="somewhere"))
    assert [error.field for error in check_manifests(manifests)] == ["metadata.namespace"]
    assert check_manifests(manifests, None) == check_manifests(manifests, ["somewhere"]) == []


def test_one_object_in_two_places_names_both(tmp_path: Path) -> None:
    first = write(tmp_path, "a.yaml", service("other"), service(namespace="default"))
    second = write(tmp_path, "b.yaml", service())
    with pytest.raises(ManifestError) as refused:
        read_manifests([tmp_path])
    text = f"{second}, document 1: the same object stands in {first}, document 2 already (Service web)"
    assert str(refused.value) == text


def test_a_path_where_nothing_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nothing: there is no such file or folder"):
        read_manifests([tmp_path / "nothing"])


@given(st.text(st.sampled_from("ab:-[]{}&*<!|>'\"#%@? \n\t,0.~é\x00"), max_size=60))
def test_any_text_gives_objects_or_one_line(text: str) -> None:
    path = Path("any.yaml")
    try:
        for document in files._yaml_documents(path, text):
            files._Bounds(files.Place(path, 1)).check(document)
            json.dumps(document, allow_nan=False)
    except ManifestError as refused:
        assert str(refused).startswith("any.yaml, document ") and "\n" not in str(refused)


def stored(registry: Registry, kind: Kind, name: str, namespace: str = "default") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(registry.get(kind, namespace, name))
    return found


async def test_the_examples_are_applied_and_answer(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        manifests = read_manifests([EXAMPLES])
        assert check_manifests(manifests) == []
        assert await apply_manifests(registry, manifests) == Applied(len(manifests), 0, 0)
        assert await apply_manifests(registry, manifests) == Applied(0, 0, len(manifests))
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
        manifests = read(tmp_path, service(namespace="team"), namespace)
        assert await apply_manifests(running.registry, manifests) == Applied(2, 0, 0)
        only_service = read(tmp_path, service("late", namespace="team"))
        assert await apply_manifests(running.registry, only_service) == Applied(1, 0, 0)
        with pytest.raises(ManifestError, match="there is no namespace 'gone'"):
            await apply_manifests(
                running.registry, read(tmp_path, service("early"), service("x", namespace="gone"))
            )
        assert running.row("early.default.svc.cluster.local") is None, "nothing was applied"


async def test_a_manifest_wins_for_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await apply_manifests(registry, read(tmp_path, service(selector={"app": "web"}), pod()))
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
        manifests = read(tmp_path, service(selector={"app": "web"}), pod())
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
        await apply_manifests(registry, read(tmp_path, ready))
        conditions = [{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]
        by_hand = Patch("merge", {"status": {"conditions": conditions}})
        await registry.patch(POD, "default", "web-1", by_hand, WriteOptions(), "status")
        moved = pod(ip="10.244.0.9", ready=True)
        assert await apply_manifests(registry, read(tmp_path, moved)) == Applied(0, 1, 0)
        status = stored(registry, POD, "web-1")["status"]
        assert status["podIPs"] == [{"ip": "10.244.0.9"}]
        assert {c["type"]: c["status"] for c in status["conditions"]} == {"Ready": "True", "Other": "True"}


async def test_what_was_deleted_is_there_again_and_nothing_is_pruned(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await apply_manifests(registry, read(tmp_path, service("a"), service("b")))
        await registry.delete(SERVICE, "default", "a", DeleteOptions())
        assert await apply_manifests(registry, read(tmp_path, service("a"))) == Applied(1, 0, 0)
        assert stored(registry, SERVICE, "b")["metadata"]["name"] == "b"


async def test_an_address_that_is_asked_for_is_not_given_to_another(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        takers = [service(f"s{number}") for number in range(20)]
        asking = service("asking", clusterIP="10.96.0.1", type="NodePort")
        manifests = read(tmp_path, *takers, asking)
        assert await apply_manifests(running.registry, manifests) == Applied(21, 0, 0)


async def test_what_only_the_registry_sees_names_the_manifest_too(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        twice = [service(name, clusterIP="10.96.0.7") for name in ("a", "b")]
        with pytest.raises(ManifestError) as refused:
            await apply_manifests(running.registry, read(tmp_path, *twice))
        assert (refused.value.document, refused.value.field) == (2, "spec.clusterIPs[0]")
        assert "already allocated" in str(refused.value)


def test_an_overlay_says_which_state_it_was_made_for() -> None:
    old = {"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"selector": {"x": "1", "y": "2"}}}
    patch = overlay(old, {"metadata": {"name": "a"}, "spec": {"selector": {"y": "3"}}})
    assert patch["metadata"]["resourceVersion"] == "7"
    assert patch["spec"]["selector"] == {"x": None, "y": "3"}


def test_the_examples_are_valid_in_a_cluster() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    version = kubernetes_validate.latest_version()
    for manifest in read_manifests([EXAMPLES]):
        kubernetes_validate.validate(manifest.object, version, strict=True)


def test_every_kind_can_stand_in_a_manifest() -> None:
    kinds = {manifest.kind for manifest in read_manifests([EXAMPLES])}
    assert kinds == {NAMESPACE, SERVICE, POD, ENDPOINTSLICE}
